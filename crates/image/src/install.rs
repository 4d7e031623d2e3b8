//! Installing a release on a real disk: the table for its size, then slot, ESP and state, each at its place
//! of the whole disk. Nothing of it is in use, and the kernel reads the table when the machine restarts.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::{Architecture, DiskSize, Holds, SectorSize, plan_table, types};
use twinroot_host::disk::table;

use crate::Outcome;
use crate::build::{Description, read_description};
use crate::content::{self, Content};
use crate::files;
use crate::output::Progress;
use crate::span::Span;

/// What is to be installed where.
#[derive(Debug)]
pub struct Order {
    /// The disk.
    pub disk: PathBuf,
    /// What goes onto it.
    pub content: Content,
    /// Whatever is on the disk may go.
    pub force: bool,
}

/// Partition tables, and what file systems and RAID write first and last, lie within this.
const ENDS: u64 = 1 << 20;
/// Installs.
///
/// # Errors
/// `bad-request` for what is no whole disk or not empty, `slot-in-use` for one that is in use, and what
/// keeps a release from being written.
pub fn run(order: &Order, progress: &Progress) -> Outcome<Description> {
    let description = read_description(&order.content.image)?;
    let path = &order.disk;
    let name = disk_name(path)?;
    refuse_in_use(path, &name)?;
    let bytes = size_of(path)?;
    if !order.force && !is_empty(path, bytes)? {
        let cause = "is not empty";
        return Err(
            Failure::new(Code::BadRequest, path.display().to_string(), cause)
                .with_remedy("give --force to lose what is on it"),
        );
    }
    progress.step("partition table");
    let sector = sector_of(path, &name)?;
    let sizes = content::wanted(&description.partitions);
    let planned = plan_table(
        &path.display().to_string(),
        DiskSize { bytes, sector },
        &sizes,
        content::random_guid()?,
    )?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| files::failed(path, "open", &error))?;
    table::write(&mut file, path, &planned)?;
    file.sync_all()
        .map_err(|error| files::failed(path, "flush", &error))?;
    let span = |kind, label: &str| Span::of(&file, path, &planned, kind, label);
    progress.step("slot A");
    let (data, tree) = types::slot_types(Holds::Root, Architecture::X86_64);
    let (data, tree) = (span(data, "root-a")?, span(tree, "root-a-verity")?);
    content::write_first(&order.content.image, &description, &data, &tree)?;
    let work = tempfile::tempdir_in(&order.content.image)
        .map_err(|error| files::failed(&order.content.image, "use", &error))?;
    let work = work.path();
    progress.step("EFI system partition");
    content::fill_esp(work, &order.content, &description)?;
    let esp = span(types::ESP, "esp")?;
    let image = content::sized(work.join("esp.img"), esp.size)?;
    content::make_fat(&image, work, esp.size, sector)?;
    esp.take(&image)?;
    progress.step("state partition");
    let state = span(types::VAR, "state")?;
    let image = content::sized(work.join("state.img"), state.size)?;
    content::make_ext4(&image, work, &order.content)?;
    state.take(&image)?;
    progress.end();
    Ok(description)
}

/// The kernel's name of a whole disk.
fn disk_name(path: &Path) -> Outcome<String> {
    let refused = |cause: &str| Failure::new(Code::BadRequest, path.display().to_string(), cause);
    let meta = std::fs::metadata(path).map_err(|error| refused(&error.to_string()))?;
    if !meta.file_type().is_block_device() {
        return Err(refused("is no disk").with_remedy("`disk` makes a disk in a file"));
    }
    let device = meta.rdev();
    // Numbers as the C library packs them (gnu_dev_major, gnu_dev_minor).
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let link = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let folder = link
        .canonicalize()
        .map_err(|error| refused(&error.to_string()))?;
    if folder.join("partition").exists() {
        return Err(refused("is a partition, not a whole disk"));
    }
    Ok(folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned())
}

/// Refuses a disk that is mounted, swapped to, or held by another device, itself or a partition of it.
fn refuse_in_use(path: &Path, name: &str) -> Outcome<()> {
    let sys = PathBuf::from("/sys/class/block").join(name);
    let mut parts = vec![sys.clone()];
    for entry in files::list(&sys)? {
        if entry.join("partition").exists() {
            parts.push(entry);
        }
    }
    let mounts = files::read_text(Path::new("/proc/self/mountinfo"))?;
    let swaps = files::read_text(Path::new("/proc/swaps"))?;
    for part in parts {
        let number = files::read_text(&part.join("dev"))?;
        let node = format!(
            "/dev/{}",
            part.file_name().unwrap_or_default().to_string_lossy()
        );
        let held = part.join("holders").is_dir() && !files::list(&part.join("holders"))?.is_empty();
        let user = if is_mounted(&mounts, number.trim()) {
            "is mounted"
        } else if swaps
            .lines()
            .any(|line| line.split_whitespace().next() == Some(&node))
        {
            "is swapped to"
        } else if held {
            "is held by another device"
        } else {
            continue;
        };
        return Err(Failure::new(
            Code::SlotInUse,
            path.display().to_string(),
            format!("{node} {user}"),
        ));
    }
    Ok(())
}

/// Whether a device number `major:minor` stands in field 3 of `mountinfo`.
fn is_mounted(mounts: &str, number: &str) -> bool {
    mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some(number))
}

fn size_of(path: &Path) -> Outcome<u64> {
    let mut file = File::open(path).map_err(|error| files::failed(path, "open", &error))?;
    file.seek(SeekFrom::End(0))
        .map_err(|error| files::failed(path, "size", &error))
}

fn is_empty(path: &Path, bytes: u64) -> Outcome<bool> {
    let mut file = File::open(path).map_err(|error| files::failed(path, "open", &error))?;
    let mut piece = vec![0; usize::try_from(ENDS.min(bytes)).unwrap_or(0)];
    for start in [0, bytes.saturating_sub(ENDS)] {
        file.seek(SeekFrom::Start(start))
            .map_err(|error| files::failed(path, "read", &error))?;
        file.read_exact(&mut piece)
            .map_err(|error| files::failed(path, "read", &error))?;
        if piece.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sector_of(path: &Path, name: &str) -> Outcome<SectorSize> {
    let file = PathBuf::from("/sys/class/block")
        .join(name)
        .join("queue/logical_block_size");
    let bytes = files::read_text(&file)?.trim().parse().unwrap_or(0);
    SectorSize::from_bytes(&path.display().to_string(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_disk_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = disk_name(file.path()).unwrap_err();
        assert!(failure.to_string().contains("is no disk"), "{failure}");
    }

    #[test]
    fn a_mount_is_known_by_the_devices_number() {
        let mounts = "24 1 252:1 / / rw - ext4 /dev/vda1 rw\n25 24 0:5 / /dev rw - devtmpfs x rw\n";
        assert!(is_mounted(mounts, "252:1"));
        assert!(!is_mounted(mounts, "252:2"));
    }

    #[test]
    fn a_disk_with_anything_at_its_ends_is_not_empty() {
        use std::os::unix::fs::FileExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 * ENDS).unwrap();
        assert!(is_empty(file.path(), 4 * ENDS).unwrap());
        file.as_file()
            .write_all_at(b"EFI PART", 4 * ENDS - 512)
            .unwrap();
        assert!(!is_empty(file.path(), 4 * ENDS).unwrap());
    }
}
