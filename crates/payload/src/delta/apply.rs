//! Writing a slot by a delta: which segments it lacks, copies, patches. Jobs do not depend on each
//! other; the caller brings the coded bytes and owns the threads.

use alloc::vec;
use alloc::vec::Vec;

use crate::delta::{Decoder, DeltaIndex, Piece, Segment, Source};
use crate::error::{Error, Result};
use crate::io::{ReadAt, ReadWriteAt};
use crate::job::Outcome;
use crate::plan::{FetchRun, Figures};
use crate::requests::Joiner;
use crate::verity::{BLOCK, sha256};

/// Bytes copied at a time: as much again is held for comparing.
const CHUNK: usize = 512 << 10;

/// One piece of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Copies and zeroes of one stretch of the target.
    Copies(u32),
    /// A segment, whose coded bytes have to be fetched.
    Segment(u32),
}

/// Which segments are to be fetched. One byte a segment.
#[derive(Debug, Clone)]
pub struct Plan {
    fetch: Vec<bool>,
    stretches: u32,
    figures: Figures,
}

impl Plan {
    /// Looks for each segment whether `target` has its output already: an earlier try may have left
    /// it there. Costs one block read a segment on a slot that holds something else.
    pub fn make(index: &DeltaIndex, target: &dyn ReadAt) -> Result<Self> {
        let mut buffer = Vec::new();
        let mut right = 0;
        let mut fetch = Vec::with_capacity(index.segments().len());
        for segment in index.segments() {
            let there = holds(index, segment, target, &mut buffer)?;
            right += if there {
                segment.output_bytes() as u64
            } else {
                0
            };
            fetch.push(!there);
        }
        let mut plan = Self {
            fetch,
            stretches: index.stretches(),
            figures: Figures::default(),
        };
        let runs = plan.fetch_runs(index);
        let mut reuse = 0;
        index.pieces(&mut |piece| {
            if matches!(piece.source, Source::Base(_)) {
                reuse += piece.count * BLOCK as u64;
            }
            Ok(())
        })?;
        plan.figures = Figures {
            fetch: runs.iter().map(|run| run.coded.end - run.coded.start).sum(),
            segments: plan.fetch.iter().filter(|fetch| **fetch).count() as u32,
            requests: runs.len() as u32,
            reuse,
            right,
            write: index.header().target_blocks() * BLOCK as u64 - right,
        };
        Ok(plan)
    }

    /// What will move; `write` is an upper bound, since copies are compared with what is there.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// The ranges to fetch, neighbouring segments joined: one, where nothing is there yet.
    #[must_use]
    pub fn fetch_runs(&self, index: &DeltaIndex) -> Vec<FetchRun> {
        let mut runs = Joiner::new(u64::MAX);
        let wanted = |segment: &&Segment| self.is_fetched(segment.number);
        for segment in index.segments().iter().filter(wanted) {
            runs.add(segment.number, segment.coded());
        }
        runs.runs()
    }

    /// Whether a segment is to be fetched.
    #[must_use]
    pub fn is_fetched(&self, segment: u32) -> bool {
        self.fetch[segment as usize]
    }

    /// The jobs that need nothing fetched.
    pub fn copies(&self) -> impl Iterator<Item = Job> + use<> {
        (0..self.stretches).map(Job::Copies)
    }
}

/// Whether `target` holds what a segment decodes to.
fn holds(
    index: &DeltaIndex,
    segment: &Segment,
    target: &dyn ReadAt,
    buffer: &mut Vec<u8>,
) -> Result<bool> {
    let doing = "look at what the target slot holds";
    buffer.resize(buffer.len().max(segment.output_bytes()).max(BLOCK), 0);
    let mut probed = None;
    let mut filled = 0;
    index.targets(segment, &mut |first, count| {
        if probed.is_none() {
            let block = &mut buffer[..BLOCK];
            target
                .read_at(first * BLOCK as u64, block)
                .map_err(Error::io(doing))?;
            probed = Some(sha256(block)[..4] == segment.probe);
        }
        if probed == Some(true) {
            let end = filled + count as usize * BLOCK;
            target
                .read_at(first * BLOCK as u64, &mut buffer[filled..end])
                .map_err(Error::io(doing))?;
            filled = end;
        }
        Ok(())
    })?;
    Ok(filled == segment.output_bytes() && sha256(&buffer[..filled]) == segment.output)
}

/// What all jobs share.
#[derive(Clone, Copy)]
pub struct Io<'a> {
    /// The delta's index.
    pub index: &'a DeltaIndex,
    /// The base: the booted slot.
    pub base: &'a dyn ReadAt,
    /// The data partition of the target slot.
    pub target: &'a dyn ReadWriteAt,
}

impl core::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Io({:?})", self.index)
    }
}

/// A worker's buffers: base and output of one segment (5 MiB at the most), and a decoder.
#[derive(Debug)]
pub struct Scratch {
    held: Vec<u8>,
    decoder: Decoder,
}

impl Scratch {
    /// Buffers for the segments of this index.
    #[must_use]
    pub fn new(index: &DeltaIndex) -> Self {
        let sizes = index.segments().iter();
        let largest = sizes.map(|s| s.output_bytes() + s.base_bytes()).max();
        Self {
            held: vec![0; largest.unwrap_or(0).max(2 * CHUNK)],
            decoder: Decoder::new(),
        }
    }
}

impl Io<'_> {
    /// Copies one stretch. What the base cannot give stays as it is: the root hash will tell.
    ///
    /// Writes only what is not right already; durable after the caller's flush. May be repeated.
    pub fn copy(&self, stretch: u32, scratch: &mut Scratch) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let (fresh, present) = scratch.held.split_at_mut(CHUNK);
        let present = &mut present[..CHUNK];
        self.index.copies(stretch, &mut |piece| {
            let mut done = 0;
            while done < piece.count {
                let blocks = (piece.count - done).min((CHUNK / BLOCK) as u64);
                let bytes = &mut fresh[..blocks as usize * BLOCK];
                if self.bring(&piece, done, bytes) {
                    let mut writer = Writer {
                        target: self.target,
                        outcome: &mut outcome,
                    };
                    let right = writer.put(piece.target + done, bytes, present)?;
                    if piece.source != Source::Zero {
                        outcome.reused += bytes.len() as u64 - right;
                    }
                }
                done += blocks;
            }
            Ok(())
        })?;
        Ok(outcome)
    }

    /// Fills `bytes` with blocks of a piece, from its block `done` on. `false` where the base fails.
    fn bring(&self, piece: &Piece, done: u64, bytes: &mut [u8]) -> bool {
        match piece.source {
            Source::Base(start) => self
                .base
                .read_at((start + done) * BLOCK as u64, bytes)
                .is_ok(),
            Source::Zero | Source::Data => {
                bytes.fill(0);
                true
            }
        }
    }

    /// Decodes a segment and writes it. `None` where the base does not give what the index names:
    /// then nothing is written, and the blocks have to come from the full payload.
    ///
    /// # Errors
    /// [`Error::SegmentDigest`] where the coded bytes are not the named ones.
    pub fn patch(
        &self,
        number: u32,
        coded: &[u8],
        scratch: &mut Scratch,
    ) -> Result<Option<Outcome>> {
        let segment = &self.index.segments()[number as usize];
        let (base, rest) = scratch.held.split_at_mut(segment.base_bytes());
        let out = &mut rest[..segment.output_bytes()];
        if !gather(self.index, segment, self.base, base)? {
            return Ok(None);
        }
        match scratch.decoder.decode(segment, coded, base, out) {
            Err(Error::SegmentOutput { .. }) => return Ok(None),
            other => other?,
        }
        let mut outcome = Outcome {
            fetched: coded.len() as u64,
            ..Outcome::default()
        };
        let mut rest = &out[..];
        self.index.targets(segment, &mut |first, count| {
            let (now, later) = rest.split_at(count as usize * BLOCK);
            rest = later;
            outcome.written += now.len() as u64;
            self.target
                .write_at(first * BLOCK as u64, now)
                .map_err(Error::io("write the target slot"))
        })?;
        Ok(Some(outcome))
    }
}

/// Reads a segment's base, its ranges one after another; zeroes stand for what a file's last block
/// lacks. `false` where it cannot be read.
pub(crate) fn gather(
    index: &DeltaIndex,
    segment: &Segment,
    base: &dyn ReadAt,
    to: &mut [u8],
) -> Result<bool> {
    let size = index.header().base_bytes;
    let (mut filled, mut whole) = (0, true);
    index.ranges(segment, &mut |start, count| {
        let end = filled + count as usize * BLOCK;
        whole = whole && read_padded(base, size, start * BLOCK as u64, &mut to[filled..end]);
        filled = end;
        Ok(())
    })?;
    Ok(whole)
}

/// Reads from something of `size` bytes as if zeroes followed. `false` where it cannot be read.
pub(crate) fn read_padded(base: &dyn ReadAt, size: u64, at: u64, to: &mut [u8]) -> bool {
    let there = size.saturating_sub(at).min(to.len() as u64) as usize;
    let (now, beyond) = to.split_at_mut(there);
    beyond.fill(0);
    base.read_at(at, now).is_ok()
}

/// Writes blocks of the image, leaving alone what is right already.
struct Writer<'a> {
    target: &'a dyn ReadWriteAt,
    outcome: &'a mut Outcome,
}

impl Writer<'_> {
    /// Puts `bytes` at block `first`; gives the bytes that were right already.
    fn put(&mut self, first: u64, bytes: &[u8], present: &mut [u8]) -> Result<u64> {
        let present = &mut present[..bytes.len()];
        self.target
            .read_at(first * BLOCK as u64, present)
            .map_err(Error::io("read what the target slot holds"))?;
        let is_right = |i: usize| present[i * BLOCK..][..BLOCK] == bytes[i * BLOCK..][..BLOCK];
        let (blocks, mut start, mut found) = (bytes.len() / BLOCK, 0, 0);
        while start < blocks {
            let right = is_right(start);
            let mut end = start + 1;
            while end < blocks && is_right(end) == right {
                end += 1;
            }
            let piece = &bytes[start * BLOCK..end * BLOCK];
            if right {
                found += piece.len() as u64;
            } else {
                let at = (first + start as u64) * BLOCK as u64;
                self.target
                    .write_at(at, piece)
                    .map_err(Error::io("write the target slot"))?;
                self.outcome.written += piece.len() as u64;
            }
            start = end;
        }
        self.outcome.right += found;
        Ok(found)
    }
}
