//! Which blocks go into which segment.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::encode::history::{History, history_key};
use crate::encode::{Params, SegmentMeta};
use crate::error::{Error, Result};
use crate::index::{Coding, Header, INDEX_MAX, Run, Segment, write};
use crate::io::ReadAt;
use crate::verity::{BLOCK, Hash, TreeBuilder, TreeShape, block_hash, for_each_block};

/// What goes into one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSegment {
    /// For how many releases its blocks have been in the image.
    pub age: u16,
    /// Whether it stands for the blocks of zeroes.
    pub zero: bool,
    /// Blocks of the image that it holds, in order; none for the zero segment.
    pub blocks: Vec<u32>,
    /// Which blocks of the image it yields.
    pub runs: Vec<Run>,
}

/// The order of a payload, before anything is compressed.
#[derive(Debug, Clone)]
pub struct Layout {
    params: Params,
    image_blocks: u64,
    root_hash: Hash,
    segments: Vec<PlannedSegment>,
    /// The runs of each segment as they stand in the index.
    runs: Vec<Vec<u8>>,
    /// The keys in order of the segments.
    keys: Vec<u8>,
    history: History,
}

/// A distinct block: where it first occurs in the image, and its age.
struct Distinct {
    block: u32,
    age: u16,
}

impl Layout {
    /// Hashes the image once and decides the order: newest blocks first, within one age as in the
    /// image, each distinct block once, a new segment for each age, zeroes last.
    ///
    /// `previous` is the history of the release before on the same channel; `None` codes every
    /// block as new. Needs memory in proportion to the image (about 100 bytes a block).
    ///
    /// # Errors
    /// [`Error::HistoryInvalid`] where the history is of another salt.
    pub fn make(
        image: &dyn ReadAt,
        salt: &[u8],
        previous: Option<&History>,
        params: &Params,
    ) -> Result<Self> {
        params.check()?;
        if previous.is_some_and(|history| !history.has_salt(salt)) {
            let what = "it was made with another salt".into();
            return Err(Error::HistoryInvalid { what });
        }
        let size = image.len().map_err(Error::io("read the image's size"))?;
        let shape = TreeShape::for_size(size)?;
        let scan = Scan::of(image, &shape, salt, previous, params.ages)?;
        let mut order: Vec<u32> = (0..scan.distinct.len() as u32).collect();
        order.sort_by_key(|id| (scan.distinct[*id as usize].age, *id));
        let (mut segments, place) = cut(&order, &scan.distinct, params.segment_blocks);
        add_runs(&mut segments, &scan.blocks, &place);
        let width = usize::from(params.key_width);
        let keys = order
            .iter()
            .flat_map(|id| scan.leaves[*id as usize][..width].iter().copied());
        let ages = scan.leaves.iter().zip(&scan.distinct);
        let history = History::new(
            salt,
            ages.map(|(leaf, distinct)| (history_key(leaf), distinct.age))
                .collect(),
        );
        let layout = Self {
            params: *params,
            image_blocks: shape.data_blocks(),
            root_hash: scan.root_hash,
            runs: segments
                .iter()
                .map(|s| write::runs(&s.runs, s.zero))
                .collect(),
            keys: keys.collect(),
            segments,
            history,
        };
        let (found, limit) = (layout.index_bytes(), INDEX_MAX);
        if found > limit {
            return Err(Error::TooLarge {
                what: "the index's size",
                found,
                limit,
            });
        }
        Ok(layout)
    }

    /// The segments, in the order of the file.
    #[must_use]
    pub fn segments(&self) -> &[PlannedSegment] {
        &self.segments
    }

    /// Root hash of the image under the salt.
    #[must_use]
    pub fn root_hash(&self) -> &Hash {
        &self.root_hash
    }

    /// What to keep for coding the next release.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Size of the index, which is where the first coded segment starts in the file.
    #[must_use]
    pub fn index_bytes(&self) -> u64 {
        self.header(0)
            .index_bytes()
            .expect("counts of an image in memory cannot overflow")
    }

    fn header(&self, file_bytes: u64) -> Header {
        Header {
            segment_blocks: self.params.segment_blocks,
            segments: self.segments.len() as u32,
            image_blocks: self.image_blocks,
            distinct_blocks: (self.keys.len() / usize::from(self.params.key_width)) as u64,
            runs_bytes: self.runs.iter().map(|runs| runs.len() as u64).sum(),
            file_bytes,
            key_width: self.params.key_width,
            root_hash: self.root_hash,
        }
    }

    /// The index, given what coding has made of each segment, in order.
    pub fn finish(&self, coded: &[SegmentMeta]) -> Result<Vec<u8>> {
        if coded.len() != self.segments.len() {
            let what = alloc::format!(
                "{} coded segments, not {}",
                coded.len(),
                self.segments.len()
            );
            return Err(Error::Parameters { what });
        }
        let coded_bytes: u64 = coded.iter().map(|meta| u64::from(meta.coded_bytes)).sum();
        let mut out = Vec::new();
        write::header(&mut out, &self.header(self.index_bytes() + coded_bytes));
        let (mut coded_start, mut runs_start, mut first_key) = (self.index_bytes(), 0, 0);
        for (number, (planned, meta)) in self.segments.iter().zip(coded).enumerate() {
            let segment = Segment {
                number: number as u32,
                coding: meta.coding,
                age: planned.age,
                blocks: planned.blocks.len() as u32,
                coded_start,
                coded_bytes: meta.coded_bytes,
                digest: meta.digest,
                first_key,
                runs_start,
                runs_bytes: self.runs[number].len() as u32,
            };
            write::record(&mut out, &segment);
            coded_start += u64::from(segment.coded_bytes);
            runs_start += u64::from(segment.runs_bytes);
            first_key += u64::from(segment.blocks);
        }
        self.runs
            .iter()
            .for_each(|runs| out.extend_from_slice(runs));
        out.extend_from_slice(&self.keys);
        Ok(out)
    }
}

/// What one pass over the image finds.
struct Scan {
    root_hash: Hash,
    /// For each block of the image the number of its distinct block; `None` for zeroes.
    blocks: Vec<Option<u32>>,
    distinct: Vec<Distinct>,
    /// The hash of each distinct block.
    leaves: Vec<Hash>,
}

impl Scan {
    fn of(
        image: &dyn ReadAt,
        shape: &TreeShape,
        salt: &[u8],
        previous: Option<&History>,
        ages: u16,
    ) -> Result<Self> {
        let zero = block_hash(salt, &[0; BLOCK]);
        let mut tree = TreeBuilder::new(*shape, salt)?;
        let mut numbers: BTreeMap<Hash, u32> = BTreeMap::new();
        let (mut blocks, mut distinct, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
        for_each_block(image, 0, shape.data_blocks(), &mut |number, block| {
            let leaf = block_hash(salt, block);
            tree.push(&leaf, &mut |_, _| Ok(()))?;
            if leaf == zero {
                blocks.push(None);
                return Ok(());
            }
            let id = *numbers.entry(leaf).or_insert_with(|| {
                let age = previous
                    .map_or(0, |history| history.next_age(&leaf))
                    .min(ages);
                distinct.push(Distinct {
                    block: number as u32,
                    age,
                });
                leaves.push(leaf);
                distinct.len() as u32 - 1
            });
            blocks.push(Some(id));
            Ok(())
        })?;
        let root_hash = tree.finish(&mut |_, _| Ok(()))?;
        Ok(Self {
            root_hash,
            blocks,
            distinct,
            leaves,
        })
    }
}

/// Where a distinct block lies: number of the segment, block in it.
type Place = (u32, u32);

/// Cuts the ordered distinct blocks into segments.
fn cut(order: &[u32], distinct: &[Distinct], most: u32) -> (Vec<PlannedSegment>, Vec<Place>) {
    let mut segments: Vec<PlannedSegment> = Vec::new();
    let mut place = alloc::vec![(0, 0); distinct.len()];
    for id in order {
        let Distinct { block, age } = distinct[*id as usize];
        let open = segments
            .last()
            .is_some_and(|s| s.age == age && s.blocks.len() < most as usize);
        if !open {
            segments.push(PlannedSegment {
                age,
                zero: false,
                blocks: Vec::new(),
                runs: Vec::new(),
            });
        }
        let number = segments.len() as u32 - 1;
        let segment = segments
            .last_mut()
            .expect("one was pushed where none was open");
        place[*id as usize] = (number, segment.blocks.len() as u32);
        segment.blocks.push(block);
    }
    (segments, place)
}

/// Notes for each segment which blocks of the image it yields, and adds the zero segment.
fn add_runs(segments: &mut Vec<PlannedSegment>, blocks: &[Option<u32>], place: &[Place]) {
    let mut zero = PlannedSegment {
        age: 0,
        zero: true,
        blocks: Vec::new(),
        runs: Vec::new(),
    };
    for (target, id) in blocks.iter().enumerate() {
        let (runs, from) = match id {
            Some(id) => {
                let (number, from) = place[*id as usize];
                (&mut segments[number as usize].runs, from)
            }
            None => (&mut zero.runs, 0),
        };
        match runs.last_mut() {
            Some(run)
                if run.target + u64::from(run.count) == target as u64
                    && (id.is_none() || run.from + run.count == from) =>
            {
                run.count += 1;
            }
            _ => runs.push(Run {
                target: target as u64,
                from,
                count: 1,
            }),
        }
    }
    if !zero.runs.is_empty() {
        segments.push(zero);
    }
}

impl SegmentMeta {
    /// The zero segment: nothing is coded.
    pub(crate) fn zero() -> Self {
        Self {
            coding: Coding::Zero,
            coded_bytes: 0,
            digest: crate::verity::sha256(&[]),
        }
    }
}
