//! Opening files beneath a directory without ever following a link (openat2, Linux 5.6).

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use twinroot_core::error::Code;
use twinroot_ports::Outcome;

use crate::fail::{io_failure, os_failure};

const PRIVATE: Mode = Mode::S_IRWXU;

/// Opens `path` beneath `dir`. Never blocks on a FIFO that somebody planted.
pub(super) fn open(dir: impl AsFd, path: &str, flags: OFlag, mode: Mode) -> nix::Result<File> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .mode(mode)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(dir, path, how).map(File::from)
}

/// Opens `root` itself, creating it with mode 0700.
pub(super) fn open_root(root: &Path) -> Outcome<File> {
    match nix::unistd::mkdir(root, PRIVATE) {
        Ok(()) => sync_parent(root)?,
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(os_failure(Code::StateUnwritable, root, "create", errno)),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    nix::fcntl::open(root, flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| os_failure(Code::StateUnwritable, root, "open", errno))
}

fn sync_parent(root: &Path) -> Outcome<()> {
    let parent = root
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| io_failure(Code::StateUnwritable, parent, "make durable", &error))
}

/// Opens a folder beneath `dir`, making each missing part (durably) when `create`.
pub(super) fn open_folder(dir: &File, folder: &str, create: bool) -> nix::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut here = open(dir, ".", flags, Mode::empty())?;
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        here = match open(&here, part, flags, Mode::empty()) {
            Err(Errno::ENOENT) if create => {
                match mkdirat(&here, part, PRIVATE) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                nix::unistd::fsync(&here)?;
                open(&here, part, flags, Mode::empty())?
            }
            other => other?,
        };
    }
    Ok(here)
}

/// Names in a folder, with whether each is a folder itself.
pub(super) fn entries(dir: &File) -> nix::Result<Vec<(String, bool)>> {
    let mut listed = Dir::openat(
        dir,
        ".",
        OFlag::O_RDONLY | OFlag::O_DIRECTORY,
        Mode::empty(),
    )?;
    let mut names = Vec::new();
    for entry in listed.iter() {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str() {
            names.push((name.to_owned(), entry.file_type() == Some(Type::Directory)));
        }
    }
    Ok(names)
}
