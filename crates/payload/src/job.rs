//! Doing the work of one segment. Jobs do not depend on each other.

use alloc::vec;
use alloc::vec::Vec;

use crate::code::Decoder;
use crate::error::{Error, Result};
use crate::index::{Coding, Index, Keys, Run, Segment};
use crate::io::{CodedSource, ReadWriteAt, fetch_into};
use crate::plan::Plan;
use crate::reuse::{LeafCache, ReuseTable};
use crate::verity::BLOCK;

/// The work of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Number of the segment.
    pub segment: u32,
    /// Whether its coded bytes are fetched; else its blocks come from the base.
    pub fetch: bool,
}

/// Everything that jobs share.
#[derive(Clone, Copy)]
pub struct Io<'a> {
    /// The payload's index.
    pub index: &'a Index<'a>,
    /// The plan that the jobs are from.
    pub plan: &'a Plan,
    /// The base, the same that the plan was made with.
    pub table: Option<&'a ReuseTable<'a>>,
    /// Where the payload file is.
    pub source: &'a dyn CodedSource,
    /// The data partition of the target slot.
    pub target: &'a dyn ReadWriteAt,
    /// Whether to read each target block first and leave it alone where it is right already.
    pub compare: bool,
}

impl core::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Io({:?}, compare: {})", self.index, self.compare)
    }
}

/// Bytes that are copied, zeroed or compared at a time, 512 KiB: long enough that system calls do not
/// count, and all that is touched of a buffer by what needs no decoding.
const CHUNK: usize = 512 << 10;

/// A worker's buffers: one coded and one decoded segment (2 × 4 MiB at the most), and a decoder.
/// The only large allocation of applying; made once a worker. Memory is taken as far as it is used: a
/// coded segment as long as it is, and 512 KiB of the other where nothing has to be decoded.
pub struct Scratch {
    coded: Vec<u8>,
    decoded: Vec<u8>,
    decoder: Decoder,
    leaf: LeafCache,
}

impl core::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Scratch({} bytes)",
            self.coded.len() + self.decoded.len()
        )
    }
}

impl Scratch {
    /// Buffers for the segments of this index.
    #[must_use]
    pub fn new(index: &Index<'_>) -> Self {
        let bytes = index.header().segment_bytes().max(CHUNK);
        let (coded, decoded) = (vec![0; bytes], vec![0; bytes]);
        Self {
            coded,
            decoded,
            decoder: Decoder::new(),
            leaf: LeafCache::new(),
        }
    }

    /// Where a caller that streams a [`crate::plan::FetchRun`] puts the coded bytes of one
    /// segment before [`run_fetched`]. `coded_bytes` of the segment's record is the length.
    pub fn coded_mut(&mut self, segment: &Segment) -> &mut [u8] {
        &mut self.coded[..segment.coded_bytes as usize]
    }
}

/// What a job did, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Coded bytes fetched.
    pub fetched: u64,
    /// Bytes of the image copied from the base.
    pub reused: u64,
    /// Bytes of the image that the target had already, so that they were not written.
    pub right: u64,
    /// Bytes written to the target.
    pub written: u64,
}

impl Outcome {
    /// Adds what another job did.
    pub fn add(&mut self, other: &Self) {
        self.fetched += other.fetched;
        self.reused += other.reused;
        self.right += other.right;
        self.written += other.written;
    }
}

/// Does a job, fetching its coded bytes where it needs them. Where the base cannot be read, or no
/// longer has what the plan has found in it, the segment is fetched after all.
///
/// Writes the target's blocks; durable only after the caller's flush. May be repeated.
pub fn run_job(job: &Job, io: &Io<'_>, scratch: &mut Scratch) -> Result<Outcome> {
    let segment = io.index.segment(job.segment)?;
    let mut outcome = Outcome::default();
    if !job.fetch {
        let whole = match segment.coding {
            Coding::Zero => write_zeroes(&segment, io, scratch, &mut outcome)?,
            Coding::Raw | Coding::Zstd => copy_from_base(&segment, io, scratch, &mut outcome)?,
        };
        if whole {
            return Ok(outcome);
        }
    }
    let coded = scratch.coded_mut(&segment);
    fetch_into(io.source, segment.coded_start, coded)
        .map_err(Error::io("fetch a segment of the payload"))?;
    let wasted = outcome.written;
    outcome = run_fetched(job, io, scratch)?;
    outcome.written += wasted;
    Ok(outcome)
}

/// Does a job whose coded bytes the caller has put into [`Scratch::coded_mut`].
pub fn run_fetched(job: &Job, io: &Io<'_>, scratch: &mut Scratch) -> Result<Outcome> {
    let segment = io.index.segment(job.segment)?;
    let Scratch {
        coded,
        decoded,
        decoder,
        ..
    } = scratch;
    let length = segment.coded_bytes as usize;
    let mut outcome = Outcome {
        fetched: length as u64,
        ..Outcome::default()
    };
    // What was sent raw is written from where it came to; the other buffer is free to compare with.
    let (plain, spare): (&[u8], _) = if segment.coding == Coding::Raw {
        decoder.check(&segment, &coded[..length])?;
        (&coded[..length], decoded)
    } else {
        let out = &mut decoded[..segment.decoded_bytes()];
        decoder.decode(&segment, &coded[..length], out)?;
        (out, coded)
    };
    let mut writer = Writer {
        io,
        present: spare,
        outcome: &mut outcome,
    };
    let mut runs = io.index.runs(&segment);
    while let Some(run) = runs.next()? {
        let from = run.from as usize * BLOCK;
        let bytes = &plain[from..from + run.count as usize * BLOCK];
        writer.put(run.target, bytes)?;
    }
    Ok(outcome)
}

/// Writes a zero segment. Its runs may be far longer than a buffer.
fn write_zeroes(
    segment: &Segment,
    io: &Io<'_>,
    scratch: &mut Scratch,
    outcome: &mut Outcome,
) -> Result<bool> {
    let zeroes = &mut scratch.decoded[..CHUNK];
    zeroes.fill(0);
    let mut writer = Writer {
        io,
        present: &mut scratch.coded,
        outcome,
    };
    let mut runs = io.index.runs(segment);
    while let Some(run) = runs.next()? {
        let (mut next, end) = (run.target, run.target + u64::from(run.count));
        while next < end {
            let blocks = (end - next).min((CHUNK / BLOCK) as u64);
            writer.put(next, &zeroes[..blocks as usize * BLOCK])?;
            next += blocks;
        }
    }
    Ok(true)
}

/// Copies a segment's blocks from the base, joining neighbours to long reads and writes. `false`
/// where the base fails: then the segment has to be fetched.
fn copy_from_base(
    segment: &Segment,
    io: &Io<'_>,
    scratch: &mut Scratch,
    outcome: &mut Outcome,
) -> Result<bool> {
    let mut keys = io.index.keys();
    let mut runs = io.index.runs(segment);
    let mut writer = Writer {
        io,
        present: &mut scratch.coded,
        outcome,
    };
    while let Some(run) = runs.next()? {
        let mut copy = Copy {
            io,
            leaf: &mut scratch.leaf,
            keys: &mut keys,
            segment,
            run,
        };
        let mut i = 0;
        while i < run.count {
            let limit = (run.count - i).min((CHUNK / BLOCK) as u32);
            let (place, blocks) = copy.stretch(i, limit)?;
            let bytes = &mut scratch.decoded[..blocks as usize * BLOCK];
            match (place, io.table) {
                (Place::Right, _) => writer.outcome.right += bytes.len() as u64,
                (Place::Base(position), Some(table)) => {
                    if table
                        .base()
                        .data()
                        .read_at(position * BLOCK as u64, bytes)
                        .is_err()
                    {
                        return Ok(false);
                    }
                    let right = writer.outcome.right;
                    writer.put(run.target + u64::from(i), bytes)?;
                    let right = writer.outcome.right - right;
                    writer.outcome.reused += bytes.len() as u64 - right;
                }
                (Place::Base(_), None) | (Place::Lost, _) => return Ok(false),
            }
            i += blocks;
        }
    }
    Ok(true)
}

/// Where a block of a segment that is not fetched comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The plan has found it right in the target.
    Right,
    /// This block of the base.
    Base(u64),
    /// Nowhere, against what the plan has found.
    Lost,
}

/// Finds where the blocks of a run come from.
struct Copy<'a, 'b> {
    io: &'b Io<'a>,
    leaf: &'b mut LeafCache,
    keys: &'b mut Keys<'a>,
    segment: &'b Segment,
    run: Run,
}

impl Copy<'_, '_> {
    fn place(&mut self, i: u32, near: Option<u64>) -> Result<Place> {
        if self.io.plan.is_right(self.run.target + u64::from(i)) {
            return Ok(Place::Right);
        }
        let Some(table) = self.io.table else {
            return Ok(Place::Lost);
        };
        let number = self.segment.first_key + u64::from(self.run.from) + u64::from(i);
        let key = self.keys.get(number)?;
        Ok(table
            .find(key, near, self.leaf)
            .map_or(Place::Lost, Place::Base))
    }

    /// The place of block `i` of the run, and for how many blocks, `limit` at most, it goes on.
    fn stretch(&mut self, i: u32, limit: u32) -> Result<(Place, u32)> {
        let first = self.place(i, None)?;
        let mut blocks = 1;
        while blocks < limit {
            let (near, expected) = match first {
                Place::Base(at) => (
                    Some(at + u64::from(blocks)),
                    Place::Base(at + u64::from(blocks)),
                ),
                Place::Right | Place::Lost => (None, first),
            };
            if self.place(i + blocks, near)? != expected {
                break;
            }
            blocks += 1;
        }
        Ok((first, blocks))
    }
}

/// Writes blocks of the image, leaving alone what is right already.
struct Writer<'a, 'b> {
    io: &'a Io<'a>,
    /// What the target holds, when comparing. A chunk at the least.
    present: &'b mut [u8],
    outcome: &'b mut Outcome,
}

impl Writer<'_, '_> {
    /// Puts `bytes` at block `target` of the image, comparing a chunk at a time.
    fn put(&mut self, target: u64, bytes: &[u8]) -> Result<()> {
        let chunks = bytes.chunks(CHUNK).zip(0..);
        for (bytes, number) in chunks {
            self.put_chunk(target + number * (CHUNK / BLOCK) as u64, bytes)?;
        }
        Ok(())
    }

    fn put_chunk(&mut self, target: u64, bytes: &[u8]) -> Result<()> {
        if self.io.compare {
            let present = &mut self.present[..bytes.len()];
            let doing = "read what the target slot holds";
            let at = target * BLOCK as u64;
            self.io
                .target
                .read_at(at, present)
                .map_err(Error::io(doing))?;
        }
        let blocks = bytes.len() / BLOCK;
        let mut start = 0;
        while start < blocks {
            let write = !self.leave(target, bytes, start);
            let mut end = start + 1;
            while end < blocks && self.leave(target, bytes, end) != write {
                end += 1;
            }
            let piece = &bytes[start * BLOCK..end * BLOCK];
            if write {
                let at = (target + start as u64) * BLOCK as u64;
                let doing = "write the target slot";
                self.io
                    .target
                    .write_at(at, piece)
                    .map_err(Error::io(doing))?;
                self.outcome.written += piece.len() as u64;
            } else {
                self.outcome.right += piece.len() as u64;
            }
            start = end;
        }
        Ok(())
    }

    /// Whether block `i` of the piece is right in the target already.
    fn leave(&self, target: u64, bytes: &[u8], i: usize) -> bool {
        let block = i * BLOCK..(i + 1) * BLOCK;
        self.io.plan.is_right(target + i as u64)
            || (self.io.compare && self.present[block.clone()] == bytes[block])
    }
}
