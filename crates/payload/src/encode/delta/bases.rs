//! What of the base is gathered for a segment: publisher-side choice, a plain list for the node.
//!
//! First the places that the names of files tell; for blocks without such a place, those where their
//! neighbourhood has content in common; each place with as much around it as there is room. What
//! has little in common is taken only where these find less than what is to be coded: more of the
//! base than is useful misleads the search for differences.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::encode::delta::guide::{Guide, Window};
use crate::encode::delta::runs::read_block_range;
use crate::encode::delta::samples::Samples;
use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::verity::BLOCK;

/// Blocks found by content are taken with their neighbours: units of 16 KiB.
const UNIT: u32 = 4;

/// Blocks whose votes are counted together, 64 KiB: enough votes to tell a shift, and few enough to
/// have one.
const TOGETHER: usize = 16;
/// Shifts nearer than this count as one, in blocks.
const NEAR: i64 = 4;
/// How far a window found by content may grow either way, in blocks: 1 MiB.
const REACH: i64 = 256;
/// Fewer votes than this are chance: two strings that are nowhere else.
const ENOUGH: u32 = 16;

/// Each block with the blocks of the base that it has something in common with, and how much.
type Votes = Vec<(u32, BTreeMap<u32, u32>)>;

/// Both ways of finding what helps.
pub(super) struct Bases {
    guide: Option<Guide>,
    samples: Samples,
    base_blocks: u32,
}

impl Bases {
    pub(super) fn of(base: &dyn ReadAt, target: &dyn ReadAt, names: bool) -> Result<Self> {
        let size = base.len().map_err(Error::io("read an image's size"))?;
        Ok(Self {
            guide: names.then(|| Guide::of(base, target)).flatten(),
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
        let (mut windows, lost) = self.windows(blocks);
        let votes = self.votes(&lost, target)?;
        windows.extend(self.alike(&votes));
        let mut chosen = Chosen::new(self.base_blocks, room);
        for window in &windows {
            chosen.add(window.from, window.to);
        }
        chosen.grow(&windows);
        if chosen.blocks.len() < blocks.len() {
            chosen.fill(&self.votes(blocks, target)?);
        }
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

    /// What of the base each block has content in common with.
    fn votes(&self, blocks: &[u32], target: &dyn ReadAt) -> Result<Votes> {
        let size = target.len().map_err(Error::io("read an image's size"))?;
        let mut block = vec![0; BLOCK];
        let mut all = Vec::with_capacity(blocks.len());
        for number in blocks {
            read_block_range(target, size, u64::from(*number) * BLOCK as u64, &mut block)?;
            let mut votes = BTreeMap::new();
            self.samples.vote(&block, &mut votes);
            all.push((*number, votes));
        }
        Ok(all)
    }

    /// Where neighbouring blocks have most in common: the shift that most of their votes agree on.
    fn alike(&self, votes: &Votes) -> Vec<Window> {
        let mut windows = Vec::new();
        for blocks in votes.chunks(TOGETHER) {
            let mut shifts: BTreeMap<i64, u32> = BTreeMap::new();
            for (block, votes) in blocks {
                for (at, count) in votes {
                    let shift = (i64::from(*at) - i64::from(*block)).div_euclid(NEAR);
                    // The shift counts for the step above too, so that no edge divides it.
                    *shifts.entry(shift).or_default() += count;
                    *shifts.entry(shift + 1).or_default() += count;
                }
            }
            let best = shifts
                .iter()
                .max_by_key(|(shift, n)| (**n, core::cmp::Reverse(**shift)));
            let (Some((first, _)), Some((last, _))) = (blocks.first(), blocks.last()) else {
                continue;
            };
            if let Some((shift, count)) = best
                && *count >= ENOUGH
            {
                let from = i64::from(*first) + (shift - 1) * NEAR;
                let to = i64::from(*last) + 1 + (shift + 1) * NEAR;
                let within = |at: i64| at.clamp(0, i64::from(self.base_blocks)) as u32;
                windows.push(Window {
                    from: within(from),
                    to: within(to),
                    file_from: within(from - REACH),
                    file_to: within(to + REACH),
                });
            }
        }
        windows
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

    /// Takes the units with most votes until the room is used.
    fn fill(&mut self, votes: &Votes) {
        let mut units: BTreeMap<u32, u32> = BTreeMap::new();
        for (at, count) in votes.iter().flat_map(|(_, votes)| votes) {
            *units.entry(at / UNIT).or_default() += count;
        }
        let mut best: Vec<(u32, u32)> = units.into_iter().map(|(at, n)| (n, at)).collect();
        best.sort_by_key(|(votes, at)| (core::cmp::Reverse(*votes), *at));
        for (_, unit) in best {
            self.add(unit * UNIT, (unit + 1) * UNIT);
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
