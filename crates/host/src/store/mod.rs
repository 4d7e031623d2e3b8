//! The `Store` port over a directory: small named blobs that survive a power cut.
//!
//! Order of a write (DESIGN section 6, 'Trust state … persists'): temporary file in the same
//! folder, fsync, rename over the name, fsync of the folder. Every path is resolved by the kernel
//! beneath the root without following symlinks, so that nobody who can plant a link inside gets a
//! record written elsewhere.

mod beneath;
mod lock;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Outcome, Store};

use crate::fail::{io_failure, os_failure};
pub use lock::Lock;

/// Records are small; one that is larger was not written by us. 16 MiB is three times the largest
/// signed file that a client accepts.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Name of the temporary file in each folder. `#` cannot occur in a blob's name, so the two never
/// meet; one fixed name suffices because writes are serialised and a leftover is simply replaced.
const TEMPORARY: &str = "#new";

/// A directory of blobs.
#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
    dir: File,
    writing: Mutex<()>,
}

impl FileStore {
    /// Opens the store in `root`, creating the directory (mode 0700) where it is missing.
    ///
    /// # Errors
    /// `state-unwritable` or what the operating system says; `not-permitted` where `root` is a
    /// symlink or no directory.
    pub fn open(root: &Path) -> Outcome<Self> {
        let dir = beneath::open_root(root)?;
        Ok(Self {
            root: root.to_owned(),
            dir,
            writing: Mutex::new(()),
        })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder of `name` and its last part; `None` where the folder does not exist.
    fn parent<'n>(&self, name: &'n str, create: bool) -> Outcome<Option<(File, &'n str)>> {
        check_name(name)?;
        let (folder, leaf) = name.rsplit_once('/').unwrap_or(("", name));
        let opened = beneath::open_folder(&self.dir, folder, create);
        match opened {
            Ok(dir) => Ok(Some((dir, leaf))),
            Err(Errno::ENOENT) if !create => Ok(None),
            Err(errno) => Err(refused(&self.path(name), "open the folder", errno)),
        }
    }

    fn replace(&self, dir: &File, leaf: &str, bytes: &[u8]) -> std::io::Result<()> {
        // A leftover, or whatever else somebody put under our temporary name, is not written into.
        match unlinkat(dir, TEMPORARY, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mut file = beneath::open(dir, TEMPORARY, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Frees the space at once; what cannot be removed is replaced by the next write.
            let _ = unlinkat(dir, TEMPORARY, UnlinkatFlags::NoRemoveDir);
            return Err(error);
        }
        nix::fcntl::renameat(dir, TEMPORARY, dir, leaf)?;
        dir.sync_all()
    }

    fn walk(&self, folder: &str, names: &mut Vec<String>) -> Outcome<()> {
        let path = self.path(folder);
        let dir = match beneath::open_folder(&self.dir, folder, false) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(errno) => return Err(refused(&path, "open the folder", errno)),
        };
        for (leaf, is_folder) in beneath::entries(&dir)
            .map_err(|errno| os_failure(Code::FileIo, &path, "list", errno))?
        {
            let name = if folder.is_empty() {
                leaf
            } else {
                format!("{folder}/{leaf}")
            };
            if check_name(&name).is_err() {
                continue;
            }
            if is_folder {
                self.walk(&name, names)?;
            } else {
                names.push(name);
            }
        }
        Ok(())
    }
}

impl Store for FileStore {
    fn read(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let Some((dir, leaf)) = self.parent(name, false)? else {
            return Ok(None);
        };
        let path = self.path(name);
        let file = match beneath::open(&dir, leaf, OFlag::O_RDONLY, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(refused(&path, "open", errno)),
        };
        let failed = |error: std::io::Error| io_failure(Code::FileIo, &path, "read", &error);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(Failure::new(
                Code::StateDamaged,
                path.display().to_string(),
                "is no file",
            ));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > LARGEST {
            let cause = format!("is larger than {LARGEST} bytes, so it is no record of ours");
            return Err(Failure::new(
                Code::StateDamaged,
                path.display().to_string(),
                cause,
            ));
        }
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Outcome<()> {
        let _one_at_a_time = self
            .writing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let parent = self.parent(name, true)?;
        let (dir, leaf) = parent.ok_or_else(|| {
            Failure::new(Code::StateUnwritable, name, "its folder cannot be made")
        })?;
        self.replace(&dir, leaf, bytes)
            .map_err(|error| io_failure(Code::StateUnwritable, &self.path(name), "write", &error))
    }

    fn remove(&self, name: &str) -> Outcome<()> {
        let Some((dir, leaf)) = self.parent(name, false)? else {
            return Ok(());
        };
        match unlinkat(&dir, leaf, UnlinkatFlags::NoRemoveDir) {
            // A missing name may be one whose removal was cut before it was durable: sync anyway.
            Ok(()) | Err(Errno::ENOENT) => dir.sync_all().map_err(|error| {
                io_failure(Code::StateUnwritable, &self.path(name), "remove", &error)
            }),
            Err(errno) => Err(refused(&self.path(name), "remove", errno)),
        }
    }

    fn list(&self, prefix: &str) -> Outcome<Vec<String>> {
        let folder = prefix.trim_end_matches('/');
        if !folder.is_empty() {
            check_name(folder)?;
        }
        let mut names = Vec::new();
        self.walk(folder, &mut names)?;
        names.sort();
        Ok(names)
    }
}

/// Names come from signed metadata too (role names), so they are checked here again: parts of
/// letters, digits and `._-~%`, no part empty, `.` or `..`, and no longer than a file name may be.
fn check_name(name: &str) -> Outcome<()> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-~%".contains(&c);
    let fine = |part: &str| {
        !part.is_empty()
            && part.len() <= 255
            && part != "."
            && part != ".."
            && part.bytes().all(plain)
    };
    if name.len() <= 1024 && name.split('/').all(fine) {
        return Ok(());
    }
    Err(Failure::new(
        Code::NameRefused,
        name,
        "is no name that the store keeps",
    ))
}

/// Symlinks show as ELOOP, leaving the root as EXDEV: somebody planted something.
fn refused(path: &Path, verb: &str, errno: Errno) -> Failure {
    match errno {
        Errno::ELOOP | Errno::EXDEV => Failure::new(
            Code::NameRefused,
            path.display().to_string(),
            format!("{verb}: a symlink is in the way"),
        )
        .with_remedy("find out who put it there, then remove it"),
        errno => os_failure(Code::StateUnwritable, path, verb, errno),
    }
}

#[cfg(test)]
mod tests;
