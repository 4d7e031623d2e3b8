//! Builds a tree from leaf hashes in one pass.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::io::Fault;
use crate::verity::{BLOCK, Hash, TreeShape, block_hash};

/// The open block of one level.
struct Open {
    block: Box<[u8; BLOCK]>,
    /// Bytes of `block` that are filled.
    filled: usize,
    /// Which block of the level this is.
    number: u64,
}

/// Takes the leaf hashes of an image in order and hands out each hash block once it is complete.
///
/// Memory: one block a level, four levels at most for a root image.
pub struct TreeBuilder {
    shape: TreeShape,
    salt: Vec<u8>,
    open: Vec<Open>,
    leaves: u64,
    /// The latest hash at the top: the root hash once every leaf is in.
    top: Hash,
}

impl core::fmt::Debug for TreeBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "TreeBuilder({} of {} leaves)",
            self.leaves,
            self.shape.data_blocks()
        )
    }
}

/// Takes one complete hash block and its byte offset in the tree's partition.
pub type Emit<'a> = dyn FnMut(u64, &[u8; BLOCK]) -> Result<(), Fault> + 'a;

impl TreeBuilder {
    /// A builder for an image of `shape`, hashing with `salt`.
    pub fn new(shape: TreeShape, salt: &[u8]) -> Result<Self> {
        if salt.len() > crate::verity::SALT_MAX {
            return Err(Error::SaltTooLong { found: salt.len() });
        }
        let open = shape.levels().iter();
        let open = open.map(|_| Open {
            block: Box::new([0; BLOCK]),
            filled: 0,
            number: 0,
        });
        Ok(Self {
            shape,
            salt: salt.to_vec(),
            open: open.collect(),
            leaves: 0,
            top: [0; 32],
        })
    }

    /// Adds the hash of the next data block.
    ///
    /// # Errors
    /// [`Error::ImageSize`] for a leaf too many, [`Error::Io`] where `emit` fails.
    pub fn push(&mut self, leaf: &Hash, emit: &mut Emit<'_>) -> Result<()> {
        if self.leaves == self.shape.data_blocks() {
            let why = "it has more blocks than its tree";
            return Err(Error::ImageSize {
                size: self.shape.data_bytes(),
                why,
            });
        }
        self.leaves += 1;
        self.add(0, leaf, emit)
    }

    /// Closes the blocks still open, the root block last of all, and gives the root hash.
    pub fn finish(mut self, emit: &mut Emit<'_>) -> Result<Hash> {
        if self.leaves != self.shape.data_blocks() {
            let why = "it has fewer blocks than its tree";
            return Err(Error::ImageSize {
                size: self.leaves * BLOCK as u64,
                why,
            });
        }
        for level in 0..self.open.len() {
            if self.open[level].filled > 0 {
                self.close(level, emit)?;
            }
        }
        Ok(self.top)
    }

    fn add(&mut self, level: usize, hash: &Hash, emit: &mut Emit<'_>) -> Result<()> {
        let Some(open) = self.open.get_mut(level) else {
            self.top = *hash;
            return Ok(());
        };
        open.block[open.filled..open.filled + 32].copy_from_slice(hash);
        open.filled += 32;
        if open.filled == BLOCK {
            self.close(level, emit)
        } else {
            Ok(())
        }
    }

    /// Hands out a level's open block, padded with zeroes, and passes its hash upwards.
    fn close(&mut self, level: usize, emit: &mut Emit<'_>) -> Result<()> {
        let open = &mut self.open[level];
        open.block[open.filled..].fill(0);
        let offset = (self.shape.levels()[level].start + open.number) * BLOCK as u64;
        emit(offset, &open.block).map_err(Error::io("write a block of the hash tree"))?;
        let hash = block_hash(&self.salt, &open.block[..]);
        open.filled = 0;
        open.number += 1;
        self.add(level + 1, &hash, emit)
    }
}
