//! What of the base a block of the target most likely derives from, told by the names of files.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::encode::delta::erofs::{self, File};
use crate::io::ReadAt;
use crate::verity::BLOCK;

/// A window of the base that is wanted, and the file that it may grow within. In blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) file_from: u32,
    pub(super) file_to: u32,
}

/// Files of both images, matched by path.
#[derive(Debug)]
pub(super) struct Guide {
    base: Vec<File>,
    target: Vec<File>,
    /// For each file of the target its counterpart in the base.
    counterparts: Vec<Option<u32>>,
    /// Target files by the start of their data, and by the start of their inodes.
    by_data: Vec<u32>,
    by_inode: Vec<u32>,
}

impl Guide {
    /// Nothing where one of the images is not a readable EROFS image.
    pub(super) fn of(base: &dyn ReadAt, target: &dyn ReadAt) -> Option<Self> {
        let (base, target) = (erofs::files(base)?, erofs::files(target)?);
        let counterparts = counterparts(&base, &target);
        let mut by_data: Vec<u32> = (0..target.len() as u32)
            .filter(|i| !target[*i as usize].data.is_empty())
            .collect();
        by_data.sort_by_key(|i| (target[*i as usize].data.start, *i));
        let mut by_inode: Vec<u32> = (0..target.len() as u32).collect();
        by_inode.sort_by_key(|i| (target[*i as usize].inode.start, *i));
        Some(Self {
            base,
            target,
            counterparts,
            by_data,
            by_inode,
        })
    }

    /// The windows for one block of the target; none where no file of the base is like it.
    pub(super) fn windows(&self, block: u32, take: &mut dyn FnMut(Window)) {
        let after = self
            .by_data
            .partition_point(|i| self.target[*i as usize].data.start <= block);
        if let Some(i) = after.checked_sub(1).map(|at| self.by_data[at])
            && self.target[i as usize].data.contains(&block)
        {
            if let Some(old) = self.counterpart(i) {
                data_window(&self.target[i as usize], old, block, take);
            }
            return;
        }
        self.inode_windows(block, take);
    }

    fn counterpart(&self, i: u32) -> Option<&File> {
        self.counterparts[i as usize].map(|old| &self.base[old as usize])
    }

    /// The block holds inodes: those of the same files in the base.
    fn inode_windows(&self, block: u32, take: &mut dyn FnMut(Window)) {
        let bytes = u64::from(block) * BLOCK as u64..(u64::from(block) + 1) * BLOCK as u64;
        // An inode with its tail may begin up to two blocks earlier.
        let early = bytes.start.saturating_sub(2 * BLOCK as u64);
        let first = self
            .by_inode
            .partition_point(|i| self.target[*i as usize].inode.start < early);
        for i in &self.by_inode[first..] {
            let inode = &self.target[*i as usize].inode;
            if inode.start >= bytes.end {
                break;
            }
            if inode.end > bytes.start
                && let Some(old) = self.counterpart(*i)
            {
                take(inode_window(old));
            }
        }
    }
}

/// The same place of the old file; where its size differs, the place moves with the offset.
fn data_window(new: &File, old: &File, block: u32, take: &mut dyn FnMut(Window)) {
    if old.data.is_empty() {
        take(inode_window(old));
        return;
    }
    let offset = i64::from(block - new.data.start);
    let (sizes, olds) = (new.data.len() as i64, old.data.len() as i64);
    let moved = offset + (olds - sizes) * offset / sizes;
    let from = old.data.start + moved.clamp(0, olds - 1) as u32;
    take(Window {
        from,
        to: from + 1,
        file_from: old.data.start,
        file_to: old.data.end,
    });
}

fn inode_window(file: &File) -> Window {
    let from = (file.inode.start / BLOCK as u64) as u32;
    let to = file.inode.end.div_ceil(BLOCK as u64) as u32;
    Window {
        from,
        to,
        file_from: from,
        file_to: to,
    }
}

/// The path with each number as one mark: versions in names change with every release.
fn without_numbers(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'0'..=b'9' if plain.last() == Some(&b'0') => {}
            b'0'..=b'9' => plain.push(b'0'),
            other => plain.push(*other),
        }
    }
    plain
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// For each file of the target the file of the base with the same path; else with the same path but
/// for numbers; else with the same name but for numbers, of the nearest size.
fn counterparts(base: &[File], target: &[File]) -> Vec<Option<u32>> {
    let mut exact: BTreeMap<&[u8], u32> = BTreeMap::new();
    let mut alike: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    let mut named: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for (i, file) in (0..).zip(base) {
        exact.insert(&file.path, i);
        alike
            .entry(without_numbers(&file.path))
            .or_default()
            .push(i);
        named
            .entry(without_numbers(name(&file.path)))
            .or_default()
            .push(i);
    }
    let size =
        |file: &File| file.data.len() as u64 * BLOCK as u64 + (file.inode.end - file.inode.start);
    let nearest = |file: &File, among: Option<&Vec<u32>>| {
        let among = among?.iter().copied();
        among.min_by_key(|i| (size(&base[*i as usize]).abs_diff(size(file)), *i))
    };
    let find = |file: &File| {
        exact.get(file.path.as_slice()).copied().or_else(|| {
            nearest(file, alike.get(&without_numbers(&file.path)))
                .or_else(|| nearest(file, named.get(&without_numbers(name(&file.path)))))
        })
    };
    target.iter().map(find).collect()
}
