//! Who uses a device, by what the kernel says: mounts, holders, loop devices, exclusive opens.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

use crate::fail::io_failure;

/// A disk: a plain file, or a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A disk image.
    File,
    /// A device with this number, as `major:minor`.
    Block(String),
}

/// What `path` is. A symlink, or anything else, is refused: somebody may have planted it.
pub(super) fn kind(path: &Path) -> Outcome<Kind> {
    let meta = std::fs::symlink_metadata(path)
        .map_err(|error| io_failure(Code::SlotMissing, path, "look at the disk", &error))?;
    if meta.is_file() {
        return Ok(Kind::File);
    }
    if meta.file_type().is_block_device() {
        return Ok(Kind::Block(format!(
            "{}:{}",
            major(meta.rdev()),
            minor(meta.rdev())
        )));
    }
    let cause = "is neither a disk image nor a block device";
    Err(
        Failure::new(Code::TableInvalid, path.display().to_string(), cause)
            .with_remedy("give the disk itself, no link to it"),
    )
}

/// Opens without following a link; for block devices `exclusive` asks the kernel that nobody else
/// (mount, dm, md, another writer) has the device.
pub(super) fn open(path: &Path, write: bool, exclusive: bool) -> Outcome<File> {
    let mut flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    if exclusive {
        flags |= OFlag::O_EXCL;
    }
    let opened = File::options()
        .read(true)
        .write(write)
        .custom_flags(flags.bits())
        .open(path);
    opened.map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EBUSY) => in_use(path, "the kernel says that it is mounted or held"),
        Some(nix::libc::ELOOP) => Failure::new(
            Code::SlotInUse,
            path.display().to_string(),
            "is a symlink, not the disk",
        )
        .with_remedy("find out who put the link there"),
        _ => io_failure(Code::DiskIo, path, "open", &error),
    })
}

/// A partition's own device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartitionDevice {
    pub(super) node: PathBuf,
    /// `major:minor`.
    pub(super) number: String,
}

/// The device of the partition that the kernel has at exactly this place of the disk.
pub(super) fn partition(sys: &Path, disk: &str, start: u64, size: u64) -> Outcome<PartitionDevice> {
    let folder = sys.join("dev/block").join(disk);
    let listed = std::fs::read_dir(&folder)
        .map_err(|error| io_failure(Code::SlotMissing, &folder, "list partitions", &error))?;
    for entry in listed.flatten() {
        let path = entry.path();
        let text = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        // sysfs counts in 512 bytes, whatever the sectors of the disk are.
        let bytes = |name: &str| text(name).trim().parse::<u64>().ok()?.checked_mul(512);
        if path.join("partition").exists()
            && bytes("start") == Some(start)
            && bytes("size") == Some(size)
        {
            let name = entry.file_name();
            let number = text("dev").trim().to_owned();
            return Ok(PartitionDevice {
                node: Path::new("/dev").join(name),
                number,
            });
        }
    }
    let cause =
        format!("the kernel has no partition of {size} bytes at {start}, though the table has");
    Err(Failure::new(Code::TableInvalid, disk, cause)
        .with_remedy("let the kernel read the partition table again, or restart"))
}

/// Refuses a partition's device that is mounted (also elsewhere: mountinfo is of this namespace) or
/// held by another device.
pub(super) fn refuse_in_use(proc_sys: &Path, device: &PartitionDevice) -> Outcome<()> {
    let mounts = proc_sys.join("proc/self/mountinfo");
    let text = std::fs::read_to_string(&mounts)
        .map_err(|error| io_failure(Code::ToolMissing, &mounts, "read", &error))?;
    for line in text.lines() {
        let mut fields = line.split(' ');
        if fields.nth(2) == Some(&*device.number) {
            let place = fields.nth(1).unwrap_or("?");
            return Err(in_use(&device.node, &format!("is mounted on {place}")));
        }
    }
    let holders = proc_sys
        .join("sys/dev/block")
        .join(&device.number)
        .join("holders");
    let listed = std::fs::read_dir(&holders)
        .map_err(|error| io_failure(Code::ToolMissing, &holders, "list", &error))?;
    match listed.flatten().next() {
        Some(holder) => {
            let name = holder.file_name().to_string_lossy().into_owned();
            Err(in_use(&device.node, &format!("is held by {name}")))
        }
        None => Ok(()),
    }
}

/// Refuses a disk image that a loop device has attached: its partitions may be mounted, and what is
/// written behind the loop device's back is not seen there.
pub(super) fn refuse_attached(sys: &Path, image: &Path) -> Outcome<()> {
    let Ok(image) = image.canonicalize() else {
        return Ok(());
    };
    let Ok(listed) = std::fs::read_dir(sys.join("block")) else {
        return Ok(());
    };
    for entry in listed.flatten() {
        let backing =
            std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(backing.trim_end()) == image {
            let name = entry.file_name().to_string_lossy().into_owned();
            return Err(in_use(&image, &format!("is attached to {name}")));
        }
    }
    Ok(())
}

pub(super) fn in_use(path: &Path, cause: &str) -> Failure {
    Failure::new(Code::SlotInUse, path.display().to_string(), cause)
}
