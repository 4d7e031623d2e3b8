//! Power cuts that lose unflushed writes: the recorded writes of a disk, applied offline up to any
//! moment, with any of those dropped that no flush has covered yet.
//!
//! The log is that of the kernel's dm-log-writes target (Documentation/admin-guide/device-mapper/
//! log-writes.rst), which QEMU's `blklogwrites` writes: a superblock, then entries of one sector, each
//! followed by its data. All numbers are little endian.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One recorded request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// First byte on the disk.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Everything before it is on the medium when it has ended.
    pub flush: bool,
    /// It is itself on the medium when it has ended.
    pub durable: bool,
    /// What it wrote need not be kept: its content is undefined.
    pub discard: bool,
    /// Where its data lies in the log.
    data: u64,
}

impl Entry {
    /// It writes data.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.length > 0 && !self.discard
    }

    /// Its first bytes only: it was torn.
    #[must_use]
    pub const fn first(&self, length: u64) -> Self {
        Self { length, ..*self }
    }

    /// It touches these bytes of the disk.
    #[must_use]
    pub const fn touches(&self, offset: u64, length: u64) -> bool {
        self.offset < offset + length && offset < self.offset + self.length
    }
}

/// A recorded disk.
#[derive(Debug)]
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// When it is none, or shorter than it says.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("no {}", path.display()))?;
        let mut head = [0; 28];
        file.read_exact_at(&mut head, 0)?;
        ensure!(
            number(&head, 0) == MAGIC && number(&head, 8) == VERSION,
            "{} is no log of writes",
            path.display()
        );
        let count = number(&head, 16);
        let sector = u64::from(u32::from_le_bytes([head[24], head[25], head[26], head[27]]));
        let mut entries = Vec::new();
        let mut at = sector;
        for _ in 0..count {
            let mut head = [0; 32];
            file.read_exact_at(&mut head, at)
                .context("the log is shorter than it says")?;
            let flags = number(&head, 16);
            let discard = flags & DISCARD != 0;
            let entry = Entry {
                offset: number(&head, 0) * sector,
                length: number(&head, 8) * sector,
                flush: flags & FLUSH != 0,
                durable: flags & FUA != 0,
                discard,
                data: at + sector,
            };
            // A discard has no data behind it.
            at += sector + if discard { 0 } else { entry.length };
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// Its requests, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Groups of requests between which nothing is known of their order: from behind one flush to the
    /// next, which is the last of its group.
    #[must_use]
    pub fn epochs(&self) -> Vec<std::ops::Range<usize>> {
        let mut epochs = Vec::new();
        let mut begin = 0;
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.flush {
                epochs.push(begin..at + 1);
                begin = at + 1;
            }
        }
        if begin < self.entries.len() {
            epochs.push(begin..self.entries.len());
        }
        epochs
    }

    /// Writes one request's data to a disk; gives what was there before.
    ///
    /// # Errors
    /// When log or disk cannot be read or written.
    pub fn apply(&self, entry: &Entry, disk: &File) -> Result<Undo> {
        let mut before = Vec::new();
        if entry.writes() {
            let length = usize::try_from(entry.length)?;
            let mut bytes = vec![0; length];
            self.file.read_exact_at(&mut bytes, entry.data)?;
            before = vec![0; length];
            disk.read_exact_at(&mut before, entry.offset)?;
            disk.write_all_at(&bytes, entry.offset)?;
        }
        Ok(Undo {
            offset: entry.offset,
            before,
        })
    }
}

/// What takes a write back.
#[derive(Debug)]
pub struct Undo {
    offset: u64,
    before: Vec<u8>,
}

impl Undo {
    /// Takes it back.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn undo(&self, disk: &File) -> Result<()> {
        disk.write_all_at(&self.before, self.offset)
            .context("cannot take a write back")
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// Chosen moments: the same for the same seed (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `end`.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: usize = 512;

    /// A log as the kernel's documentation lays it out.
    fn log_of(entries: &[(u64, u64, u64, &[u8])]) -> tempfile::NamedTempFile {
        let mut bytes = vec![0; SECTOR];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&(entries.len() as u64).to_le_bytes());
        bytes[24..28].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        for (sector, count, flags, data) in entries {
            let mut head = vec![0; SECTOR];
            for (at, value) in [*sector, *count, *flags].into_iter().enumerate() {
                head[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
            }
            bytes.extend(head);
            bytes.extend_from_slice(data);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn writes_are_applied_and_taken_back_and_discards_carry_no_data() {
        let (one, two) = ([1u8; SECTOR], [2u8; SECTOR]);
        let file = log_of(&[
            (3, 1, 0, &one),
            (0, 8, DISCARD, &[]),
            (0, 0, FLUSH, &[]),
            (4, 1, FUA, &two),
        ]);
        let log = Log::open(file.path()).unwrap();
        assert_eq!(log.entries().len(), 4);
        assert_eq!(log.epochs(), vec![0..3, 3..4]);
        assert!(log.entries()[3].durable && !log.entries()[1].writes());
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(8 * SECTOR as u64).unwrap();
        let undo = log.apply(&log.entries()[3], &disk).unwrap();
        let mut found = [0; 1];
        disk.read_exact_at(&mut found, 4 * SECTOR as u64).unwrap();
        assert_eq!(found, [2]);
        undo.undo(&disk).unwrap();
        disk.read_exact_at(&mut found, 4 * SECTOR as u64).unwrap();
        assert_eq!(found, [0]);
    }

    #[test]
    fn the_same_seed_gives_the_same_moments() {
        let throw = |seed| {
            let mut dice = Dice::new(seed);
            [dice.below(1000), dice.below(1000), dice.below(1000)]
        };
        assert_eq!(throw(7), throw(7));
        assert_ne!(throw(7), throw(8));
    }
}
