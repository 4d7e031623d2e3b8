//! The initramfs: the static `init`, the modules it loads, nothing else. It is stored as it is, since a
//! compressed one changes all over when one byte in it does.

use std::path::Path;

use crate::Outcome;
use crate::cpio::{self, Content, Member};
use crate::files;
use crate::modules::name_of;
use crate::tree::kernel;

/// Folders that `init` mounts on or works in.
const FOLDERS: [&str; 9] = [
    "dev", "etc", "efi", "modules", "proc", "run", "sys", "sysroot", "tmp",
];

/// What says that this is an initramfs; without a version, so that it stays the same.
const RELEASE: &str = "NAME=\"twinroot initramfs\"\nID=twinroot-initramfs\n";

/// The archive with the program `init` and the modules named, numbered in the order they load in.
///
/// # Errors
/// `file-io` for `init`, `config-value` for a module that the kernel lacks.
pub fn make(init: &Path, pool: &Path, modules: &[String]) -> Outcome<Vec<u8>> {
    let member = |path: &str, content| Member {
        path: path.to_owned(),
        content,
    };
    let mut members: Vec<Member> = FOLDERS
        .iter()
        .map(|name| member(name, Content::Folder))
        .collect();
    // The kernel opens it before anything is mounted; without it what `init` says first is lost.
    members.push(member("dev/console", Content::Device(0o600, 5, 1)));
    members.push(member(
        "etc/initrd-release",
        Content::File(0o644, RELEASE.into()),
    ));
    members.push(member("init", Content::File(0o755, files::read(init)?)));
    for (number, path) in kernel::graph(pool)?
        .in_load_order(modules)?
        .iter()
        .enumerate()
    {
        let place = format!("modules/{number:03}-{}.ko", name_of(path));
        members.push(member(
            &place,
            Content::File(0o644, kernel::module(pool, path)?),
        ));
    }
    Ok(cpio::archive(&members))
}
