//! The doors of this crate: how bytes come in and go out.
//!
//! Implementations live elsewhere (block devices and files in `host`, a simulated disk in `sim`,
//! HTTP or a directory in `agent`). All traits are object safe and `Send + Sync`, so that the
//! caller may run jobs on as many threads as it likes, or on one.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// What kind of trouble an injected door reports. Decides who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A disk, partition or file could not be read, written or flushed.
    Disk,
    /// The payload could not be fetched: unreachable, too slow, wrong range.
    Network,
    /// The bytes end before the range that was asked for.
    PastEnd,
    /// The caller asked to stop (shutdown, superseded release).
    Cancelled,
}

/// A failed read, write, flush or fetch, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Who has to act.
    pub kind: FaultKind,
    /// What failed, on what, why, and what can be done. Written by the implementation.
    pub message: String,
}

impl Fault {
    /// A fault of `kind`, described by `message`.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A disk fault.
    pub fn disk(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Disk, message)
    }

    /// A network fault.
    pub fn network(message: impl Into<String>) -> Self {
        Self::new(FaultKind::Network, message)
    }

    /// The fault of reading past the end.
    #[must_use]
    pub fn past_end(offset: u64, len: usize, size: u64) -> Self {
        let message = alloc::format!("{len} bytes at {offset} reach past the end at {size}");
        Self::new(FaultKind::PastEnd, message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Fault {}

/// Bytes that can be read at any position.
pub trait ReadAt: Send + Sync {
    /// Fills `buf` with the bytes at `offset`, all of them or a fault.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault>;

    /// Size in bytes.
    fn len(&self) -> Result<u64, Fault>;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> Result<bool, Fault> {
        Ok(self.len()? == 0)
    }
}

/// Bytes that can be written at any position. Writing never grows the thing written to.
pub trait WriteAt: Send + Sync {
    /// Writes all of `buf` at `offset`. Durable only after [`WriteAt::flush`].
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), Fault>;

    /// Returns once everything written before has reached the medium.
    fn flush(&self) -> Result<(), Fault>;
}

/// Both doors of one thing: a slot's data or tree partition.
pub trait ReadWriteAt: ReadAt + WriteAt {}

impl<T: ReadAt + WriteAt + ?Sized> ReadWriteAt for T {}

/// Where the payload file comes from: HTTP ranges, a directory, memory.
pub trait CodedSource: Send + Sync {
    /// Delivers exactly the bytes of `range`, in order, in pieces of any size. `take` may refuse a
    /// piece; its fault then ends the fetch and is returned.
    fn fetch(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault>;
}

/// Checks that `offset..offset + len` lies within `size` and gives it as indices.
fn window(offset: u64, len: usize, size: usize) -> Result<Range<usize>, Fault> {
    usize::try_from(offset)
        .ok()
        .and_then(|start| start.checked_add(len).map(|end| start..end))
        .filter(|range| range.end <= size)
        .ok_or_else(|| Fault::past_end(offset, len, size as u64))
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        buf.copy_from_slice(&self[window(offset, buf.len(), self.len())?]);
        Ok(())
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(<[u8]>::len(self) as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.as_slice().read_at(offset, buf)
    }

    fn len(&self) -> Result<u64, Fault> {
        ReadAt::len(self.as_slice())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        (**self).read_at(offset, buf)
    }

    fn len(&self) -> Result<u64, Fault> {
        (**self).len()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        (**self).read_at(offset, buf)
    }

    fn len(&self) -> Result<u64, Fault> {
        (**self).len()
    }
}

impl CodedSource for [u8] {
    fn fetch(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let len = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|e| Fault::new(FaultKind::PastEnd, e.to_string()))?;
        take(&self[window(range.start, len, <[u8]>::len(self))?])
    }
}

impl CodedSource for Vec<u8> {
    fn fetch(
        &self,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.as_slice().fetch(range, take)
    }
}

/// Part of something larger: `size` bytes from byte `start` on.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The whole.
    pub whole: &'a dyn ReadAt,
    /// Where the part starts.
    pub start: u64,
    /// Its size.
    pub size: u64,
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({} bytes at {})", self.size, self.start)
    }
}

impl ReadAt for Part<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(Fault::past_end(offset, buf.len(), self.size));
        }
        self.whole.read_at(self.start + offset, buf)
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.size)
    }
}

/// Fetches `range` into `buf`, whose length is the length of the range. A source that delivers
/// more or fewer bytes than asked for is refused.
pub fn fetch_into(source: &dyn CodedSource, start: u64, buf: &mut [u8]) -> Result<(), Fault> {
    let end = start + buf.len() as u64;
    let mut filled = 0;
    source.fetch(start..end, &mut |piece| {
        let room = buf.len() - filled;
        if piece.len() > room {
            let message = alloc::format!("the source sent more than the range {start}..{end}");
            return Err(Fault::network(message));
        }
        buf[filled..filled + piece.len()].copy_from_slice(piece);
        filled += piece.len();
        Ok(())
    })?;
    if filled != buf.len() {
        let message = alloc::format!(
            "the source ended {} bytes before the end of the range {start}..{end}",
            buf.len() - filled
        );
        return Err(Fault::network(message));
    }
    Ok(())
}
