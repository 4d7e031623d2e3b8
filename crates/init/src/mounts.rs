//! Mounting: the kernel's own file systems, the root, `/etc`.

use std::fs::create_dir_all;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::log;
use crate::trouble::{Outcome, Trouble};

/// One mount that every start needs: type, place, options.
const KERNEL: [(&str, &str, &str); 4] = [
    ("devtmpfs", "/dev", "mode=0755"),
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("tmpfs", "/run", "mode=0755"),
];

/// Mounts what the kernel offers. `/dev` may be there already (`CONFIG_DEVTMPFS_MOUNT` does not
/// cover an initramfs, but some kernels are patched).
pub(crate) fn kernel_file_systems() -> Outcome<()> {
    for (kind, place, options) in KERNEL {
        let flags = match kind {
            "devtmpfs" => MsFlags::MS_NOSUID,
            _ => MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        };
        file_system(kind, kind, place, flags, options)?;
    }
    Ok(())
}

/// Mounts the firmware's variables, once their driver is loaded.
pub(crate) fn efi_variables(place: &str) {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(trouble) = file_system("efivarfs", "efivarfs", place, flags, "") {
        // What needs them says so itself, with what it needed them for.
        log::debug(&trouble.to_string());
    }
}

/// Mounts `device` on `place`, which is made where it is missing.
pub(crate) fn file_system(
    device: &str,
    kind: &str,
    place: &str,
    flags: MsFlags,
    options: &str,
) -> Outcome<()> {
    // On a read-only root the folder is either there, or the mount says what is missing.
    let _ = create_dir_all(place);
    mount(Some(device), place, Some(kind), flags, Some(options))
        .map_err(|errno| Trouble::failed(&format!("mount {device} ({kind}) on"), place, errno))
}

/// Options of the overlay over `/etc`.
///
/// No index, no metacopy, no redirects: each ties the upper layer to the inodes or paths of one
/// lower layer, and the lower layer changes with every update (kernel documentation, overlayfs,
/// 'Changes to underlying filesystems').
pub(crate) fn etc_options(lower: &Path, upper: &Path, work: &Path) -> String {
    let (lower, upper, work) = (lower.display(), upper.display(), work.display());
    format!(
        "lowerdir={lower},upperdir={upper},workdir={work},index=off,metacopy=off,redirect_dir=nofollow"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlay_over_etc_is_tied_to_no_lower_layer() {
        let [lower, upper, work] = ["/r/etc", "/r/var/u", "/r/var/w"].map(Path::new);
        assert_eq!(
            etc_options(lower, upper, work),
            "lowerdir=/r/etc,upperdir=/r/var/u,workdir=/r/var/w,\
             index=off,metacopy=off,redirect_dir=nofollow"
        );
    }
}
