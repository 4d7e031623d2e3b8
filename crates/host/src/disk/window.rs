//! One partition, as a window into a file or a device: reads and writes that cannot leave it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use twinroot_core::error::Code;
use twinroot_payload::io::{Fault, ReadAt, WriteAt};
use twinroot_ports::SlotWriter;

use super::direct::Direct;
use crate::fail::{disk_fault, io_failure};

/// A partition, open.
#[derive(Debug)]
pub struct Window {
    /// For messages: path and partition.
    pub(super) name: PathBuf,
    pub(super) file: File,
    /// First byte of the partition in the file; 0 for a partition's own device.
    pub(super) start: u64,
    /// Bytes.
    pub(super) size: u64,
    /// The file is a block device.
    block: bool,
    /// The way past the cache, for a slot that is written.
    direct: Option<Direct>,
    /// A flush has failed. The kernel reports that once and drops the pages, so that a second flush
    /// would succeed over lost data; this window never claims so.
    pub(super) poisoned: AtomicBool,
}

impl Window {
    pub(super) fn new(name: PathBuf, file: File, start: u64, size: u64) -> Self {
        let kind = file.metadata().map(|meta| meta.file_type());
        Self {
            name,
            block: kind.is_ok_and(|kind| kind.is_block_device()),
            file,
            start,
            size,
            direct: None,
            poisoned: AtomicBool::new(false),
        }
    }

    /// The same, past the cache where that is possible: for a slot that is to be written.
    pub(super) fn past_the_cache(mut self) -> Self {
        self.direct = Direct::of(&self.file, true);
        self
    }

    /// The position in the file of `len` bytes at `offset`, if they lie in the partition.
    fn position(&self, offset: u64, len: usize) -> Result<u64, Fault> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.size => Ok(self.start + offset),
            _ => Err(Fault::past_end(offset, len, self.size)),
        }
    }

    fn fault(&self, code: Code, verb: &str, error: &std::io::Error) -> Fault {
        disk_fault(&io_failure(code, &self.name, verb, error))
    }

    /// Drops the kernel's clean pages of this partition. Dirty ones are written out first, as pages
    /// that are dirty stay.
    pub(super) fn forget(&self) -> Result<(), Fault> {
        let failed = |error: std::io::Error| self.fault(Code::DiskIo, "drop the cache", &error);
        if self.block {
            // The advice below is one that the kernel may pass over; this is an order.
            return flush_buffers(&self.file).map_err(|errno| failed(errno.into()));
        }
        let off_t = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        posix_fadvise(
            &self.file,
            off_t(self.start),
            off_t(self.size),
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        )
        .map_err(|errno| failed(errno.into()))
    }
}

/// `BLKFLSBUF`: writes out and forgets every buffer of a block device.
#[expect(unsafe_code, reason = "the kernel takes this by ioctl only")]
fn flush_buffers(device: &File) -> nix::Result<()> {
    nix::ioctl_none!(blkflsbuf, 0x12, 97);
    // SAFETY: the request has no argument.
    unsafe { blkflsbuf(device.as_raw_fd()) }.map(drop)
}

impl ReadAt for Window {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let position = self.position(offset, buf.len())?;
        let read = match self.direct.as_ref().map(|d| d.read(position, buf)) {
            None | Some(Ok(false)) => self.file.read_exact_at(buf, position),
            Some(done) => done.map(drop),
        };
        read.map_err(|error| self.fault(Code::DiskIo, "read", &error))
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.size)
    }
}

impl WriteAt for Window {
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), Fault> {
        let position = self.position(offset, buf.len())?;
        let written = match self.direct.as_ref().map(|d| d.write(position, buf)) {
            None | Some(Ok(false)) => self.file.write_all_at(buf, position),
            Some(done) => done.map(drop),
        };
        written.map_err(|error| self.fault(Code::DiskIo, "write", &error))
    }

    fn flush(&self) -> Result<(), Fault> {
        if self.poisoned.load(Ordering::Acquire) {
            let lost =
                std::io::Error::other("an earlier flush has failed, what was written is lost");
            return Err(self.fault(Code::FlushFailed, "flush", &lost));
        }
        self.file.sync_data().map_err(|error| {
            self.poisoned.store(true, Ordering::Release);
            self.fault(Code::FlushFailed, "flush", &error)
        })
    }
}

impl SlotWriter for Window {
    fn drop_caches(&self) -> Result<(), Fault> {
        self.flush()?;
        self.forget()
    }
}
