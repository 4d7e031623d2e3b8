//! The EFI system partition as a directory: names, space, and the order of writes that FAT needs.
//!
//! FAT has no journal. A file's clusters, its size and its name lie in different sectors, and a power cut
//! keeps any of them. One sector is whole or not there, so that a boot image begins to be one, and ceases,
//! with its first: no loader takes a file for an image that does not begin as one. It is written last, over
//! content that is durable, and overwritten before a name is taken away.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use sha2::{Digest as _, Sha256};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;
use twinroot_trust::digest::Digest;

use crate::fail::io_failure;

/// Space is given out in clusters; on an ESP of up to 16 GiB they have at most 8 KiB, by default 4.
const CLUSTER: u64 = 4096;

/// The first bytes of a file, without which it is no boot image (the signature of a PE file). A power cut
/// never tears them: sectors tear at 512 bytes at worst (DESIGN section 1).
pub(super) const HEAD: usize = 512;

/// What the loader takes for boot images by their names.
const IMAGES: &str = ".efi";

/// How much is read at once when a file is digested.
const PIECE: usize = 256 * 1024;

/// An ESP, mounted or a plain directory.
#[derive(Debug, Clone)]
pub struct Volume {
    root: PathBuf,
    capacity: Option<u64>,
}

impl Volume {
    /// The ESP mounted at `root`. `capacity` bounds a plain directory in bytes, which has no size of
    /// its own; a mounted file system says itself how much is free.
    ///
    /// # Errors
    /// `esp-missing` where there is no directory, or it is a symlink.
    pub fn open(root: &Path, capacity: Option<u64>) -> Outcome<Self> {
        match std::fs::symlink_metadata(root) {
            Ok(meta) if meta.is_dir() => Ok(Self {
                root: root.to_owned(),
                capacity,
            }),
            Ok(_) => Err(missing(root, "is no directory")),
            Err(error) => Err(missing(root, &error.to_string())),
        }
    }

    /// A path on the ESP.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Free bytes.
    ///
    /// # Errors
    /// `esp-missing` where the file system does not answer.
    pub fn free(&self) -> Outcome<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.root)
            .map_err(|errno| missing(&self.root, &errno.to_string()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        match self.capacity {
            None => Ok(free),
            Some(capacity) => Ok(free.min(capacity.saturating_sub(self.used(&self.root)?))),
        }
    }

    fn used(&self, folder: &Path) -> Outcome<u64> {
        let failed = |error: std::io::Error| io_failure(Code::EspMissing, folder, "list", &error);
        let mut sum = CLUSTER;
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let meta = entry.metadata().map_err(failed)?;
            sum += match meta.is_dir() {
                true => self.used(&entry.path())?,
                false => meta.len().next_multiple_of(CLUSTER),
            };
        }
        Ok(sum)
    }

    /// Whether it can be written, found out before a large write rather than amid one.
    ///
    /// # Errors
    /// `esp-read-only`.
    pub fn check_writable(&self) -> Outcome<()> {
        let stat = nix::sys::statvfs::statvfs(&self.root)
            .map_err(|errno| missing(&self.root, &errno.to_string()))?;
        if stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
            let cause = "is mounted read-only";
            return Err(Failure::new(
                Code::EspReadOnly,
                self.root.display().to_string(),
                cause,
            ));
        }
        Ok(())
    }

    /// Names of the plain files in a folder; none where the folder is missing.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn list(&self, folder: &str) -> Outcome<Vec<String>> {
        let path = self.path(folder);
        let failed = |error: std::io::Error| esp_failure(&path, "list", &error);
        let listed = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in listed {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// A small file's bytes, `None` where there is none.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn read_small(&self, name: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        match open_read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(esp_failure(&path, "open", &error)),
            Ok(file) => file
                .take(limit)
                .read_to_end(&mut bytes)
                .map_err(|error| esp_failure(&path, "read", &error))?,
        };
        Ok(Some(bytes))
    }

    /// Creates `name` for writing, in place of a leftover.
    ///
    /// # Errors
    /// `esp-read-only`, `esp-full` or what the operating system says.
    pub fn create(&self, name: &str) -> Outcome<File> {
        let path = self.path(name);
        let failed = |error: std::io::Error| esp_failure(&path, "create", &error);
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder).map_err(failed)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(&path)
            .map_err(failed)
    }

    /// Renames within a folder, durably. Refuses to replace: a name in use is somebody's entry.
    ///
    /// The kernel makes the new name first, without clusters and size, and adds these when it writes the
    /// file's inode: fsync of the folder alone puts an empty file under the new name on the medium, and takes
    /// the old name away. fsync of the file writes the new name as a whole, and the old one is there until then.
    ///
    /// # Errors
    /// `entry-ambiguous` where `to` exists; what the operating system says.
    pub fn rename(&self, from: &str, to: &str) -> Outcome<()> {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let (source, target) = (self.path(from), self.path(to));
        let taken = || {
            Failure::new(
                Code::EntryAmbiguous,
                to,
                format!("exists already, beside {from}"),
            )
        };
        let renamed = renameat2(
            AT_FDCWD,
            &source,
            AT_FDCWD,
            &target,
            RenameFlags::RENAME_NOREPLACE,
        );
        match renamed {
            Ok(()) => {}
            Err(nix::errno::Errno::EEXIST) => return Err(taken()),
            Err(errno) => return Err(esp_failure(&source, "rename", &errno.into())),
        }
        open_read(&target)
            .and_then(|file| file.sync_all())
            .map_err(|error| esp_failure(&target, "flush", &error))?;
        self.settle(to)
    }

    /// Removes a file, durably. What is not there is removed. A boot image is none any more before its clusters
    /// are given back: a cut amid that must not leave a name that the loader would start.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove(&self, name: &str) -> Outcome<()> {
        let path = self.path(name);
        if name.ends_with(IMAGES) {
            self.behead(&path)?;
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(esp_failure(&path, "remove", &error))
            }
            _ => self.settle(name),
        }
    }

    /// Overwrites the head of a file, durably. A file whose clusters are lost already (EIO) has none to start.
    fn behead(&self, path: &Path) -> Outcome<()> {
        let overwrite = || -> std::io::Result<()> {
            let file = open_write(path)?;
            let length = usize::try_from(file.metadata()?.len()).map_or(HEAD, |len| len.min(HEAD));
            file.write_all_at(&[0; HEAD][..length], 0)?;
            file.sync_data()
        };
        match overwrite() {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => Ok(()),
            Err(error) => Err(esp_failure(path, "overwrite", &error)),
        }
    }

    /// Makes the folder of `name` durable. fsync of a FAT folder does not reach the allocation
    /// table on every kernel, so the whole file system follows.
    ///
    /// # Errors
    /// `flush-failed`.
    pub fn settle(&self, name: &str) -> Outcome<()> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.root);
        let failed = |error: std::io::Error| io_failure(Code::FlushFailed, folder, "flush", &error);
        let dir = match File::open(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        dir.sync_all().map_err(failed)?;
        nix::unistd::syncfs(&dir).map_err(|errno| failed(errno.into()))
    }

    /// SHA-256 of a file, read from the medium and not from the cache where the kernel lets us.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn digest(&self, name: &str) -> Outcome<Digest> {
        self.digest_behind(&[], name)
    }

    /// The same with these bytes in place of as many at the file's begin.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn digest_behind(&self, head: &[u8], name: &str) -> Outcome<Digest> {
        let path = self.path(name);
        let failed = |error: std::io::Error| esp_failure(&path, "read back", &error);
        let mut file = open_read(&path).map_err(failed)?;
        drop_cache(&file).map_err(failed)?;
        file.seek(SeekFrom::Start(head.len() as u64))
            .map_err(failed)?;
        let mut hash = Sha256::new_with_prefix(head);
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).map_err(failed)? {
                0 => return Ok(Digest::from_bytes(hash.finalize().into())),
                count => hash.update(&piece[..count]),
            }
        }
    }
}

/// Opens a file of the ESP for reading, never through a link.
pub(super) fn open_read(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    File::options()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
}

/// Opens a file of the ESP for overwriting, never through a link.
pub(super) fn open_write(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    File::options()
        .write(true)
        .custom_flags(flags.bits())
        .open(path)
}

/// Drops clean pages of the whole file (length 0 means 'to the end').
pub(super) fn drop_cache(file: &File) -> std::io::Result<()> {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(Into::into)
}

/// Writes and makes the file itself durable.
pub(super) fn write_durably(file: &mut File, path: &Path, bytes: &[u8]) -> Outcome<()> {
    file.write_all(bytes)
        .map_err(|error| esp_failure(path, "write", &error))?;
    file.sync_all()
        .map_err(|error| esp_failure(path, "flush", &error))
}

/// Full and read-only have codes of their own on the ESP: other people look after it.
pub(super) fn esp_failure(path: &Path, verb: &str, error: &std::io::Error) -> Failure {
    let failure = io_failure(Code::FileIo, path, verb, error);
    let code = match failure.code {
        Code::DiskFull => Code::EspFull,
        Code::DiskReadOnly => Code::EspReadOnly,
        _ => return failure,
    };
    Failure::new(code, failure.subject, failure.cause)
}

fn missing(root: &Path, cause: &str) -> Failure {
    Failure::new(Code::EspMissing, root.display().to_string(), cause)
}
