//! Everything that changes the disk, as few verbs, so that a test can stop the program at each.
//!
//! Reads go to `std::fs` directly: they cannot leave anything half done.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The verbs that change a repository directory. [`Disk`] does them; tests die in between.
pub trait Files: fmt::Debug + Send + Sync {
    /// Creates one directory below an existing one.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates or truncates a file and writes it; nothing is durable yet.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content of a file durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Gives a file its name, replacing one that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?
            .write_all(bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that renames; the caller syncs file and directory"
    )]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Writes a file so that after a crash there is the old content or the new one, never a mixture.
///
/// Temporary name in the same directory, sync of the content before it gets its name, sync of the
/// directory after: a rename without the first sync may survive a power cut with an empty file.
///
/// # Errors
/// [`Error::Io`] with the verb that failed; the target still has its old content.
pub fn write_durably(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = parent_of(path);
    create_dirs(files, parent)?;
    let temporary = temporary_name(path);
    let act = |verb, done: io::Result<()>| done.map_err(|cause| Error::io(verb, path, cause));
    act("write", files.write(&temporary, bytes))?;
    name_durably(files, &temporary, path)
}

/// Gives a finished temporary file its name: sync, rename, sync of the directory.
///
/// # Errors
/// [`Error::Io`] with the verb that failed.
pub fn name_durably(files: &dyn Files, temporary: &Path, path: &Path) -> Result<()> {
    let act = |verb, done: io::Result<()>| done.map_err(|cause| Error::io(verb, path, cause));
    act("sync", files.sync_file(temporary))?;
    act("rename", files.rename(temporary, path))?;
    act("sync the directory of", files.sync_dir(parent_of(path)))
}

/// Creates a directory and those above it, each durable in the one that holds it.
///
/// # Errors
/// [`Error::Io`] when a directory can be neither created nor synced.
pub fn create_dirs(files: &dyn Files, path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    create_dirs(files, parent)?;
    match files.create_dir(path) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("create the directory", path, cause));
        }
        Ok(()) | Err(_) => {}
    }
    files
        .sync_dir(parent)
        .map_err(|cause| Error::io("sync the directory", parent, cause))
}

/// Where a file is written before it gets its name. A leading dot keeps it out of listings; left
/// over after a crash it is overwritten by the next attempt.
pub fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Reads a whole file.
///
/// # Errors
/// [`Error::Io`] naming the path.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|cause| Error::io("read", path, cause))
}

/// Reads a whole file; one that is not there is `None`, which the caller must treat as absence
/// and never as consent.
///
/// # Errors
/// [`Error::Io`] for every cause other than "not found".
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io("read", path, cause)),
    }
}

/// The names in a directory, sorted; a missing directory has none.
///
/// # Errors
/// [`Error::Io`] when it is there and cannot be read.
pub fn list(path: &Path) -> Result<Vec<String>> {
    let failed = |cause| Error::io("list", path, cause);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(
            entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
