//! Past the page cache: what a slot gets is written once and read once, so keeping it in memory only pushes
//! out what the workload needs; and hundreds of MiB that wait to be written out make a neighbour's fsync wait
//! for all of them. One piece is under way for each worker, and none is dirty.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::OFlag;

/// Position, length and memory are multiples of this: no disk has larger logical sectors.
const ALIGNED: usize = 4096;
/// What moves at once: as much as a worker copies at a time.
const PIECE: usize = 512 << 10;
/// Less than this goes through the cache, which joins neighbours, and is flushed with the rest.
const LEAST: usize = 64 << 10;

/// A file, open a second time without its cache.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// Buffers that nobody uses at the moment; there are as many as there were users at once.
    pool: Mutex<Vec<Buffer>>,
    /// It turned out not to work here.
    refused: AtomicBool,
}

impl Direct {
    /// Opens `file` again; `None` where its file system cannot do without the cache.
    pub(super) fn of(file: &File, write: bool) -> Option<Self> {
        // The same file whatever its name leads to by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let again = File::options()
            .read(true)
            .write(write)
            .custom_flags((OFlag::O_DIRECT | OFlag::O_CLOEXEC).bits())
            .open(path)
            .ok()?;
        Some(Self {
            file: again,
            pool: Mutex::new(Vec::new()),
            refused: AtomicBool::new(false),
        })
    }

    /// Reads; `false` where it has to be read through the cache.
    pub(super) fn read(&self, position: u64, buf: &mut [u8]) -> std::io::Result<bool> {
        if !self.fits(position, buf.len()) {
            return Ok(false);
        }
        self.with_buffer(|buffer| {
            let mut at = position;
            for piece in buf.chunks_mut(PIECE) {
                let through = buffer.bytes(piece.len());
                self.file.read_exact_at(through, at)?;
                piece.copy_from_slice(through);
                at += piece.len() as u64;
            }
            Ok(())
        })
    }

    /// Writes; `false` where it has to be written through the cache. What came before an error may be
    /// written or not.
    pub(super) fn write(&self, position: u64, buf: &[u8]) -> std::io::Result<bool> {
        if !self.fits(position, buf.len()) {
            return Ok(false);
        }
        self.with_buffer(|buffer| {
            let mut at = position;
            for piece in buf.chunks(PIECE) {
                let through = buffer.bytes(piece.len());
                through.copy_from_slice(piece);
                self.file.write_all_at(through, at)?;
                at += piece.len() as u64;
            }
            Ok(())
        })
    }

    fn fits(&self, position: u64, length: usize) -> bool {
        length >= LEAST
            && length.is_multiple_of(ALIGNED)
            && position.is_multiple_of(ALIGNED as u64)
            && !self.refused.load(Ordering::Relaxed)
    }

    fn with_buffer(
        &self,
        work: impl FnOnce(&mut Buffer) -> std::io::Result<()>,
    ) -> std::io::Result<bool> {
        // A poisoned lock still holds buffers, which hold nothing.
        let pool = || match self.pool.lock() {
            Ok(pool) => pool,
            Err(poisoned) => poisoned.into_inner(),
        };
        let mut buffer = pool().pop().unwrap_or_default();
        let done = work(&mut buffer);
        pool().push(buffer);
        match done {
            Ok(()) => Ok(true),
            // A device with rules of its own: the cache obeys them.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Memory that begins where the kernel wants it.
#[derive(Debug)]
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        let memory = vec![0; PIECE + ALIGNED];
        let start = memory.as_ptr().align_offset(ALIGNED);
        Self { memory, start }
    }
}

impl Buffer {
    fn bytes(&mut self, length: usize) -> &mut [u8] {
        &mut self.memory[self.start..self.start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: usize) -> (tempfile::TempDir, File) {
        let home = tempfile::tempdir().unwrap();
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(home.path().join("disk.img"))
            .unwrap();
        file.set_len(bytes as u64).unwrap();
        (home, file)
    }

    fn content(seed: u8, bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i / 7) as u8 ^ seed).collect()
    }

    #[test]
    fn what_is_written_past_the_cache_is_what_the_cache_shows_and_the_other_way_round() {
        const SIZE: usize = 3 * PIECE;
        let (_home, file) = file(SIZE);
        let Some(direct) = Direct::of(&file, true) else {
            println!("SKIP the file system of the temporary folder always caches");
            return;
        };
        let mut expected = content(1, SIZE);
        // Seen through the cache before, so that it has something old to show.
        file.read_exact_at(&mut vec![1; SIZE], 0).unwrap();
        assert!(direct.write(0, &expected).unwrap());
        let mut seen = vec![0; SIZE];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert!(seen == expected);

        file.write_all_at(&[9; 100], 5000).unwrap();
        expected[5000..5100].fill(9);
        assert!(direct.read(0, &mut seen).unwrap());
        assert!(seen == expected);
    }

    #[test]
    fn what_is_small_or_lies_crooked_is_left_to_the_cache() {
        let (home, file) = file(4 * PIECE);
        let Some(direct) = Direct::of(&file, true) else {
            println!("SKIP the file system of the temporary folder always caches");
            return;
        };
        for (position, bytes) in [(0, LEAST - ALIGNED), (512, LEAST), (0, LEAST + 512)] {
            assert!(!direct.write(position, &content(2, bytes)).unwrap());
            assert!(!direct.read(position, &mut vec![0; bytes]).unwrap());
        }
        assert_eq!(
            std::fs::metadata(home.path().join("disk.img"))
                .unwrap()
                .len(),
            4 * PIECE as u64
        );
        assert!(direct.write(ALIGNED as u64, &content(2, LEAST)).unwrap());
    }

    #[test]
    fn reading_behind_the_end_is_an_error_and_no_zeroes() {
        let (_home, file) = file(PIECE);
        let Some(direct) = Direct::of(&file, false) else {
            println!("SKIP the file system of the temporary folder always caches");
            return;
        };
        assert!(direct.read(PIECE as u64, &mut vec![0; LEAST]).is_err());
    }
}
