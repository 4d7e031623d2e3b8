//! What a node has changed in `/etc`: the upper layer of the overlay there, against the lower one, which is
//! the image's own `/etc` under dm-verity.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::libc;
use twinroot_core::bootfmt::start::ETC_UPPER;
use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::{Change, Difference};
use twinroot_ports::Outcome;

use crate::fail::{io_failure, os_failure};

/// Bytes compared at once.
const PIECE: usize = 64 * 1024;

/// Every path of `/etc` that this host has otherwise than its image, sorted.
///
/// # Errors
/// `tool-missing` where `/etc` is no overlay of ours, `not-permitted` for whoever may not look below it,
/// `file-io`.
pub fn of_etc() -> Outcome<Vec<Difference>> {
    let mounts = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(mounts)
        .map_err(|error| io_failure(Code::ToolMissing, mounts, "read", &error))?;
    if !is_overlay(&text, "/etc") {
        let cause = "is no overlay, so nobody can say what the image has there";
        return Err(Failure::new(Code::ToolMissing, "/etc", cause));
    }
    let root = below_everything()?;
    let lower = format!(
        "/proc/self/fd/{}/etc",
        std::os::fd::AsRawFd::as_raw_fd(&root)
    );
    compare(&Path::new("/var").join(ETC_UPPER), Path::new(&lower))
}

/// What the upper layer changes of the lower one.
fn compare(upper: &Path, lower: &Path) -> Outcome<Vec<Difference>> {
    let mut found = Vec::new();
    walk(upper, Some(lower), Path::new("/etc"), &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether an overlay is what is mounted last on `place`: fields 5 and, behind ` - `, the type.
fn is_overlay(mountinfo: &str, place: &str) -> bool {
    let on = |line: &&str| line.split(' ').nth(4) == Some(place);
    let last = mountinfo.lines().rfind(on);
    last.and_then(|line| line.split_once(" - "))
        .is_some_and(|(_, behind)| behind.starts_with("overlay "))
}

/// The root file system alone, without what is mounted on its folders: so the image's `/etc` can be seen.
#[expect(
    unsafe_code,
    reason = "open_tree(2) has no safe wrapper among our features"
)]
fn below_everything() -> Outcome<OwnedFd> {
    // Of linux/mount.h: OPEN_TREE_CLONE is 1, OPEN_TREE_CLOEXEC is O_CLOEXEC.
    const CLONE: libc::c_uint = 1;
    let flags = CLONE | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: the call takes a folder, a NUL-terminated path that outlives it, and flags; it keeps none of
    // them.
    let answer =
        unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), flags) };
    let number = nix::errno::Errno::result(answer)
        .map_err(|errno| os_failure(Code::ToolMissing, Path::new("/"), "look below", errno))?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it. Its numbers are ints.
    Ok(unsafe { OwnedFd::from_raw_fd(number as libc::c_int) })
}

fn walk(
    upper: &Path,
    lower: Option<&Path>,
    shown: &Path,
    found: &mut Vec<Difference>,
) -> Outcome<()> {
    let failed = |error: std::io::Error| io_failure(Code::FileIo, upper, "list", &error);
    for entry in std::fs::read_dir(upper).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (above, shown) = (entry.path(), shown.join(entry.file_name()));
        let below = lower.map(|lower| lower.join(entry.file_name()));
        let below = below.filter(|path| std::fs::symlink_metadata(path).is_ok());
        one(&above, below, &shown, found)?;
    }
    Ok(())
}

fn one(
    above: &Path,
    below: Option<PathBuf>,
    shown: &Path,
    found: &mut Vec<Difference>,
) -> Outcome<()> {
    let meta = look(above)?;
    let mut note = |change, detail: &str| {
        found.push(Difference {
            path: shown.display().to_string(),
            change,
            detail: detail.to_owned(),
        });
    };
    // A whiteout: a character device 0:0 (kernel documentation, overlayfs).
    if meta.file_type().is_char_device() && meta.rdev() == 0 {
        if below.is_some() {
            note(Change::Removed, "");
        }
        return Ok(());
    }
    let was = below.as_deref().map(look).transpose()?;
    let folders = |meta: &Metadata| meta.is_dir() && was.as_ref().is_some_and(Metadata::is_dir);
    if folders(&meta) && !is_opaque(above) {
        let was = was
            .as_ref()
            .map(|was| rights(was, &meta))
            .unwrap_or_default();
        if !was.is_empty() {
            note(Change::Changed, &was);
        }
        return walk(above, below.as_deref(), shown, found);
    }
    match (&below, &was) {
        (Some(below), Some(was)) => {
            let detail = difference(above, &meta, below, was)?;
            if !detail.is_empty() {
                note(Change::Changed, &detail);
            }
        }
        _ => note(Change::Added, kind(&meta)),
    }
    match meta.is_dir() {
        // Nothing of the image's shines through here.
        true => walk(above, None, shown, found),
        false => Ok(()),
    }
}

fn look(path: &Path) -> Outcome<Metadata> {
    std::fs::symlink_metadata(path)
        .map_err(|error| io_failure(Code::FileIo, path, "look at", &error))
}

/// A folder that hides what the image has there.
fn is_opaque(folder: &Path) -> bool {
    let mut value = [0; 1];
    let read = rustix::fs::lgetxattr(folder, "trusted.overlay.opaque", &mut value[..]);
    read == Ok(1) && value == *b"y"
}

/// In what two things of one name differ; empty where they were only copied up.
fn difference(above: &Path, meta: &Metadata, below: &Path, was: &Metadata) -> Outcome<String> {
    if meta.file_type() != was.file_type() {
        return Ok(format!("{}, not {}", kind(meta), kind(was)));
    }
    if meta.is_dir() {
        return Ok(String::from("a folder in place of the image's"));
    }
    let same = if meta.is_symlink() {
        let target = |path: &Path| {
            std::fs::read_link(path).map_err(|error| io_failure(Code::FileIo, path, "read", &error))
        };
        target(above)? == target(below)?
    } else if meta.is_file() {
        meta.len() == was.len() && same_content(above, below)?
    } else {
        meta.rdev() == was.rdev()
    };
    let mut parts = vec![rights(was, meta)];
    if !same {
        parts.insert(0, String::from("content"));
    }
    parts.retain(|part| !part.is_empty());
    Ok(parts.join(", "))
}

/// In what owner and mode differ.
fn rights(was: &Metadata, is: &Metadata) -> String {
    let mode = |meta: &Metadata| meta.mode() & 0o7777;
    let mut parts = Vec::new();
    if !is.is_symlink() && mode(is) != mode(was) {
        parts.push(format!("mode {:o}, not {:o}", mode(is), mode(was)));
    }
    if (is.uid(), is.gid()) != (was.uid(), was.gid()) {
        parts.push(format!(
            "owner {}:{}, not {}:{}",
            is.uid(),
            is.gid(),
            was.uid(),
            was.gid()
        ));
    }
    parts.join(", ")
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match (kind.is_dir(), kind.is_symlink(), kind.is_file()) {
        (true, ..) => "a folder",
        (_, true, _) => "a link",
        (_, _, true) => "a file",
        _ => "a special file",
    }
}

fn same_content(one: &Path, other: &Path) -> Outcome<bool> {
    let open = |path: &Path| {
        File::open(path).map_err(|error| io_failure(Code::FileIo, path, "open", &error))
    };
    let (mut left, mut right) = (open(one)?, open(other)?);
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let count = fill(&mut left, &mut a, one)?;
        if count != fill(&mut right, &mut b, other)? || a[..count] != b[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8], path: &Path) -> Outcome<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = file.read(&mut buffer[filled..]);
        match read.map_err(|error| io_failure(Code::FileIo, path, "read", &error))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use nix::sys::stat::{Mode, SFlag, mknod};

    use super::*;

    fn put(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Promise 7: what a person has changed on a node is told apart from what the image brings.
    #[test]
    fn added_changed_and_removed_are_told_and_what_was_only_copied_up_is_not() {
        let home = tempfile::tempdir().unwrap();
        let (upper, lower) = (home.path().join("upper"), home.path().join("lower"));
        for name in ["passwd", "same", "gone", "mode", "d/kept", "d/edited"] {
            put(lower.join(name), "of the image");
        }
        put(upper.join("same"), "of the image");
        put(upper.join("passwd"), "of the nodes");
        put(upper.join("mode"), "of the image");
        let only_owner = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(upper.join("mode"), only_owner).unwrap();
        put(upper.join("d/edited"), "longer than the image's");
        put(upper.join("new.d/10.conf"), "of the node");
        // The kernel lets anybody make a whiteout (since 5.8).
        mknod(&upper.join("gone"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        mknod(&upper.join("never-there"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        let found = compare(&upper, &lower).unwrap();
        let told: Vec<(&str, Change)> = found
            .iter()
            .map(|one| (one.path.as_str(), one.change))
            .collect();
        assert_eq!(
            told,
            [
                ("/etc/d/edited", Change::Changed),
                ("/etc/gone", Change::Removed),
                ("/etc/mode", Change::Changed),
                ("/etc/new.d", Change::Added),
                ("/etc/new.d/10.conf", Change::Added),
                ("/etc/passwd", Change::Changed),
            ]
        );
        assert_eq!(found[2].detail, "mode 600, not 644");
        assert_eq!(found[5].detail, "content");
    }

    #[test]
    fn etc_must_be_an_overlay_and_the_mount_on_top_counts() {
        let ext4 = "30 1 8:2 / /etc rw - ext4 /dev/sda2 rw";
        let overlay = "31 1 0:30 / /etc rw,relatime - overlay overlay rw,lowerdir=/sysroot/etc";
        assert!(is_overlay(&format!("{ext4}\n{overlay}"), "/etc"));
        assert!(!is_overlay(&format!("{overlay}\n{ext4}"), "/etc"));
        assert!(!is_overlay(overlay, "/var"));
    }
}
