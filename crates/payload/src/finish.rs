//! Making a slot whole, in the order that a half-written slot can never be taken for a whole one.
//!
//! 1. [`begin`]: superblock and root block of the target's tree are zeroed and flushed. From here
//!    on [`crate::verity::claimed_root`] says `None`, whatever happens.
//! 2. The jobs of a [`crate::plan::Plan`] write the data; then the caller flushes the data.
//! 3. [`prove`]: the data is read back (past the cache: the caller gives a reader that sees the
//!    medium), its leaves are hashed and the tree is written, all but the root block; the tree is
//!    flushed.
//! 4. Where the root hash is wrong: [`crate::plan::Plan::repair`], else
//!    [`crate::plan::Plan::everything`], run its jobs, and again from 3.
//! 5. [`Proven::check_tree`]: the tree is read back and found to belong to the root hash.
//! 6. [`Checked::seal`]: superblock and root block are written, last of all, and flushed.
//!
//! The types lead through this order: only a tree that gave the right root hash can be checked,
//! only a checked one sealed. Every step may be repeated from 1 after an interruption anywhere.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::io::{Fault, ReadAt, WriteAt};
use crate::verity::{
    BLOCK, Hash, Superblock, TreeBuilder, TreeLeaves, TreeShape, block_hash, check_stored_tree,
    claimed_root, hex, root_of,
};

/// What a slot is to hold, as the signed manifest has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal<'a> {
    /// Shape of the tree: size of the image.
    pub shape: TreeShape,
    /// Salt of the tree.
    pub salt: &'a [u8],
    /// The root hash.
    pub root_hash: Hash,
}

/// Step 1: takes back whatever the slot claims to hold, durably.
pub fn begin(shape: &TreeShape, tree: &dyn WriteAt) -> Result<()> {
    // Superblock and root block are neighbours; either alone at zero makes the claim void. Only
    // the tree of a single block ends with its superblock.
    let end = if shape.root_offset().is_some() {
        2 * BLOCK
    } else {
        BLOCK
    };
    tree.write_at(0, &[0; 2 * BLOCK][..end])
        .map_err(Error::io("invalidate the target slot's tree"))?;
    tree.flush()
        .map_err(Error::io("flush the target slot's tree"))
}

/// Writes a tree from leaf hashes given in order, and keeps the root block back.
pub struct TreeWriter<'a> {
    tree: &'a dyn WriteAt,
    builder: TreeBuilder,
    root_offset: Option<u64>,
    root_block: Option<Box<[u8; BLOCK]>>,
    batch: Batch,
}

/// Neighbouring hash blocks that go to the disk in one write.
struct Batch {
    start: u64,
    bytes: Vec<u8>,
}

/// 64 KiB: 16 hash blocks, the leaves of 8 MiB of data.
const BATCH_BYTES: usize = 16 * BLOCK;

impl Batch {
    fn put(&mut self, tree: &dyn WriteAt, offset: u64, block: &[u8; BLOCK]) -> Result<(), Fault> {
        let joins = self.start + self.bytes.len() as u64 == offset;
        if !joins || self.bytes.len() == BATCH_BYTES {
            self.write(tree)?;
            self.start = offset;
        }
        self.bytes.extend_from_slice(block);
        Ok(())
    }

    fn write(&mut self, tree: &dyn WriteAt) -> Result<(), Fault> {
        if !self.bytes.is_empty() {
            tree.write_at(self.start, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

impl core::fmt::Debug for TreeWriter<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.builder.fmt(f)
    }
}

impl<'a> TreeWriter<'a> {
    /// A writer of the tree over an image of `shape` to the partition `tree`.
    pub fn new(tree: &'a dyn WriteAt, shape: TreeShape, salt: &[u8]) -> Result<Self> {
        Ok(Self {
            tree,
            builder: TreeBuilder::new(shape, salt)?,
            root_offset: shape.root_offset(),
            root_block: None,
            batch: Batch {
                start: 0,
                bytes: Vec::with_capacity(BATCH_BYTES),
            },
        })
    }

    /// Adds the hash of the next data block.
    pub fn push(&mut self, leaf: &Hash) -> Result<()> {
        let Self {
            tree,
            builder,
            root_offset,
            root_block,
            batch,
        } = self;
        builder.push(leaf, &mut |offset, block| {
            if Some(offset) == *root_offset {
                *root_block = Some(Box::new(*block));
                return Ok(());
            }
            batch.put(*tree, offset, block)
        })
    }

    /// Writes what is left, all but the root block, flushes, and gives root hash and root block.
    pub fn finish(self) -> Result<(Hash, Option<Box<[u8; BLOCK]>>)> {
        let Self {
            tree,
            builder,
            root_offset,
            mut root_block,
            mut batch,
        } = self;
        let root_hash = builder.finish(&mut |offset, block| {
            if Some(offset) == root_offset {
                root_block = Some(Box::new(*block));
                return Ok(());
            }
            batch.put(tree, offset, block)
        })?;
        batch
            .write(tree)
            .map_err(Error::io("write the target slot's tree"))?;
        tree.flush()
            .map_err(Error::io("flush the target slot's tree"))?;
        Ok((root_hash, root_block))
    }
}

/// What reading the data back has shown.
#[derive(Debug)]
pub enum Proof<'a> {
    /// The data has the signed root hash.
    Right(Proven<'a>),
    /// It has another.
    Wrong(Refuted),
}

/// The tree of data that has another root hash than it should. It stands on the disk without its
/// root block; its leaves say which blocks differ.
#[derive(Debug)]
pub struct Refuted {
    found: Hash,
    shape: TreeShape,
    root_block: Option<Box<[u8; BLOCK]>>,
}

impl Refuted {
    /// The root hash that the data has.
    #[must_use]
    pub fn found(&self) -> &Hash {
        &self.found
    }

    /// The leaves as computed from the data, for [`crate::plan::Plan::repair`]. `tree` is the
    /// partition that the tree was written to.
    #[must_use]
    pub fn leaves<'t>(&'t self, tree: &'t dyn ReadAt) -> TreeLeaves<'t> {
        TreeLeaves::with_root_block(tree, self.shape, self.root_block.as_deref())
    }
}

impl<'a> Proof<'a> {
    /// The proven tree, or [`Error::RootHash`].
    pub fn into_result(self, goal: &Goal<'_>) -> Result<Proven<'a>> {
        match self {
            Self::Right(proven) => Ok(proven),
            Self::Wrong(refuted) => Err(wrong_root(goal, &refuted.found)),
        }
    }
}

/// The error for data with another root hash than the goal's.
pub(crate) fn wrong_root(goal: &Goal<'_>, found: &Hash) -> Error {
    Error::RootHash {
        found: hex(found),
        expected: hex(&goal.root_hash),
    }
}

/// Proves a finished slot, for `verify` and before staging what is there already: it claims the
/// goal's root hash, its tree belongs to that hash, and so does every byte of its data.
///
/// # Errors
/// [`Error::NotClaimed`] where the slot claims nothing or another release, [`Error::TreeWrong`]
/// and [`Error::RootHash`] where it claims more than it holds.
pub fn verify(goal: &Goal<'_>, data: &dyn ReadAt, tree: &dyn ReadAt) -> Result<()> {
    let claimed = claimed_root(tree)?.map(|claim| claim.root_hash);
    // A single block has no tree that could claim anything; its hash is all there is.
    if claimed != Some(goal.root_hash) && goal.shape.root_offset().is_some() {
        let found = claimed.map(|hash| hex(&hash));
        return Err(Error::NotClaimed {
            found,
            expected: hex(&goal.root_hash),
        });
    }
    check_stored_tree(tree, &goal.shape, goal.salt, &goal.root_hash, None)?;
    let found = root_of(data, &goal.shape, goal.salt)?;
    if found == goal.root_hash {
        Ok(())
    } else {
        Err(wrong_root(goal, &found))
    }
}

/// Step 3: reads the data back, computes the tree, writes all of it but the root block.
///
/// `data` must see what is on the medium, not what a cache remembers. `progress` is told the
/// number of blocks done after each MiB and may stop the work with a fault.
pub fn prove<'a>(
    goal: &Goal<'a>,
    data: &dyn ReadAt,
    tree: &dyn WriteAt,
    progress: &mut dyn FnMut(u64) -> Result<(), Fault>,
) -> Result<Proof<'a>> {
    let mut writer = TreeWriter::new(tree, goal.shape, goal.salt)?;
    let blocks = goal.shape.data_blocks();
    let piece = crate::verity::STREAM / BLOCK;
    let mut buffer = vec![0; piece.min(blocks as usize) * BLOCK];
    let mut next = 0;
    while next < blocks {
        let count = (blocks - next).min(piece as u64);
        let bytes = &mut buffer[..count as usize * BLOCK];
        let doing = "read the target slot back";
        data.read_at(next * BLOCK as u64, bytes)
            .map_err(Error::io(doing))?;
        for block in bytes.chunks_exact(BLOCK) {
            writer.push(&block_hash(goal.salt, block))?;
        }
        next += count;
        progress(next).map_err(Error::io("stop as asked"))?;
    }
    let (found, root_block) = writer.finish()?;
    if found == goal.root_hash {
        Ok(Proof::Right(Proven {
            goal: *goal,
            root_block,
        }))
    } else {
        Ok(Proof::Wrong(Refuted {
            found,
            shape: goal.shape,
            root_block,
        }))
    }
}

/// Data that was read back with the right root hash; its tree still to be checked.
#[derive(Debug)]
pub struct Proven<'a> {
    goal: Goal<'a>,
    root_block: Option<Box<[u8; BLOCK]>>,
}

impl<'a> Proven<'a> {
    /// Step 5: reads the written tree back (past the cache) and checks it against the root hash.
    pub fn check_tree(self, tree: &dyn ReadAt) -> Result<Checked<'a>> {
        let goal = &self.goal;
        let root_block = self.root_block.as_deref();
        check_stored_tree(tree, &goal.shape, goal.salt, &goal.root_hash, root_block)?;
        Ok(Checked { proven: self })
    }
}

/// Data and tree that were both read back and found right; the slot still claims nothing.
#[derive(Debug)]
pub struct Checked<'a> {
    proven: Proven<'a>,
}

impl Checked<'_> {
    /// Step 6: writes superblock and root block and flushes. The slot is whole from here on.
    pub fn seal(self, tree: &dyn WriteAt) -> Result<()> {
        let goal = &self.proven.goal;
        let mut last = Superblock::new(&goal.shape, goal.salt, &goal.root_hash)?
            .encode()
            .to_vec();
        if let Some(root_block) = &self.proven.root_block {
            last.extend_from_slice(&root_block[..]);
        }
        tree.write_at(0, &last)
            .map_err(Error::io("write the target slot's root block"))?;
        tree.flush()
            .map_err(Error::io("flush the target slot's tree"))
    }
}
