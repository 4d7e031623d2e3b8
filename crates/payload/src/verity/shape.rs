//! Where each hash block of a tree lies.

use crate::error::{Error, Result};
use crate::verity::{BLOCK, HASHES_PER_BLOCK};

/// Most levels a tree can have: 128^10 blocks exceed every 64-bit byte count.
const LEVELS_MAX: usize = 10;

/// Most data blocks of an image: 256 GiB at 4 KiB. Far above any root image; it keeps block
/// numbers in 26 bits (see `reuse`) and every bitmap of one bit a block within 8 MiB.
pub const BLOCKS_MAX: u64 = 1 << 26;

/// One level of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    /// First block of the level, counted from the start of the tree's partition.
    pub start: u64,
    /// Number of hash blocks.
    pub blocks: u64,
}

/// The shape of the hash tree over an image; depends on nothing but the number of data blocks.
///
/// The partition starts with one superblock; the levels follow, the root's first, as
/// `veritysetup` lays them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeShape {
    data_blocks: u64,
    levels: [Level; LEVELS_MAX],
    count: usize,
}

impl TreeShape {
    /// The shape for an image of `data_blocks` blocks. Refuses none and more than [`BLOCKS_MAX`].
    pub fn new(data_blocks: u64) -> Result<Self> {
        if data_blocks == 0 {
            return Err(Error::ImageSize {
                size: 0,
                why: "it holds no block",
            });
        }
        if data_blocks > BLOCKS_MAX {
            let (found, limit) = (data_blocks, BLOCKS_MAX);
            return Err(Error::TooLarge {
                what: "the image's number of blocks",
                found,
                limit,
            });
        }
        let mut shape = Self {
            data_blocks,
            levels: [Level::default(); LEVELS_MAX],
            count: 0,
        };
        let mut below = data_blocks;
        while below > 1 {
            below = below.div_ceil(HASHES_PER_BLOCK as u64);
            shape.levels[shape.count].blocks = below;
            shape.count += 1;
        }
        let mut start = 1; // after the superblock
        for level in shape.levels[..shape.count].iter_mut().rev() {
            level.start = start;
            start += level.blocks;
        }
        Ok(shape)
    }

    /// The shape for an image of `size` bytes, which must be whole blocks.
    pub fn for_size(size: u64) -> Result<Self> {
        if !size.is_multiple_of(BLOCK as u64) {
            return Err(Error::ImageSize {
                size,
                why: "it is not a multiple of 4096",
            });
        }
        Self::new(size / BLOCK as u64)
    }

    /// Number of data blocks covered.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Size of the image in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_blocks * BLOCK as u64
    }

    /// The levels, leaves first. An image of one block has none: its root hash is its leaf.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels[..self.count]
    }

    /// Blocks of all levels together, the superblock aside.
    #[must_use]
    pub fn tree_blocks(&self) -> u64 {
        self.levels().iter().map(|level| level.blocks).sum()
    }

    /// Bytes that superblock and tree take at the start of the tree's partition.
    #[must_use]
    pub fn partition_bytes(&self) -> u64 {
        (1 + self.tree_blocks()) * BLOCK as u64
    }

    /// Byte offset of the root block in the tree's partition, if the tree has one.
    #[must_use]
    pub fn root_offset(&self) -> Option<u64> {
        self.levels().last().map(|level| level.start * BLOCK as u64)
    }

    /// Byte offset, in the tree's partition, of the stored hash of data block `block`.
    #[must_use]
    pub fn leaf_offset(&self, block: u64) -> Option<u64> {
        let leaves = self.levels().first()?;
        (block < self.data_blocks).then_some(leaves.start * BLOCK as u64 + block * 32)
    }
}
