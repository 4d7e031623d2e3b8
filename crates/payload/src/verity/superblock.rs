//! The block at the start of a tree's partition, as `veritysetup` writes it.
//!
//! Its content follows from the signed parameters alone (the UUID is the first half of the root
//! hash), so the same release gives the same bytes on every node.

use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::verity::{BLOCK, Hash, SALT_MAX, TreeShape, block_hash};

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Number of data blocks.
    pub data_blocks: u64,
    /// First half of the root hash.
    pub uuid: [u8; 16],
    /// The salt, at most 256 bytes.
    pub salt: Vec<u8>,
}

/// What the tree on a slot claims to be the tree of. A claim, not a proof: the data may be
/// anything until [`crate::finish::prove`] has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The hash of the stored root block.
    pub root_hash: Hash,
    /// Number of data blocks, from the superblock.
    pub data_blocks: u64,
    /// The salt, from the superblock.
    pub salt: Vec<u8>,
}

// Field positions of `struct verity_sb` (cryptsetup, lib/verity/verity.c); little-endian.
const SIGNATURE: &[u8; 8] = b"verity\0\0";
const VERSION_AT: usize = 8;
const HASH_TYPE_AT: usize = 12;
const UUID_AT: usize = 16;
const ALGORITHM_AT: usize = 32;
const DATA_BLOCK_SIZE_AT: usize = 64;
const HASH_BLOCK_SIZE_AT: usize = 68;
const DATA_BLOCKS_AT: usize = 72;
const SALT_SIZE_AT: usize = 80;
const SALT_AT: usize = 88;
/// Bytes of the structure; the rest of the block is zero.
const END: usize = 512;

impl Superblock {
    /// The superblock of the image with this root hash.
    pub fn new(shape: &TreeShape, salt: &[u8], root_hash: &Hash) -> Result<Self> {
        if salt.len() > SALT_MAX {
            return Err(Error::SaltTooLong { found: salt.len() });
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&root_hash[..16]);
        Ok(Self {
            data_blocks: shape.data_blocks(),
            uuid,
            salt: salt.to_vec(),
        })
    }

    /// The block as it is written.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, SIGNATURE);
        put(VERSION_AT, &1u32.to_le_bytes());
        put(HASH_TYPE_AT, &1u32.to_le_bytes());
        put(UUID_AT, &self.uuid);
        put(ALGORITHM_AT, b"sha256");
        put(DATA_BLOCK_SIZE_AT, &(BLOCK as u32).to_le_bytes());
        put(HASH_BLOCK_SIZE_AT, &(BLOCK as u32).to_le_bytes());
        put(DATA_BLOCKS_AT, &self.data_blocks.to_le_bytes());
        put(SALT_SIZE_AT, &(self.salt.len() as u16).to_le_bytes());
        put(SALT_AT, &self.salt);
        block
    }

    /// Reads a superblock of the kind that [`Superblock::encode`] writes; `None` for every other.
    #[must_use]
    pub fn decode(block: &[u8; BLOCK]) -> Option<Self> {
        let salt_len = usize::from(u16::from_le_bytes([
            block[SALT_SIZE_AT],
            block[SALT_SIZE_AT + 1],
        ]));
        if salt_len > SALT_MAX {
            return None;
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&block[UUID_AT..UUID_AT + 16]);
        let mut count = [0; 8];
        count.copy_from_slice(&block[DATA_BLOCKS_AT..DATA_BLOCKS_AT + 8]);
        let salt = block[SALT_AT..SALT_AT + salt_len].to_vec();
        let read = Self {
            data_blocks: u64::from_le_bytes(count),
            uuid,
            salt,
        };
        // Whatever differs from what we would write is not ours: one comparison covers magic,
        // version, algorithm, block sizes and padding.
        (read.encode()[..END] == block[..END]).then_some(read)
    }
}

/// What a slot's tree partition claims to hold: the hash of its stored root block.
///
/// `None` where nothing is claimed: superblock or root block zeroed, torn or foreign. A torn root
/// block shows since the superblock's UUID is half of the root hash. An image of a single block
/// has no root block and so never claims anything.
///
/// # Errors
/// Only where the partition cannot be read; one too small for superblock and root block claims
/// nothing.
pub fn claimed_root(tree: &dyn ReadAt) -> Result<Option<Claim>> {
    let doing = "read what a slot's hash tree claims";
    if tree.len().map_err(Error::io(doing))? < 2 * BLOCK as u64 {
        return Ok(None);
    }
    let mut block = [0; BLOCK];
    tree.read_at(0, &mut block).map_err(Error::io(doing))?;
    let Some(found) = Superblock::decode(&block) else {
        return Ok(None);
    };
    let Some(offset) = TreeShape::new(found.data_blocks)
        .ok()
        .and_then(|s| s.root_offset())
    else {
        return Ok(None);
    };
    tree.read_at(offset, &mut block).map_err(Error::io(doing))?;
    let root_hash = block_hash(&found.salt, &block);
    let whole = root_hash[..16] == found.uuid;
    Ok(whole.then_some(Claim {
        root_hash,
        data_blocks: found.data_blocks,
        salt: found.salt,
    }))
}
