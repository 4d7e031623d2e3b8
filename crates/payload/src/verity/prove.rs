//! Reading images and stored trees back: root hash of data, leaves of a tree, checking a tree.

use alloc::vec;

use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::verity::{BLOCK, HASHES_PER_BLOCK, Hash, TreeBuilder, TreeShape, block_hash};

/// Bytes read at a time when streaming an image: 256 blocks. Larger gains nothing measurable,
/// smaller costs system calls.
pub(crate) const STREAM: usize = 256 * BLOCK;

/// Streams the data blocks `first..first + count`, handing each to `take` with its number.
pub(crate) fn for_each_block(
    data: &dyn ReadAt,
    first: u64,
    count: u64,
    take: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; STREAM.min(count as usize * BLOCK)];
    let end = first + count;
    let mut next = first;
    while next < end {
        let blocks = ((end - next) as usize).min(STREAM / BLOCK);
        let piece = &mut buffer[..blocks * BLOCK];
        data.read_at(next * BLOCK as u64, piece)
            .map_err(Error::io("read the image's data"))?;
        for block in piece.chunks_exact(BLOCK) {
            take(next, block)?;
            next += 1;
        }
    }
    Ok(())
}

/// The root hash of `data`, of which exactly the blocks of `shape` count.
pub fn root_of(data: &dyn ReadAt, shape: &TreeShape, salt: &[u8]) -> Result<Hash> {
    let mut builder = TreeBuilder::new(*shape, salt)?;
    for_each_block(data, 0, shape.data_blocks(), &mut |_, block| {
        builder.push(&block_hash(salt, block), &mut |_, _| Ok(()))
    })?;
    builder.finish(&mut |_, _| Ok(()))
}

/// Checks that a stored tree belongs to `root_hash`: every hash block has the hash that its
/// parent (at the top: the root hash) holds for it. Says nothing of the data. `root_block` stands in for the stored root block while that is not written yet.
pub fn check_stored_tree(
    tree: &dyn ReadAt,
    shape: &TreeShape,
    salt: &[u8],
    root_hash: &Hash,
    root_block: Option<&[u8; BLOCK]>,
) -> Result<()> {
    let doing = "read the hash tree back";
    let top = shape.levels().len();
    for (number, level) in shape.levels().iter().enumerate().rev() {
        let mut parent = [0; BLOCK];
        let mut block = [0; BLOCK];
        for i in 0..level.blocks {
            let offset = (level.start + i) * BLOCK as u64;
            match root_block {
                Some(given) if number + 1 == top => block = *given,
                _ => tree.read_at(offset, &mut block).map_err(Error::io(doing))?,
            }
            let slot = (i as usize % HASHES_PER_BLOCK) * 32;
            let expected = if number + 1 == top {
                &root_hash[..]
            } else {
                if slot == 0 {
                    read_parent(tree, shape, number + 1, i, root_block, &mut parent)?;
                }
                &parent[slot..slot + 32]
            };
            if block_hash(salt, &block)[..] != expected[..] {
                return Err(Error::TreeWrong { offset });
            }
        }
    }
    Ok(())
}

/// Reads the block of `level` that holds the hash of block `child` of the level below.
fn read_parent(
    tree: &dyn ReadAt,
    shape: &TreeShape,
    level: usize,
    child: u64,
    root_block: Option<&[u8; BLOCK]>,
    parent: &mut [u8; BLOCK],
) -> Result<()> {
    if let (Some(given), true) = (root_block, level + 1 == shape.levels().len()) {
        *parent = *given;
        return Ok(());
    }
    let offset = (shape.levels()[level].start + child / HASHES_PER_BLOCK as u64) * BLOCK as u64;
    tree.read_at(offset, parent)
        .map_err(Error::io("read the hash tree back"))
}

/// The leaf hashes of a stored tree, read a hash block at a time.
#[derive(Clone, Copy)]
pub struct TreeLeaves<'a> {
    tree: &'a dyn ReadAt,
    shape: TreeShape,
    /// Stands in for the stored root block: in a tree of one level it holds the leaves.
    root_block: Option<&'a [u8; BLOCK]>,
}

impl core::fmt::Debug for TreeLeaves<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TreeLeaves({} blocks)", self.shape.data_blocks())
    }
}

impl<'a> TreeLeaves<'a> {
    /// The leaves of the tree at the start of `tree` (superblock first) over an image of `shape`.
    #[must_use]
    pub fn new(tree: &'a dyn ReadAt, shape: TreeShape) -> Self {
        Self {
            tree,
            shape,
            root_block: None,
        }
    }

    /// As [`TreeLeaves::new`], for a tree whose root block is not written yet.
    pub(crate) fn with_root_block(
        tree: &'a dyn ReadAt,
        shape: TreeShape,
        root_block: Option<&'a [u8; BLOCK]>,
    ) -> Self {
        Self {
            tree,
            shape,
            root_block,
        }
    }

    /// The shape of the tree.
    #[must_use]
    pub fn shape(&self) -> &TreeShape {
        &self.shape
    }

    /// Fills `buf` with leaf block `number`: the hashes of data blocks `128 * number` and on.
    pub fn read_block(&self, number: u64, buf: &mut [u8; BLOCK]) -> Result<()> {
        let Some(level) = self
            .shape
            .levels()
            .first()
            .filter(|level| number < level.blocks)
        else {
            let size = self.shape.data_bytes();
            return Err(Error::ImageSize {
                size,
                why: "its tree has no such leaf",
            });
        };
        if let (Some(given), 1) = (self.root_block, self.shape.levels().len()) {
            *buf = *given;
            return Ok(());
        }
        let offset = (level.start + number) * BLOCK as u64;
        self.tree
            .read_at(offset, buf)
            .map_err(Error::io("read the leaves of a hash tree"))
    }
}
