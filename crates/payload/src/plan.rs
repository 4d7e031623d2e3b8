//! What will be fetched, copied and written, known before a byte moves.

use alloc::vec;
use alloc::vec::Vec;

use crate::bits::Bits;
use crate::error::{Error, Result};
use crate::index::{Coding, Index, Keys, Run, Segment, key_of};
use crate::io::ReadAt;
use crate::job::Job;
pub use crate::requests::FetchRun;
use crate::requests::Joiner;
use crate::reuse::{LeafCache, ReuseTable};
use crate::verity::{BLOCK, TreeLeaves, block_hash};
use crate::work::Work;

/// Most bytes of one request for segments of a full payload: 16 MiB. Small enough that several workers
/// share the segments that a release brings, each on a stream of its own; large enough that the round
/// trip of a request costs little beside it.
const REQUEST: u64 = 16 << 20;

/// How much of the target slot is looked at for blocks that an earlier try left there.
#[derive(Clone, Copy, Default)]
pub enum TargetScan<'a> {
    /// Nothing: every segment that the base lacks is fetched.
    #[default]
    Nothing,
    /// Blocks that the base lacks, up to the first one of a segment that is not there either.
    /// Costs one read a segment on a slot that holds something else, so it is the right choice
    /// for every stage.
    Missing(&'a dyn ReadAt, &'a [u8]),
    /// Every block. Makes the figures exact and spares what is right, but reads and hashes the
    /// whole slot.
    Everything(&'a dyn ReadAt, &'a [u8]),
}

impl core::fmt::Debug for TargetScan<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Missing(..) => "Missing",
            Self::Everything(..) => "Everything",
        })
    }
}

/// What a plan says of the work ahead. All in bytes but `requests` and `segments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Bytes to fetch, the index aside: coded segments, and what lies between two of them where that is
    /// less than a request is worth.
    pub fetch: u64,
    /// Segments to fetch.
    pub segments: u32,
    /// Range requests for them, neighbouring segments taken together.
    pub requests: u32,
    /// Bytes of the image that are copied from the base.
    pub reuse: u64,
    /// Bytes of the image found right in the target.
    pub right: u64,
    /// Bytes of the image that may have to be written: all that were not found right. Exact after
    /// [`TargetScan::Everything`].
    pub write: u64,
}

/// Which segments are fetched and which blocks are left alone.
///
/// Memory: one byte a segment, one bit a block of the image.
#[derive(Debug, Clone)]
pub struct Plan {
    fetch: Vec<bool>,
    skip: Vec<bool>,
    right: Bits,
    figures: Figures,
}

impl Plan {
    /// Decides for each segment whether base and target have all its blocks, else it is fetched.
    ///
    /// # Errors
    /// Where the index, the base's tree or the target cannot be read.
    pub fn make(
        index: &Index<'_>,
        table: Option<&ReuseTable<'_>>,
        scan: TargetScan<'_>,
    ) -> Result<Self> {
        let mut plan = Self::empty(index);
        let mut look = Look::new(index, table, scan);
        for number in 0..index.header().segments {
            let segment = index.segment(number)?;
            let found = look.segment(&segment, &mut plan.right)?;
            plan.fetch[number as usize] = found.fetch;
            plan.figures.right += found.right;
            if !found.fetch {
                plan.figures.reuse += found.reuse;
            }
        }
        plan.add_up(index)?;
        Ok(plan)
    }

    /// A plan that fetches every segment again and trusts nothing in base or target: the last
    /// resort where the root hash is wrong and no single block shows why.
    pub fn everything(index: &Index<'_>) -> Result<Self> {
        let mut plan = Self::empty(index);
        for number in 0..index.header().segments {
            plan.fetch[number as usize] = index.segment(number)?.coding != Coding::Zero;
        }
        plan.add_up(index)?;
        Ok(plan)
    }

    /// A plan that brings the segments of all blocks that read back wrong. `leaves` are those of
    /// the tree that was computed from the data as read back. `None` where every block has the
    /// key that the index names: then only [`Plan::everything`] can help.
    pub fn repair(index: &Index<'_>, leaves: &TreeLeaves<'_>, salt: &[u8]) -> Result<Option<Self>> {
        if leaves.shape().levels().is_empty() {
            return Ok(None); // a single block has no tree to look at
        }
        let mut plan = Self::empty(index);
        let mut tree = LeafBlock::new(leaves);
        let mut keys = index.keys();
        let width = index.header().key_width;
        let zero = key_of(&block_hash(salt, &[0; BLOCK]), width);
        let mut any = false;
        for number in 0..index.header().segments {
            let segment = index.segment(number)?;
            let mut runs = index.runs(&segment);
            let mut wrong = false;
            while let Some(run) = runs.next()? {
                for i in 0..run.count {
                    let key = match segment.coding {
                        Coding::Zero => zero,
                        Coding::Raw | Coding::Zstd => {
                            keys.get(segment.first_key + u64::from(run.from + i))?
                        }
                    };
                    wrong |= key_of(tree.hash(run.target + u64::from(i))?, width) != key;
                }
            }
            plan.fetch[number as usize] = wrong && segment.coding != Coding::Zero;
            plan.skip[number as usize] = !wrong;
            any |= wrong;
        }
        plan.add_up(index)?;
        Ok(any.then_some(plan))
    }

    fn empty(index: &Index<'_>) -> Self {
        let header = index.header();
        let segments = header.segments as usize;
        Self {
            fetch: vec![false; segments],
            skip: vec![false; segments],
            right: Bits::new(header.image_blocks),
            figures: Figures::default(),
        }
    }

    fn add_up(&mut self, index: &Index<'_>) -> Result<()> {
        let runs = self.fetch_runs(index)?;
        self.figures.requests = runs.len() as u32;
        self.figures.fetch = runs.iter().map(|run| run.coded.end - run.coded.start).sum();
        self.figures.segments = self.fetch.iter().filter(|fetch| **fetch).count() as u32;
        let blocks = index.header().image_blocks - self.right.count();
        self.figures.write = blocks * BLOCK as u64;
        Ok(())
    }

    /// What will move.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// The jobs, in the order of the index: newest blocks first. Each may run at any time on any
    /// thread.
    pub fn jobs(&self) -> impl Iterator<Item = Job> + '_ {
        let both = self.fetch.iter().zip(&self.skip).enumerate();
        both.filter(|(_, (_, skip))| !**skip)
            .map(|(number, (fetch, _))| Job {
                segment: number as u32,
                fetch: *fetch,
            })
    }

    /// The same work by requests: what is fetched first, a request at a time, then what needs none. Each
    /// piece may be done at any time on any thread ([`crate::work::run_work`]).
    pub fn work(&self, index: &Index<'_>) -> Result<Vec<Work>> {
        let mut work: Vec<Work> = self
            .fetch_runs(index)?
            .into_iter()
            .map(Work::Fetch)
            .collect();
        let local = self.jobs().filter(|job| !job.fetch);
        work.extend(local.map(|job| Work::Local(job.segment)));
        Ok(work)
    }

    /// The ranges to fetch, neighbouring segments joined.
    pub fn fetch_runs(&self, index: &Index<'_>) -> Result<Vec<FetchRun>> {
        let mut runs = Joiner::new(REQUEST);
        for number in (0..self.fetch.len() as u32).filter(|n| self.is_fetched(*n)) {
            runs.add(number, index.segment(number)?.coded());
        }
        Ok(runs.runs())
    }

    pub(crate) fn is_fetched(&self, segment: u32) -> bool {
        self.fetch[segment as usize]
    }

    pub(crate) fn is_right(&self, block: u64) -> bool {
        self.right.get(block)
    }
}

/// The state of [`Plan::make`] while it walks the index.
struct Look<'a> {
    index: &'a Index<'a>,
    table: Option<&'a ReuseTable<'a>>,
    scan: TargetScan<'a>,
    keys: Keys<'a>,
    leaf: LeafCache,
    /// Which blocks of the segment at hand the base has.
    in_base: Bits,
    zero: u64,
    block: Vec<u8>,
}

/// What [`Look`] says of one segment; bytes of the image.
#[derive(Default)]
struct Found {
    fetch: bool,
    reuse: u64,
    right: u64,
}

impl<'a> Look<'a> {
    fn new(index: &'a Index<'a>, table: Option<&'a ReuseTable<'a>>, scan: TargetScan<'a>) -> Self {
        let zero = match scan {
            TargetScan::Nothing => 0,
            TargetScan::Missing(_, salt) | TargetScan::Everything(_, salt) => {
                key_of(&block_hash(salt, &[0; BLOCK]), index.header().key_width)
            }
        };
        Self {
            index,
            table,
            scan,
            keys: index.keys(),
            leaf: LeafCache::new(),
            in_base: Bits::new(u64::from(index.header().segment_blocks)),
            zero,
            block: vec![0; BLOCK],
        }
    }

    fn segment(&mut self, segment: &Segment, right: &mut Bits) -> Result<Found> {
        let zero = segment.coding == Coding::Zero;
        if !zero {
            self.note_base(segment)?;
        }
        let mut found = Found::default();
        let mut runs = self.index.runs(segment);
        while let Some(run) = runs.next()? {
            for i in 0..run.count {
                let from = u64::from(run.from) + u64::from(i);
                let in_base = !zero && self.in_base.get(from);
                let key = if zero {
                    self.zero
                } else {
                    self.keys.get(segment.first_key + from)?
                };
                if self.target_has(run, i, key, in_base || zero, found.fetch)? {
                    right.set(run.target + u64::from(i));
                    found.right += BLOCK as u64;
                } else if in_base {
                    found.reuse += BLOCK as u64;
                } else if !zero {
                    found.fetch = true;
                }
            }
        }
        Ok(found)
    }

    /// Notes which blocks of a segment the base has.
    fn note_base(&mut self, segment: &Segment) -> Result<()> {
        self.in_base.clear();
        let Some(table) = self.table else {
            return Ok(());
        };
        let mut near = None;
        for i in 0..u64::from(segment.blocks) {
            let key = self.keys.get(segment.first_key + i)?;
            let position = table.find(key, near, &mut self.leaf);
            near = position.map(|at| at + 1);
            if position.is_some() {
                self.in_base.set(i);
            }
        }
        Ok(())
    }

    /// Whether the target has the block already, as far as the scan is to find out.
    fn target_has(
        &mut self,
        run: Run,
        i: u32,
        key: u64,
        at_hand: bool,
        lost: bool,
    ) -> Result<bool> {
        let (target, salt) = match self.scan {
            TargetScan::Nothing => return Ok(false),
            TargetScan::Missing(..) if at_hand || lost => return Ok(false),
            TargetScan::Missing(target, salt) | TargetScan::Everything(target, salt) => {
                (target, salt)
            }
        };
        let at = (run.target + u64::from(i)) * BLOCK as u64;
        target
            .read_at(at, &mut self.block)
            .map_err(Error::io("look at what the target slot holds"))?;
        Ok(key_of(
            &block_hash(salt, &self.block),
            self.index.header().key_width,
        ) == key)
    }
}

/// Reads single hashes of a tree, keeping the hash block read last.
struct LeafBlock<'a> {
    leaves: &'a TreeLeaves<'a>,
    block: alloc::boxed::Box<[u8; BLOCK]>,
    held: Option<u64>,
}

impl<'a> LeafBlock<'a> {
    fn new(leaves: &'a TreeLeaves<'a>) -> Self {
        Self {
            leaves,
            block: alloc::boxed::Box::new([0; BLOCK]),
            held: None,
        }
    }

    fn hash(&mut self, block: u64) -> Result<&[u8]> {
        let per = crate::verity::HASHES_PER_BLOCK as u64;
        if self.held != Some(block / per) {
            self.held = None;
            self.leaves.read_block(block / per, &mut self.block)?;
            self.held = Some(block / per);
        }
        let at = (block % per) as usize * 32;
        Ok(&self.block[at..at + 32])
    }
}
