//! Where the files of an EROFS image lie: names, inodes and data, nothing of their content.
//! Publisher-side only (DESIGN section 14: the node has no image parser), and still careful: an
//! image may come from anywhere.
//!
//! The on-disk format: `fs/erofs/erofs_fs.h` of Linux. Compressed and chunked files are listed
//! without data: their blocks are found by content.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::io::ReadAt;
use crate::verity::BLOCK;

const SUPERBLOCK_AT: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// An inode's number counts slots of this size from the start of the metadata.
const SLOT: u64 = 32;
const DIRENT: usize = 12;
const FLAT_PLAIN: u16 = 0;
const FLAT_INLINE: u16 = 2;
const TYPE_MASK: u16 = 0o170_000;
const TYPE_DIRECTORY: u16 = 0o040_000;

/// Most files that are listed: an image of a distribution has some 10^4 to 10^5.
const FILES_MAX: usize = 1 << 20;
/// Longest path that is followed: Linux's own limit.
const PATH_MAX: usize = 4096;
/// Largest directory that is read.
const DIRECTORY_MAX: u64 = 64 << 20;
/// Bytes of all paths together.
const PATHS_MAX: usize = 128 << 20;

/// A file or directory of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, without a leading slash.
    pub path: Vec<u8>,
    /// Bytes of the image that its inode takes, its inlined tail included.
    pub inode: Range<u64>,
    /// Blocks of the image that its data takes; empty where it has none of its own.
    pub data: Range<u32>,
}

/// The files of an image, or nothing where it is not an EROFS image that can be read to the end.
pub fn files(image: &dyn ReadAt) -> Option<Vec<File>> {
    Walk::new(image)?.all()
}

struct Walk<'a> {
    image: &'a dyn ReadAt,
    size: u64,
    metadata: u64,
    root: u64,
    seen: BTreeSet<u64>,
    files: Vec<File>,
    paths: usize,
}

struct Inode {
    layout: u16,
    mode: u16,
    size: u64,
    /// Start of the data in blocks, for the flat layouts.
    blocks: u32,
    /// Bytes of inode and extended attributes.
    head: Range<u64>,
}

impl Inode {
    /// Whole blocks of data, and bytes of the tail that follows the inode.
    fn parts(&self) -> (u64, u64) {
        let block = BLOCK as u64;
        match self.layout {
            FLAT_PLAIN => (self.size.div_ceil(block), 0),
            FLAT_INLINE => (self.size / block, self.size % block),
            _ => (0, 0),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

use crate::index::{u32_at, u64_at};

impl<'a> Walk<'a> {
    fn new(image: &'a dyn ReadAt) -> Option<Self> {
        let mut raw = [0; 128];
        image.read_at(SUPERBLOCK_AT, &mut raw).ok()?;
        // Blocks of another size do not line up with ours.
        if u32_at(&raw, 0) != MAGIC || 1usize.checked_shl(raw[12].into()) != Some(BLOCK) {
            return None;
        }
        Some(Self {
            image,
            size: image.len().ok()?,
            metadata: u64::from(u32_at(&raw, 40)) * BLOCK as u64,
            root: u16_at(&raw, 14).into(),
            seen: BTreeSet::new(),
            files: Vec::new(),
            paths: 0,
        })
    }

    fn all(mut self) -> Option<Vec<File>> {
        let mut waiting = vec![(Vec::new(), self.root)];
        while let Some((path, number)) = waiting.pop() {
            let inode = self.inode(number)?;
            self.note(&path, &inode)?;
            // A directory that was seen already would lead around in circles.
            if inode.mode & TYPE_MASK == TYPE_DIRECTORY && self.seen.insert(number) {
                self.entries(&path, &inode, &mut waiting)?;
            }
        }
        Some(self.files)
    }

    fn note(&mut self, path: &[u8], inode: &Inode) -> Option<()> {
        let (blocks, tail) = inode.parts();
        let end = u64::from(inode.blocks).checked_add(blocks)?;
        let data = match blocks {
            0 => 0..0,
            _ => inode.blocks..u32::try_from(end).ok()?,
        };
        self.paths += path.len();
        if end * BLOCK as u64 > self.size && blocks > 0
            || self.files.len() == FILES_MAX
            || self.paths > PATHS_MAX
        {
            return None;
        }
        self.files.push(File {
            path: path.to_vec(),
            inode: inode.head.start..inode.head.end + tail,
            data,
        });
        Some(())
    }

    fn inode(&self, number: u64) -> Option<Inode> {
        let at = number.checked_mul(SLOT)?.checked_add(self.metadata)?;
        let mut raw = [0; 64];
        self.image.read_at(at, &mut raw[..32]).ok()?;
        let format = u16_at(&raw, 0);
        let extended = format & 1 == 1;
        if extended {
            self.image.read_at(at, &mut raw).ok()?;
        }
        let attributes = match u16_at(&raw, 2) {
            0 => 0,
            count => 12 + (u64::from(count) - 1) * 4,
        };
        let (length, size) = if extended {
            (64, u64_at(&raw, 8))
        } else {
            (32, u64::from(u32_at(&raw, 8)))
        };
        Some(Inode {
            layout: format >> 1 & 7,
            mode: u16_at(&raw, 4),
            size,
            blocks: u32_at(&raw, 16),
            head: at..at + length + attributes,
        })
    }

    /// Reads a directory's entries, block by block.
    fn entries(&self, path: &[u8], inode: &Inode, waiting: &mut Vec<(Vec<u8>, u64)>) -> Option<()> {
        if inode.size > DIRECTORY_MAX.min(self.size) {
            return None;
        }
        let (blocks, tail) = inode.parts();
        let mut block = vec![0; BLOCK];
        for i in 0..blocks {
            let left = (inode.size - i * BLOCK as u64).min(BLOCK as u64) as usize;
            let at = (u64::from(inode.blocks) + i) * BLOCK as u64;
            self.image.read_at(at, &mut block[..left]).ok()?;
            self.block_entries(path, &block[..left], waiting)?;
        }
        if tail > 0 {
            let tail = &mut block[..tail as usize];
            self.image.read_at(inode.head.end, tail).ok()?;
            self.block_entries(path, tail, waiting)?;
        }
        Some(())
    }

    fn block_entries(
        &self,
        path: &[u8],
        block: &[u8],
        waiting: &mut Vec<(Vec<u8>, u64)>,
    ) -> Option<()> {
        let name_at = |entry: usize| {
            let raw = block.get(entry * DIRENT..(entry + 1) * DIRENT)?;
            Some(usize::from(u16_at(raw, 8)))
        };
        let count = name_at(0)? / DIRENT;
        for entry in 0..count {
            let start = name_at(entry)?;
            let end = match entry + 1 < count {
                true => name_at(entry + 1)?,
                false => block.len(),
            };
            let name = block.get(start..end)?;
            let name = name.split(|byte| *byte == 0).next()?;
            if name.is_empty() || name == b"." || name == b".." {
                continue;
            }
            // No file system has such a name; as part of a path it would be several.
            if name.contains(&b'/') {
                return None;
            }
            let mut full = path.to_vec();
            if !full.is_empty() {
                full.push(b'/');
            }
            full.extend_from_slice(name);
            if full.len() > PATH_MAX || waiting.len() > FILES_MAX {
                return None;
            }
            waiting.push((full, u64_at(block, entry * DIRENT)));
        }
        Some(())
    }
}
