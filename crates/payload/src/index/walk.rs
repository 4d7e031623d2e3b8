//! Walking runs and keys through a small window, so that the index is never unpacked in memory.

use alloc::boxed::Box;
use alloc::format;

use crate::error::{Error, Result};
use crate::index::read::invalid;
use crate::index::{Coding, Header, Run, Segment, key_of};
use crate::io::ReadAt;
use crate::verity::BLOCK;

/// A sliding window over the index: 4 KiB, so that a walk costs a read every few hundred entries.
struct Window {
    buffer: Box<[u8; BLOCK]>,
    start: u64,
    filled: usize,
}

impl Window {
    fn new() -> Self {
        Self {
            buffer: Box::new([0; BLOCK]),
            start: 0,
            filled: 0,
        }
    }

    /// At least `want` bytes from `at` on, more where they lie before `end`.
    fn get(&mut self, bytes: &dyn ReadAt, at: u64, want: usize, end: u64) -> Result<&[u8]> {
        let held = self.start <= at && at + want as u64 <= self.start + self.filled as u64;
        if !held {
            let len = (end.saturating_sub(at)).min(BLOCK as u64) as usize;
            if len < want {
                return Err(invalid("a section ends in the middle of an entry"));
            }
            bytes
                .read_at(at, &mut self.buffer[..len])
                .map_err(Error::io("read the payload's index"))?;
            (self.start, self.filled) = (at, len);
        }
        Ok(&self.buffer[(at - self.start) as usize..self.filled])
    }
}

/// Walks the runs of one segment.
pub(crate) struct Runs<'a> {
    bytes: &'a dyn ReadAt,
    next: u64,
    end: u64,
    window: Window,
    number: u32,
    /// Blocks of the segment; `None` for a zero segment.
    blocks: Option<u32>,
    image_blocks: u64,
    /// End of the run before, in the image and in the segment.
    target: u64,
    from: u64,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(bytes: &'a dyn ReadAt, header: &Header, segment: &Segment) -> Self {
        let next = header.runs_start() + segment.runs_start;
        Self {
            bytes,
            next,
            end: next + u64::from(segment.runs_bytes),
            window: Window::new(),
            number: segment.number,
            blocks: (segment.coding != Coding::Zero).then_some(segment.blocks),
            image_blocks: header.image_blocks,
            target: 0,
            from: 0,
        }
    }

    /// The next run: a gap since the run before, how far `from` jumps from where that run ended,
    /// and the count less one.
    pub(crate) fn next(&mut self) -> Result<Option<Run>> {
        if self.next == self.end {
            return Ok(None);
        }
        let target = self.target.checked_add(self.varint()?);
        let jump = self.varint()?;
        let jump = (jump >> 1) as i64 ^ -((jump & 1) as i64);
        let from = self.from.checked_add_signed(jump);
        let count = self.varint()?.checked_add(1);
        let run = (|| {
            let (target, from, count) = (target?, from?, count?);
            let fits = target.checked_add(count)? <= self.image_blocks
                && match self.blocks {
                    Some(blocks) => from.checked_add(count)? <= u64::from(blocks),
                    None => jump == 0,
                };
            let (from, count) = (u32::try_from(from).ok()?, u32::try_from(count).ok()?);
            fits.then_some(Run {
                target,
                from,
                count,
            })
        })();
        let Some(run) = run else {
            return Err(invalid(format!(
                "a run of segment {} leaves its bounds",
                self.number
            )));
        };
        self.target = run.target + u64::from(run.count);
        if self.blocks.is_some() {
            self.from = u64::from(run.from + run.count);
        }
        Ok(Some(run))
    }

    /// A number in groups of seven bits, least first; the shortest form only, so that an index
    /// has one spelling.
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.window.get(self.bytes, self.next, 1, self.end)?[0];
            self.next += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(invalid(format!(
            "a number in the runs of segment {} is malformed",
            self.number
        )))
    }
}

/// Reads keys, best in ascending order.
pub(crate) struct Keys<'a> {
    bytes: &'a dyn ReadAt,
    start: u64,
    end: u64,
    width: u8,
    window: Window,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(bytes: &'a dyn ReadAt, header: &Header) -> Self {
        let start = header.keys_start();
        let end = start + header.distinct_blocks * u64::from(header.key_width);
        Self {
            bytes,
            start,
            end,
            width: header.key_width,
            window: Window::new(),
        }
    }

    /// The key of distinct block `number`.
    pub(crate) fn get(&mut self, number: u64) -> Result<u64> {
        let width = usize::from(self.width);
        let at = self.start + number * width as u64;
        Ok(key_of(
            self.window.get(self.bytes, at, width, self.end)?,
            self.width,
        ))
    }
}
