//! Copies of the boot disk: the start is refused, and the try that the loader counted for it is given
//! back, since it says nothing about the release.

use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MntFlags, MsFlags, umount2};
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::layout::{Guid, types};

use crate::disk::{self, Device, Disk};
use crate::trouble::{Outcome, Trouble};
use crate::{log, mounts};

/// Where an ESP is mounted while it is looked at.
const PLACE: &str = "/esp";

/// Gives the try back on the disk that was really booted, where that can be told: its ESP alone has
/// the name that the loader has just made. `counted` is the loader's path of the entry.
pub(crate) fn give_back(found: &[Disk], esp: Guid, counted: Option<&str>) {
    let Some((from, to)) = counted.and_then(names) else {
        return;
    };
    let has = |disk: &&Disk| {
        device(disk, esp)
            .and_then(|device| mounted(&device, true, || Ok(Path::new(PLACE).join(&from).exists())))
            .inspect_err(|trouble| log::warning(&trouble.to_string()))
            .unwrap_or(false)
    };
    let booted: Vec<&Disk> = found.iter().filter(has).collect();
    let [disk] = booted[..] else {
        log::warning("which of them was booted cannot be told, so the try is not given back");
        return;
    };
    let given = device(disk, esp).and_then(|device| {
        mounted(&device, false, || {
            let (from, to) = (Path::new(PLACE).join(&from), Path::new(PLACE).join(&to));
            // Nothing is replaced: a name in use is somebody's entry.
            let flags = RenameFlags::RENAME_NOREPLACE;
            renameat2(AT_FDCWD, &from, AT_FDCWD, &to, flags).map_err(Trouble::on("rename", &from))
        })
    });
    match given {
        Ok(()) => log::info(&format!("the try was given back on {}", disk.name)),
        Err(trouble) => log::warning(&format!("the try is not given back: {trouble}")),
    }
}

/// The entry's path on the ESP as it is, and as it was before it was counted.
fn names(counted: &str) -> Option<(PathBuf, PathBuf)> {
    let path = PathBuf::from(counted.trim_start_matches('\\').replace('\\', "/"));
    let name = EntryName::parse(path.file_name()?.to_str()?).ok()?;
    let before = path.with_file_name(name.give_back()?.file_name());
    Some((path, before))
}

fn device(disk: &Disk, esp: Guid) -> Outcome<Device> {
    let fits = |one: &&twinroot_core::layout::Partition| one.uuid == esp && one.kind == types::ESP;
    let partition = disk.table.partitions.iter().find(fits);
    let partition =
        partition.ok_or_else(|| Trouble::failed("find the ESP of", &disk.name, "it has none"))?;
    disk::device(disk, partition)
}

fn mounted<T>(device: &Device, read_only: bool, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    flags.set(MsFlags::MS_RDONLY, read_only);
    mounts::file_system(&device.node.display().to_string(), "vfat", PLACE, flags, "")?;
    let done = work();
    umount2(PLACE, MntFlags::empty()).map_err(|errno| Trouble::failed("unmount", PLACE, errno))?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_path_is_turned_back_into_what_it_was() {
        let path = "\\EFI\\Linux\\twinroot_1.0_0123456789abcdef+2-1.efi";
        let (from, to) = names(path).unwrap();
        assert_eq!(
            from,
            Path::new("EFI/Linux/twinroot_1.0_0123456789abcdef+2-1.efi")
        );
        assert_eq!(
            to,
            Path::new("EFI/Linux/twinroot_1.0_0123456789abcdef+3.efi")
        );
        assert_eq!(names("\\EFI\\Linux\\os.efi"), None, "it is not counted");
        assert_eq!(names(""), None);
    }
}
