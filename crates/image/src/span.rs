//! One partition as a part of its whole disk: reads and writes that cannot leave it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::unistd::{Whence, lseek};
use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::{Guid, PartitionTable};
use twinroot_payload::io::{Fault, ReadAt, WriteAt};
use twinroot_ports::SlotWriter;

use crate::Outcome;
use crate::files;

/// How much is copied at once.
const PIECE: usize = 1 << 20;

/// A partition of an open disk.
#[derive(Debug)]
pub struct Span<'a> {
    file: &'a File,
    path: PathBuf,
    start: u64,
    /// Bytes.
    pub size: u64,
}

impl<'a> Span<'a> {
    /// The partition of that type and label.
    ///
    /// # Errors
    /// `table-invalid` where the table has none.
    pub fn of(
        file: &'a File,
        path: &Path,
        table: &PartitionTable,
        kind: Guid,
        label: &str,
    ) -> Outcome<Self> {
        let mut all = table.partitions.iter();
        let found = all.find(|partition| partition.kind == kind && partition.label == label);
        let found = found.ok_or_else(|| {
            let cause = format!("it has no partition {label}");
            Failure::new(Code::TableInvalid, path.display().to_string(), cause)
        })?;
        let place = found.bytes(table.sector);
        Ok(Self {
            file,
            path: path.to_owned(),
            start: place.start,
            size: place.end - place.start,
        })
    }

    fn position(&self, offset: u64, length: usize) -> Result<u64, Fault> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.size => Ok(self.start + offset),
            _ => Err(Fault::past_end(offset, length, self.size)),
        }
    }

    fn fault(&self, verb: &str, error: &std::io::Error) -> Fault {
        Fault::disk(format!("{}: cannot {verb}: {error}", self.path.display()))
    }

    /// Copies what a tool has written to a file of the partition's size: what it has written as zeros is
    /// written as zeros, and what it has left alone is left alone.
    ///
    /// # Errors
    /// `disk-io`, `flush-failed`.
    pub fn take(&self, image: &Path) -> Outcome<()> {
        let from = File::open(image).map_err(|error| files::failed(image, "open", &error))?;
        let wrong = |code| {
            move |fault: Fault| Failure::new(code, self.path.display().to_string(), fault.message)
        };
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while let Some((start, end)) = extent(&from, at) {
            at = start;
            while at < end {
                let count = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                from.read_exact_at(&mut piece[..count], at)
                    .map_err(|error| files::failed(image, "read", &error))?;
                self.write_at(at, &piece[..count])
                    .map_err(wrong(Code::DiskIo))?;
                at += count as u64;
            }
        }
        self.flush().map_err(wrong(Code::FlushFailed))
    }
}

/// The next part of a file that was written, from `at` on.
fn extent(file: &File, at: u64) -> Option<(u64, u64)> {
    let seek = |from: u64, whence| {
        let found = lseek(file, i64::try_from(from).ok()?, whence).ok()?;
        u64::try_from(found).ok()
    };
    let start = seek(at, Whence::SeekData)?;
    Some((start, seek(start, Whence::SeekHole)?))
}

impl ReadAt for Span<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let position = self.position(offset, buffer.len())?;
        self.file
            .read_exact_at(buffer, position)
            .map_err(|error| self.fault("read", &error))
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.size)
    }
}

impl WriteAt for Span<'_> {
    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), Fault> {
        let position = self.position(offset, buffer.len())?;
        self.file
            .write_all_at(buffer, position)
            .map_err(|error| self.fault("write", &error))
    }

    fn flush(&self) -> Result<(), Fault> {
        self.file
            .sync_data()
            .map_err(|error| self.fault("flush", &error))
    }
}

impl SlotWriter for Span<'_> {
    fn drop_caches(&self) -> Result<(), Fault> {
        self.flush()?;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        posix_fadvise(self.file, number(self.start), number(self.size), advice)
            .map_err(|errno| self.fault("drop the cache", &errno.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_taken_over_stale_bytes_and_nothing_leaves_the_span() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        files::write(&disk, vec![0xee; 3 << 20]).unwrap();
        let file = File::options().read(true).write(true).open(&disk).unwrap();
        let span = Span {
            file: &file,
            path: disk.clone(),
            start: 1 << 20,
            size: 1 << 20,
        };
        let image = dir.path().join("image");
        let source = File::create(&image).unwrap();
        source.set_len(1 << 20).unwrap();
        source.write_all_at(&[0; 4096], 8192).unwrap();
        source.sync_all().unwrap();
        span.take(&image).unwrap();
        let bytes = files::read(&disk).unwrap();
        let at = (1 << 20) + 8192;
        assert!(bytes[at..at + 4096].iter().all(|byte| *byte == 0));
        assert!(
            bytes[..1 << 20]
                .iter()
                .chain(&bytes[2 << 20..])
                .all(|byte| *byte == 0xee)
        );
        assert!(span.write_at((1 << 20) - 1, &[0; 2]).is_err());
    }
}
