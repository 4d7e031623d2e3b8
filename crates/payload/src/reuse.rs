//! Finding blocks that the booted slot already has, at any position, in a table of fixed size.
//!
//! The table maps a block's key to its position in the base. It stores positions only; the key is
//! confirmed in the base's own hash tree (or, where the salts differ, by hashing the base's block
//! again). So an entry costs 4 bytes, and 8 MiB serve a base of 1.8 million blocks (7 GB). Of a
//! larger base the blocks that no longer fit are left out: they are fetched instead of reused,
//! which costs bytes and never correctness. Several passes by hash partition would save these
//! bytes at the price of reading the index once a pass; root images of that size have not been
//! seen.
//!
//! A match is a hint. What was copied because of it is proven by the root hash in the end.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::index::{Index, key_of};
use crate::io::ReadAt;
use crate::verity::{BLOCK, HASHES_PER_BLOCK, TreeLeaves, block_hash};

/// Memory of a table unless the caller says otherwise.
pub const TABLE_BYTES: usize = 8 << 20;

/// Positions take the low 26 bits of an entry (`BLOCKS_MAX` is 2^26), bits of the key the rest,
/// so that all but one in 64 of the wrong entries are passed over without a confirming read.
const POSITION_BITS: u32 = 26;
const POSITION_MASK: u32 = (1 << POSITION_BITS) - 1;
const EMPTY: u32 = u32::MAX;

/// Longest walk from a key's own place. At the table's highest load (7/8) walks of linear probing
/// average 32 for a key that is absent; a block that would need more than four times that is left
/// out. (A table that is not at its bound is two thirds full.)
const WALK_MAX: usize = 128;

/// The image that blocks are taken from: the booted slot.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    data: &'a dyn ReadAt,
    blocks: u64,
    keys: BaseKeys<'a>,
}

#[derive(Clone, Copy)]
enum BaseKeys<'a> {
    /// Its hash tree uses the target's salt.
    Tree(TreeLeaves<'a>),
    /// Its blocks are hashed with the target's salt.
    Salt(&'a [u8]),
}

impl core::fmt::Debug for Base<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Base({} blocks)", self.blocks)
    }
}

impl<'a> Base<'a> {
    /// A base whose stored tree has the target's salt: nothing needs to be hashed.
    #[must_use]
    pub fn with_tree(data: &'a dyn ReadAt, leaves: TreeLeaves<'a>) -> Self {
        Self {
            data,
            blocks: leaves.shape().data_blocks(),
            keys: BaseKeys::Tree(leaves),
        }
    }

    /// A base without a usable tree (another salt, or none): its `blocks` blocks are hashed once
    /// with `salt`, the salt of the target, when the table is built.
    #[must_use]
    pub fn to_hash(data: &'a dyn ReadAt, blocks: u64, salt: &'a [u8]) -> Self {
        Self {
            data,
            blocks,
            keys: BaseKeys::Salt(salt),
        }
    }

    pub(crate) fn data(&self) -> &'a dyn ReadAt {
        self.data
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }
}

/// A hash block of the base's tree, or a block of its data: what was read last.
pub(crate) struct LeafCache {
    block: Box<[u8; BLOCK]>,
    held: Option<u64>,
}

impl LeafCache {
    pub(crate) fn new() -> Self {
        Self {
            block: Box::new([0; BLOCK]),
            held: None,
        }
    }

    /// The key of the base's block `position`; `None` where it cannot be read.
    fn key(&mut self, base: &Base<'_>, position: u64, width: u8) -> Option<u64> {
        let number = match base.keys {
            BaseKeys::Tree(_) => position / HASHES_PER_BLOCK as u64,
            BaseKeys::Salt(_) => position,
        };
        if self.held != Some(number) {
            self.held = None;
            match base.keys {
                BaseKeys::Tree(leaves) => leaves.read_block(number, &mut self.block).ok()?,
                BaseKeys::Salt(_) => {
                    base.data
                        .read_at(number * BLOCK as u64, &mut self.block[..])
                        .ok()?;
                }
            }
            self.held = Some(number);
        }
        Some(match base.keys {
            BaseKeys::Tree(_) => {
                let at = position as usize % HASHES_PER_BLOCK * 32;
                key_of(&self.block[at..at + 32], width)
            }
            BaseKeys::Salt(salt) => key_of(&block_hash(salt, &self.block[..]), width),
        })
    }
}

/// Positions of the base's blocks by key.
pub struct ReuseTable<'a> {
    base: Base<'a>,
    width: u8,
    entries: Vec<u32>,
    left_out: u64,
}

impl core::fmt::Debug for ReuseTable<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "ReuseTable({} entries, {:?})",
            self.entries.len(),
            self.base
        )
    }
}

impl<'a> ReuseTable<'a> {
    /// Reads the base's hashes once and notes where each block lies. Takes at most `memory` bytes
    /// ([`TABLE_BYTES`] is a good choice), less for a small base.
    ///
    /// Cannot fail: a block of the base that cannot be read is one that is not there.
    #[must_use]
    pub fn build(base: Base<'a>, index: &Index<'_>, memory: usize) -> Self {
        // A third of the places stays empty, so that walks of linear probing average five places for a
        // key that is absent.
        let places = base.blocks.max(8).saturating_mul(3).div_ceil(2);
        let bound = (memory.max(256) / 4) as u64;
        let entries = vec![EMPTY; places.min(bound) as usize];
        let width = index.header().key_width;
        let mut table = Self {
            base,
            width,
            entries,
            left_out: 0,
        };
        let room = table.entries.len() as u64 / 8 * 7;
        let mut held = 0;
        let mut confirm = LeafCache::new();
        let mut walk = LeafCache::new();
        for position in 0..base.blocks.min(u64::from(POSITION_MASK)) {
            let key = walk.key(&base, position, width);
            let noted = held < room
                && key.is_some_and(|key| table.insert(key, position, &mut confirm, &mut held));
            table.left_out += u64::from(!noted);
        }
        table
    }

    /// How many blocks of the base found no place in the table or could not be read.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn base(&self) -> &Base<'a> {
        &self.base
    }

    /// Notes a position unless the key is there already. `false` where there is no place.
    fn insert(&mut self, key: u64, position: u64, cache: &mut LeafCache, held: &mut u64) -> bool {
        let (start, tag) = self.place(key);
        for step in 0..WALK_MAX.min(self.entries.len()) {
            let at = self.after(start, step);
            let entry = self.entries[at];
            if entry == EMPTY {
                self.entries[at] = tag | position as u32;
                *held += 1;
                return true;
            }
            let there = u64::from(entry & POSITION_MASK);
            if entry & !POSITION_MASK == tag
                && cache.key(&self.base, there, self.width) == Some(key)
            {
                return true;
            }
        }
        false
    }

    /// Where the base has a block with this key. `near` is tried first: after a block found at
    /// one position the next one is most often found right behind it, which keeps copies long.
    pub(crate) fn find(&self, key: u64, near: Option<u64>, cache: &mut LeafCache) -> Option<u64> {
        let mut is_at = |position| cache.key(&self.base, position, self.width) == Some(key);
        if let Some(near) = near.filter(|near| *near < self.base.blocks())
            && is_at(near)
        {
            return Some(near);
        }
        let (start, tag) = self.place(key);
        for step in 0..WALK_MAX.min(self.entries.len()) {
            let entry = self.entries[self.after(start, step)];
            if entry == EMPTY {
                return None;
            }
            let there = u64::from(entry & POSITION_MASK);
            if entry & !POSITION_MASK == tag && is_at(there) {
                return Some(there);
            }
        }
        None
    }

    /// The place `step` places behind another; behind the last one comes the first.
    fn after(&self, start: usize, step: usize) -> usize {
        let at = start + step;
        if at < self.entries.len() {
            at
        } else {
            at - self.entries.len()
        }
    }

    /// A key's own place in the table, and the bits of it that entries carry. Keys are parts of
    /// SHA-256 hashes, so any of their bits will do; the ranges do not overlap (the low 32 bits
    /// choose the place, 32 to 37 are the tag, and keys have 40 bits at least).
    fn place(&self, key: u64) -> (usize, u32) {
        let tag = ((key >> 32) as u32 & 0x3f) << POSITION_BITS;
        // The low 32 bits, taken as a fraction of the table's length: below it, whatever the length.
        let place = ((key & 0xffff_ffff) * self.entries.len() as u64) >> 32;
        (place as usize, tag)
    }
}
