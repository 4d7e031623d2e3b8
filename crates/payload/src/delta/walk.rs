//! Walking the body of a delta's index: numbers, runs, base ranges.

use alloc::format;

use crate::delta::model::{Piece, Source};
use crate::error::{Error, Result};
use crate::index::invalid;

/// Reads numbers of seven bits a byte, shortest form only, so that an index has one spelling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Numbers<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return (byte != 0 || shift == 0).then_some(value);
            }
        }
        None
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let raw = self.number()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }
}

/// A place among the runs from which a walk can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    /// Position of the next run and of the next shift in the body.
    pub(crate) runs: usize,
    pub(crate) shifts: usize,
    /// Runs that are left.
    pub(crate) left: u32,
    /// First block of the next run.
    pub(crate) target: u64,
    /// Shift of the copied run before.
    pub(crate) shift: i64,
    /// Blocks of the next run that lie before the place.
    pub(crate) skip: u64,
}

/// Walks runs from a cursor on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk<'a> {
    body: &'a [u8],
    cursor: Cursor,
}

fn malformed() -> Error {
    invalid("a number in the body of the delta's index is malformed, or the body ends early")
}

impl<'a> Walk<'a> {
    pub(crate) fn new(body: &'a [u8], cursor: Cursor) -> Self {
        Self { body, cursor }
    }

    /// Where the next run starts.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(crate) fn next(&mut self) -> Result<Option<Piece>> {
        let cursor = &mut self.cursor;
        if cursor.left == 0 {
            return Ok(None);
        }
        let mut runs = Numbers::new(self.body, cursor.runs);
        let raw = runs.number().ok_or_else(malformed)?;
        let (count, skip) = ((raw >> 2) + 1, cursor.skip);
        let source = match raw & 3 {
            0 => Source::Zero,
            1 => {
                let mut shifts = Numbers::new(self.body, cursor.shifts);
                let more = shifts.signed().ok_or_else(malformed)?;
                cursor.shifts = shifts.at();
                let base = cursor.shift.checked_add(more).and_then(|shift| {
                    cursor.shift = shift;
                    cursor.target.checked_add_signed(shift)
                });
                let base = base.and_then(|base| base.checked_add(skip));
                Source::Base(base.ok_or_else(|| invalid("a copied run leaves the base"))?)
            }
            2 => Source::Data,
            other => return Err(invalid(format!("a run of kind {other}"))),
        };
        let piece = Piece {
            target: cursor.target + skip,
            count: count.checked_sub(skip).ok_or_else(malformed)?,
            source,
        };
        cursor.runs = runs.at();
        cursor.target = (cursor.target.checked_add(count)).ok_or_else(malformed)?;
        (cursor.left, cursor.skip) = (cursor.left - 1, 0);
        Ok(Some(piece))
    }
}
