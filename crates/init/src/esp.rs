//! The two small files on the ESP that a start reads and overwrites: attempt record and stage mark.
//!
//! The ESP is mounted read-only, just long enough to read the files and to ask where they lie, and
//! then written by sector. So a start never touches an allocation table, a folder or the mark that
//! says whether the file system is clean, whatever power does.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc;
use nix::mount::{MntFlags, MsFlags, umount2};
use twinroot_core::bootfmt::attempt;
use twinroot_core::bootfmt::attempt::AttemptRecord;
use twinroot_core::bootfmt::fat;
use twinroot_core::bootfmt::stage::{self, StageRecord};
use twinroot_core::bootfmt::twin::{COPY, FILE, Write};

use crate::disk::Device;
use crate::trouble::{Outcome, Trouble};
use crate::{log, mounts};

/// Where it is mounted while it is read.
const PLACE: &str = "/esp";

/// A file of two copies, and where each lies on the partition.
#[derive(Debug)]
struct TwinFile {
    bytes: Vec<u8>,
    /// Byte offsets on the partition of the first and the second copy.
    at: [u64; 2],
}

/// The ESP of the disk that was booted.
#[derive(Debug)]
pub(crate) struct Esp {
    partition: File,
    attempts: Option<RefCell<TwinFile>>,
    stage: Option<RefCell<TwinFile>>,
    unclean: bool,
}

impl Esp {
    /// Reads both files. An ESP that cannot be read is no reason not to start a good root: it is
    /// said, and nothing is recorded.
    pub(crate) fn open(device: &Device) -> Option<Self> {
        let read = || -> Outcome<Self> {
            let node = device.node.display().to_string();
            let flags =
                MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mounts::file_system(&node, "vfat", PLACE, flags, "")?;
            let (attempts, stage) = (twin_file(attempt::PATH), twin_file(stage::PATH));
            umount2(PLACE, MntFlags::empty())
                .map_err(|errno| Trouble::failed("unmount", PLACE, errno))?;
            let partition = File::options()
                .read(true)
                .write(true)
                .custom_flags(libc::O_DSYNC | libc::O_CLOEXEC)
                .open(&device.node)
                .map_err(Trouble::on("open", &device.node))?;
            let mut boot_sector = [0; fat::SECTOR];
            partition
                .read_exact_at(&mut boot_sector, 0)
                .map_err(Trouble::on("read", &device.node))?;
            Ok(Self {
                partition,
                unclean: fat::is_unclean(&boot_sector),
                attempts: attempts?,
                stage: stage?,
            })
        };
        read()
            .inspect_err(|trouble| log::warning(&format!("starts are not recorded: {trouble}")))
            .ok()
    }

    /// Whether it was left mounted for writing when the last system ended. Once the next one has mounted it,
    /// nobody can tell any more.
    pub(crate) const fn is_unclean(&self) -> bool {
        self.unclean
    }

    /// The attempt record; the empty one where there is no file.
    pub(crate) fn attempts(&self) -> AttemptRecord {
        let read = |file: &RefCell<TwinFile>| AttemptRecord::read(&file.borrow().bytes);
        self.attempts.as_ref().map(read).unwrap_or_default()
    }

    /// Writes the attempt record, durably.
    pub(crate) fn write_attempts(&self, record: &AttemptRecord) {
        self.overwrite(self.attempts.as_ref(), attempt::PATH, |file| {
            record.write(file)
        });
    }

    /// How far earlier starts came.
    pub(crate) fn stages(&self) -> StageRecord {
        let read = |file: &RefCell<TwinFile>| StageRecord::read(&file.borrow().bytes);
        self.stage.as_ref().map(read).unwrap_or_default()
    }

    /// Changes the stage mark, durably.
    pub(crate) fn mark(&self, change: impl FnOnce(StageRecord) -> StageRecord) {
        self.overwrite(self.stage.as_ref(), stage::PATH, |file| {
            change(StageRecord::read(file)).write(file)
        });
    }

    fn overwrite(
        &self,
        file: Option<&RefCell<TwinFile>>,
        name: &str,
        next: impl FnOnce(&[u8]) -> Write,
    ) {
        let Some(file) = file else {
            log::debug(&format!("{name} is not on the ESP"));
            return;
        };
        let mut file = file.borrow_mut();
        let write = next(&file.bytes);
        let at = file.at[write.offset / COPY];
        // O_DSYNC: on the medium when it returns.
        match self.partition.write_all_at(&write.bytes, at) {
            Ok(()) => file.bytes[write.offset..write.offset + COPY].copy_from_slice(&write.bytes),
            Err(error) => log::warning(&format!("cannot write {name}: {error}")),
        }
    }
}

/// Reads a file of the mounted ESP; nothing where there is none of the right size.
fn twin_file(name: &str) -> Outcome<Option<RefCell<TwinFile>>> {
    let path = Path::new(PLACE).join(name);
    let failed = |verb: &str| Trouble::on::<std::io::Error>(verb, &path);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open"))?,
    };
    let meta = file.metadata().map_err(failed("look at"))?;
    if meta.size() != FILE as u64 {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(FILE);
    file.read_to_end(&mut bytes).map_err(failed("read"))?;
    let at = [place_of(&file, 0), place_of(&file, COPY as u64)];
    let [Ok(first), Ok(second)] = at else {
        return Err(Trouble::failed(
            "find the sectors of",
            path.display(),
            "the kernel does not say",
        ));
    };
    Ok(Some(RefCell::new(TwinFile {
        bytes,
        at: [first, second],
    })))
}

/// Where on the partition the byte `offset` of a file lies.
#[expect(
    unsafe_code,
    reason = "the kernel tells where a file lies by ioctl only"
)]
fn place_of(file: &File, offset: u64) -> Result<u64, nix::errno::Errno> {
    /// `FIBMAP` and `FIGETBSZ` of `linux/fs.h`: `_IO(0x00, 1)` and `_IO(0x00, 2)`.
    const FIBMAP: libc::c_ulong = 1;
    const FIGETBSZ: libc::c_ulong = 2;
    let mut size: libc::c_int = 0;
    // SAFETY: both calls write one int at the pointer, which lives until they return.
    let asked = unsafe { libc::ioctl(file.as_raw_fd(), FIGETBSZ, &raw mut size) };
    nix::errno::Errno::result(asked)?;
    let unit = u64::try_from(size).ok().filter(|size| *size >= COPY as u64);
    let unit = unit.ok_or(nix::errno::Errno::EINVAL)?;
    let mut block = libc::c_int::try_from(offset / unit).map_err(|_| nix::errno::Errno::EFBIG)?;
    // SAFETY: as above; the number of the block in the file goes in, on the partition it comes out.
    let asked = unsafe { libc::ioctl(file.as_raw_fd(), FIBMAP, &raw mut block) };
    nix::errno::Errno::result(asked)?;
    // Block 0 holds the boot sector and is never a file's: it means 'not allocated'.
    match u64::try_from(block) {
        Ok(block) if block > 0 => Ok(block * unit + offset % unit),
        _ => Err(nix::errno::Errno::ENXIO),
    }
}
