//! The disk that the machine was booted from: by the loader's own word and the kernel's, which must
//! agree. No other disk is ever looked at.

use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use nix::sys::statfs::{MSDOS_SUPER_MAGIC, statfs};
use twinroot_core::bootfmt::variables::PART_UUID;
use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::Guid;
use twinroot_ports::Outcome;

use crate::disk::table;
use crate::esp::vars::EfiVars;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BootDisk {
    /// The disk's device.
    pub(super) disk: PathBuf,
}

/// The disk under the ESP that is mounted at `esp`, if that is the partition that the loader was
/// started from.
///
/// # Errors
/// `esp-missing` where no FAT partition is mounted there; `boot-facts-contradict` where it is another
/// one than the loader's.
pub(super) fn find(esp: &Path, variables: &dyn EfiVars) -> Outcome<BootDisk> {
    let missing = |cause: String| Failure::new(Code::EspMissing, esp.display().to_string(), cause);
    // Looking into it makes the service manager mount it, where it is mounted on demand; looking at
    // it does not.
    std::fs::read_dir(esp).map_err(|error| missing(error.to_string()))?;
    let kind = statfs(esp).map_err(|errno| missing(errno.to_string()))?;
    if kind.filesystem_type() != MSDOS_SUPER_MAGIC {
        return Err(missing(String::from("holds no mounted FAT file system")));
    }
    let device = nix::sys::stat::stat(esp)
        .map_err(|errno| missing(errno.to_string()))?
        .st_dev;
    let number = format!("{}:{}", major(device), minor(device));
    let (disk, partition) = in_sysfs(Path::new("/sys"), &number).map_err(missing)?;
    let uuid = table::read(&disk)?
        .partitions
        .into_iter()
        .find(|row| row.number == partition)
        .map(|row| row.uuid);
    agree(esp, uuid, variables.get(PART_UUID)?.as_deref())?;
    Ok(BootDisk { disk })
}

/// Node of the disk, and the number in its table, of the partition with that device number.
fn in_sysfs(sys: &Path, number: &str) -> Result<(PathBuf, u32), String> {
    let folder = sys.join("dev/block").join(number);
    let partition = std::fs::read_to_string(folder.join("partition"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| String::from("is not a mounted partition of a disk"))?;
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let disk = folder.parent().and_then(Path::file_name);
    let disk = disk.ok_or_else(|| String::from("has no disk"))?;
    Ok((Path::new("/dev").join(disk), partition))
}

/// The mounted partition is the loader's.
fn agree(esp: &Path, mounted: Option<Guid>, loader: Option<&str>) -> Outcome<()> {
    let loader: Option<Guid> = loader.and_then(|text| text.parse().ok());
    let shown =
        |uuid: Option<Guid>| uuid.map_or_else(|| String::from("nothing"), |u| u.to_string());
    if mounted.is_some() && mounted == loader {
        return Ok(());
    }
    let cause = format!(
        "the partition {} is mounted, the loader was started from {}",
        shown(mounted),
        shown(loader)
    );
    Err(
        Failure::new(Code::BootFactsContradict, esp.display().to_string(), cause)
            .with_remedy("mount the EFI system partition of the disk that was booted"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_disks_esp_is_refused() {
        let (one, two) = (Guid::from_number(1), Guid::from_number(2));
        let esp = Path::new("/efi");
        assert!(agree(esp, Some(one), Some(&one.to_string().to_uppercase())).is_ok());
        for (mounted, loader) in [
            (Some(one), Some(two.to_string())),
            (Some(one), None),
            (None, None),
            (None, Some(one.to_string())),
        ] {
            let refused = agree(esp, mounted, loader.as_deref()).unwrap_err();
            assert_eq!(
                refused.code,
                Code::BootFactsContradict,
                "{mounted:?} {loader:?}"
            );
        }
    }

    #[test]
    fn the_disk_is_the_parent_of_the_partition() {
        let sys = tempfile::tempdir().unwrap();
        let partition = sys.path().join("devices/pci/nvme0n1/nvme0n1p1");
        std::fs::create_dir_all(&partition).unwrap();
        std::fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        std::os::unix::fs::symlink(&partition, sys.path().join("dev/block/259:1")).unwrap();
        assert!(
            in_sysfs(sys.path(), "259:1").is_err(),
            "a whole disk has no ESP"
        );
        std::io::Write::write_all(
            &mut std::fs::File::create(partition.join("partition")).unwrap(),
            b"1\n",
        )
        .unwrap();
        assert_eq!(
            in_sysfs(sys.path(), "259:1"),
            Ok((PathBuf::from("/dev/nvme0n1"), 1))
        );
    }
}
