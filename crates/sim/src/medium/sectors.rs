//! A block device with a volatile cache: what was written is durable only after a flush, and a power
//! cut keeps any subset of the sectors that were written since.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use twinroot_payload::io::{Fault, ReadAt};

/// Bytes that a power cut never tears: the printed assumption of DESIGN section 1 ('sectors tear at
/// 512 bytes at worst').
pub const SECTOR: usize = 512;

/// Bytes shared between clones of a device: one block of a payload. Cloning a device copies pointers.
const CHUNK: usize = 4096;

/// One sector's bytes.
pub type Sector = [u8; SECTOR];

/// A shared piece of the medium, with its hash, so that hashing a device costs one word a chunk.
#[derive(Debug)]
struct Chunk {
    bytes: [u8; CHUNK],
    hash: u64,
}

impl Chunk {
    fn new(bytes: [u8; CHUNK]) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Arc::new(Self {
            bytes,
            hash: hasher.finish(),
        })
    }
}

/// What the next flush does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushFault {
    /// It works.
    #[default]
    None,
    /// After so many that work one fails: the kernel drops the dirty pages, says so once, and keeps
    /// serving the new bytes from its cache until that is dropped.
    FailsAfter(u32),
    /// It says that it worked and does nothing: a planted fault, or a disk that lies.
    Lies,
}

/// A device of a fixed size with a volatile cache.
#[derive(Debug, Clone)]
pub struct Sectors {
    medium: Vec<Arc<Chunk>>,
    len: u64,
    /// What the kernel's cache holds that the medium may not.
    cache: BTreeMap<u32, Box<Sector>>,
    /// Sector writes since the last flush, in order: a sector that was written twice may survive in
    /// either version.
    pending: Vec<(u32, Box<Sector>)>,
    /// Fault of the next flush.
    pub next_flush: FlushFault,
}

impl Sectors {
    /// A device of `len` bytes, filled with `fill`.
    #[must_use]
    pub fn new(len: u64, fill: u8) -> Self {
        let chunk = Chunk::new([fill; CHUNK]);
        let count = len.div_ceil(CHUNK as u64) as usize;
        Self {
            medium: vec![chunk; count],
            len,
            cache: BTreeMap::new(),
            pending: Vec::new(),
            next_flush: FlushFault::None,
        }
    }

    /// Size in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buf` as a process sees it: cache first.
    ///
    /// # Errors
    /// Past the end.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.within(offset, buf.len())?;
        for (at, piece) in pieces(offset, buf.len()) {
            let target = &mut buf[piece.clone()];
            let (sector, within) = ((at / SECTOR as u64) as u32, (at % SECTOR as u64) as usize);
            match self.cache.get(&sector) {
                Some(bytes) => target.copy_from_slice(&bytes[within..within + target.len()]),
                None => {
                    let start = (at % CHUNK as u64) as usize;
                    let chunk = &self.medium[(at / CHUNK as u64) as usize];
                    target.copy_from_slice(&chunk.bytes[start..start + target.len()]);
                }
            }
        }
        Ok(())
    }

    /// Writes into the cache.
    ///
    /// # Errors
    /// Past the end: a partition never grows.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.within(offset, bytes.len())?;
        for (at, piece) in pieces(offset, bytes.len()) {
            let start = at - at % SECTOR as u64;
            let mut sector = Box::new([0; SECTOR]);
            let have = (self.len - start).min(SECTOR as u64) as usize;
            self.read(start, &mut sector[..have])?;
            let within = (at - start) as usize;
            sector[within..within + piece.len()].copy_from_slice(&bytes[piece]);
            let number = (start / SECTOR as u64) as u32;
            self.cache.insert(number, sector.clone());
            self.pending.push((number, sector));
        }
        Ok(())
    }

    /// Makes what was written durable, or fails as [`Sectors::next_flush`] says.
    ///
    /// # Errors
    /// An injected failure; what was pending is lost then and the next flush will work.
    pub fn flush(&mut self) -> Result<(), Fault> {
        match std::mem::take(&mut self.next_flush) {
            FlushFault::None => {
                // Pages of a flush that failed before stay as they are: clean, and not on the medium.
                for (sector, bytes) in std::mem::take(&mut self.pending) {
                    self.settle(sector, &bytes);
                    self.cache.remove(&sector);
                }
                Ok(())
            }
            FlushFault::FailsAfter(more @ 1..) => {
                self.flush()?;
                self.next_flush = FlushFault::FailsAfter(more - 1);
                Ok(())
            }
            FlushFault::FailsAfter(0) => {
                self.pending.clear();
                Err(Fault::disk("flush failed: injected input/output error"))
            }
            FlushFault::Lies => Ok(()),
        }
    }

    /// Drops clean cache pages, so that reads come from the medium. Dirty ones stay, as on Linux.
    pub fn drop_caches(&mut self) {
        let dirty: std::collections::BTreeSet<u32> = self.pending.iter().map(|w| w.0).collect();
        self.cache.retain(|sector, _| dirty.contains(sector));
    }

    /// Number of sector writes that a power cut may or may not keep.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.pending.len()
    }

    /// The device after a power cut that keeps the writes for which `keep` says so.
    #[must_use]
    pub fn after_cut(&self, keep: &mut dyn FnMut() -> bool) -> Self {
        let mut after = self.clone();
        after.cache.clear();
        after.pending.clear();
        after.next_flush = FlushFault::None;
        for (sector, bytes) in &self.pending {
            if keep() {
                after.settle(*sector, bytes);
            }
        }
        after
    }

    /// Changes the medium behind everybody's back: rot, or another system's writes.
    pub fn rot(&mut self, offset: u64, flip: u8) {
        let at = offset % SECTOR as u64;
        let mut sector = Box::new([0; SECTOR]);
        let start = offset - at;
        if self.read(start, &mut sector[..]).is_ok() {
            sector[at as usize] ^= flip;
            self.cache.remove(&((start / SECTOR as u64) as u32));
            self.settle((start / SECTOR as u64) as u32, &sector);
        }
    }

    /// Feeds what is durable into a hash.
    pub fn fingerprint(&self, hasher: &mut DefaultHasher) {
        self.len.hash(hasher);
        for chunk in &self.medium {
            chunk.hash.hash(hasher);
        }
    }

    /// Grows to `len` bytes; new bytes hold what was on the medium before: nothing useful.
    pub fn grow(&mut self, len: u64) {
        if len > self.len {
            let count = len.div_ceil(CHUNK as u64) as usize;
            if count > self.medium.len() {
                self.medium.resize(count, Chunk::new([0xa5; CHUNK]));
            }
            self.len = len;
        }
    }

    fn settle(&mut self, sector: u32, bytes: &Sector) {
        let offset = sector as usize * SECTOR;
        let slot = &mut self.medium[offset / CHUNK];
        let start = offset % CHUNK;
        if slot.bytes[start..start + SECTOR] != bytes[..] {
            let mut chunk = slot.bytes;
            chunk[start..start + SECTOR].copy_from_slice(bytes);
            *slot = Chunk::new(chunk);
        }
    }

    fn within(&self, offset: u64, len: usize) -> Result<(), Fault> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(Fault::past_end(offset, len, self.len)),
        }
    }
}

impl ReadAt for Sectors {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.read(offset, buf)
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.len)
    }
}

/// Splits a byte range at sector borders: (position, range within the buffer).
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let room = SECTOR - (at % SECTOR as u64) as usize;
        let take = room.min(len - done);
        let piece = done..done + take;
        done += take;
        Some((at, piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(device: &Sectors, at: u64) -> u8 {
        let mut one = [0];
        device.read(at, &mut one).unwrap();
        one[0]
    }

    #[test]
    fn unflushed_writes_survive_a_cut_in_any_subset_and_in_512_byte_pieces() {
        let mut device = Sectors::new(8192, 0);
        device.write(0, &[1; 4096]).unwrap();
        assert_eq!(device.unflushed(), 8);
        let mut number = 0;
        let after = device.after_cut(&mut || {
            number += 1;
            number == 3
        });
        assert_eq!(
            [byte(&after, 1023), byte(&after, 1024), byte(&after, 1536)],
            [0, 1, 0]
        );
    }

    #[test]
    fn a_sector_written_twice_may_survive_in_its_first_version() {
        let mut device = Sectors::new(4096, 0);
        device.write(0, &[1; 512]).unwrap();
        device.write(0, &[2; 512]).unwrap();
        let mut first = true;
        let after = device.after_cut(&mut || std::mem::take(&mut first));
        assert_eq!(byte(&after, 0), 1);
    }

    #[test]
    fn a_failed_flush_is_reported_once_and_the_dirty_pages_are_gone() {
        let mut device = Sectors::new(4096, 0);
        device.write(0, &[7; 512]).unwrap();
        device.next_flush = FlushFault::FailsAfter(0);
        device.flush().unwrap_err();
        device.flush().unwrap();
        assert_eq!(byte(&device, 0), 7, "the kernel still serves the page");
        device.drop_caches();
        assert_eq!(byte(&device, 0), 0, "but the medium never had it");
    }

    #[test]
    fn writes_past_the_end_are_refused_and_change_nothing() {
        let mut device = Sectors::new(4096, 0);
        device.write(4000, &[1; 97]).unwrap_err();
        assert_eq!(device.unflushed(), 0);
    }

    #[test]
    fn clones_share_what_is_equal_and_differ_in_their_fingerprint_when_it_is_not() {
        let print = |device: &Sectors| {
            let mut hasher = DefaultHasher::new();
            device.fingerprint(&mut hasher);
            hasher.finish()
        };
        let device = Sectors::new(8192, 0);
        let mut other = device.clone();
        assert_eq!(print(&device), print(&other));
        other.rot(5000, 1);
        assert_ne!(print(&device), print(&other));
        assert_eq!(byte(&device, 5000), 0);
    }
}
