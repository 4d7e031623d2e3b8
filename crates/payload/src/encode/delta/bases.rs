//! What of the base is gathered for a segment: publisher-side choice, a plain list for the node.
//!
//! First the places that the names of files tell, each with as much around it as there is room;
//! then, for blocks without such a place, what has content in common. On real images the first are
//! worth a sixth of the bytes (`docs/benchmarks.md`), and more of the base than is useful costs.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::delta::Piece;
use crate::encode::delta::guide::{Guide, Window};
use crate::encode::delta::runs::read_block_range;
use crate::encode::delta::samples::Samples;
use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::verity::BLOCK;

/// Blocks found by content are taken with their neighbours: units of 16 KiB.
const UNIT: u32 = 4;

/// Both ways of finding what helps.
pub(super) struct Bases {
    guide: Option<Guide>,
    samples: Samples,
    base_blocks: u32,
}

impl Bases {
    pub(super) fn of(base: &dyn ReadAt, target: &dyn ReadAt, _pieces: &[Piece]) -> Result<Self> {
        let size = base.len().map_err(Error::io("read an image's size"))?;
        Ok(Self {
            guide: Guide::of(base, target),
            samples: Samples::of(base)?,
            base_blocks: size.div_ceil(BLOCK as u64) as u32,
        })
    }

    /// Ranges of the base, ascending, at most `room` blocks, for these blocks of the target.
    pub(super) fn ranges(
        &self,
        blocks: &[u32],
        target: &dyn ReadAt,
        room: u32,
    ) -> Result<Vec<(u32, u32)>> {
        let (windows, lost) = self.windows(blocks);
        let mut chosen = Chosen::new(self.base_blocks, room);
        for window in &windows {
            chosen.add(window.from, window.to);
        }
        self.by_content(&lost, target, &mut chosen)?;
        chosen.grow(&windows);
        Ok(chosen.ranges())
    }

    /// The windows of all blocks, joined, and the blocks that have none.
    fn windows(&self, blocks: &[u32]) -> (Vec<Window>, Vec<u32>) {
        let Some(guide) = &self.guide else {
            return (Vec::new(), blocks.to_vec());
        };
        let (mut windows, mut lost): (Vec<Window>, _) = (Vec::new(), Vec::new());
        for block in blocks {
            let mut any = false;
            guide.windows(*block, &mut |window| {
                any = true;
                match windows.last_mut() {
                    Some(last)
                        if last.file_from == window.file_from
                            && (last.from..=last.to).contains(&window.from) =>
                    {
                        last.to = last.to.max(window.to);
                    }
                    _ => windows.push(window),
                }
            });
            if !any {
                lost.push(*block);
            }
        }
        (windows, lost)
    }

    fn by_content(&self, lost: &[u32], target: &dyn ReadAt, chosen: &mut Chosen) -> Result<()> {
        let size = target.len().map_err(Error::io("read an image's size"))?;
        let mut votes = BTreeMap::new();
        let mut block = vec![0; BLOCK];
        for number in lost {
            read_block_range(target, size, u64::from(*number) * BLOCK as u64, &mut block)?;
            self.samples.vote(&block, &mut votes);
        }
        let mut units: BTreeMap<u32, u32> = BTreeMap::new();
        for (at, count) in votes {
            *units.entry(at / UNIT).or_default() += count;
        }
        let mut best: Vec<(u32, u32)> = units.into_iter().map(|(at, n)| (n, at)).collect();
        best.sort_by_key(|(votes, at)| (core::cmp::Reverse(*votes), *at));
        for (_, unit) in best {
            chosen.add(unit * UNIT, (unit + 1) * UNIT);
        }
        Ok(())
    }
}

/// Blocks of the base that were chosen so far.
struct Chosen {
    blocks: BTreeMap<u32, ()>,
    base_blocks: u32,
    room: u32,
}

impl Chosen {
    fn new(base_blocks: u32, room: u32) -> Self {
        Self {
            blocks: BTreeMap::new(),
            base_blocks,
            room,
        }
    }

    fn add(&mut self, from: u32, to: u32) {
        for block in from..to.min(self.base_blocks) {
            if self.room == 0 {
                return;
            }
            if self.blocks.insert(block, ()).is_none() {
                self.room -= 1;
            }
        }
    }

    /// Lets every window grow within its file, all by the same step, until the room is used.
    fn grow(&mut self, windows: &[Window]) {
        let mut margin = 0;
        let step = 4;
        while self.room > 0 && windows.iter().any(|w| can_grow(w, margin)) {
            for window in windows {
                let from = window.from.saturating_sub(margin).max(window.file_from);
                let to = (window.to + margin).min(window.file_to);
                self.add(from.saturating_sub(step).max(window.file_from), from);
                self.add(to, (to + step).min(window.file_to));
            }
            margin += step;
        }
    }

    fn ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for block in self.blocks.keys() {
            match ranges.last_mut() {
                Some((start, count)) if *start + *count == *block => *count += 1,
                _ => ranges.push((*block, 1)),
            }
        }
        ranges
    }
}

fn can_grow(window: &Window, margin: u32) -> bool {
    window.from.saturating_sub(margin) > window.file_from || window.to + margin < window.file_to
}
