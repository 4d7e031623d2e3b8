//! Writes targets where they were asked for: streamed into a temporary file beside the place, and
//! renamed only when length and every known digest are the signed ones. Names come out of signed
//! metadata of somebody else's repository, so the kernel resolves them beneath the directory and
//! follows no link (CVE-2026-6968 of another client).

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use sha2::{Digest as _, Sha256, Sha512};
use twinroot_core::error::{Code, Failure};
use twinroot_host::fetch::Source;
use twinroot_ports::{Fault, Outcome};
use twinroot_trust::digest::Digest;
use twinroot_trust::tuf::{TargetInfo, Verified, check_target_name};

use super::files::make_folders;

/// Files for everybody to read: targets are public.
const FILE: Mode = Mode::from_bits_truncate(0o644);
/// Folders likewise.
const FOLDER: Mode = Mode::from_bits_truncate(0o755);
/// Bytes read at once when a file that is there is hashed.
const PIECE: usize = 64 << 10;

/// The directory that targets are written below.
#[derive(Debug)]
pub(super) struct Out {
    path: PathBuf,
    dir: File,
}

impl Out {
    /// Opens it, making it where it is missing.
    pub(super) fn open(path: &Path) -> Outcome<Self> {
        make_folders(path)?;
        let dir = File::open(path)
            .map_err(|e| Failure::new(Code::FileIo, path.display().to_string(), e.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            dir,
        })
    }

    /// Brings one target here; says how it came.
    pub(super) fn obtain(
        &self,
        target: &Verified<TargetInfo>,
        consistent: bool,
        source: &Source,
    ) -> Outcome<&'static str> {
        let name = target.path.as_str();
        check_target_name(name).map_err(|e| Failure::from_code(e.code(), name, e.to_string()))?;
        let (folder, leaf) = name.rsplit_once('/').unwrap_or(("", name));
        let dir = self
            .folder(folder)
            .map_err(|e| self.failed(folder, "make the folder", e))?;
        if self.is_there(&dir, leaf, target) {
            return Ok("is there already");
        }
        let temporary = format!(".{}.part", &Digest::of(leaf.as_bytes()).to_string()[..16]);
        let outcome = self.fetch(&dir, &temporary, target, consistent, source);
        if let Err(failure) = outcome {
            // What was refused must not lie around; if even that fails, the refusal says more.
            let _ = unlinkat(&dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(failure);
        }
        renameat(&dir, temporary.as_str(), &dir, leaf)
            .and_then(|()| nix::unistd::fsync(&dir))
            .map_err(|e| self.failed(name, "put it in its place", e))?;
        Ok("fetched and proven")
    }

    /// Makes the folders of a name, one by one beneath this directory.
    fn folder(&self, folder: &str) -> nix::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut here = beneath(&self.dir, ".", flags, Mode::empty())?;
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            here = match beneath(&here, part, flags, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    mkdirat(&here, part, FOLDER)?;
                    beneath(&here, part, flags, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(here)
    }

    fn fetch(
        &self,
        dir: &File,
        temporary: &str,
        target: &TargetInfo,
        consistent: bool,
        source: &Source,
    ) -> Outcome<()> {
        let name = target.path.as_str();
        match unlinkat(dir, temporary, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(e) => return Err(self.failed(name, "replace an earlier try", e)),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mut file =
            beneath(dir, temporary, flags, FILE).map_err(|e| self.failed(name, "create", e))?;
        let mut proof = Proof::default();
        let path = target.published_path(consistent);
        let there = source.stream(&path, target.length, &mut |piece| {
            proof.take(piece);
            file.write_all(piece)
                .map_err(|e| Fault::disk(e.to_string()))
        })?;
        if !there {
            let cause = "it is listed, but the repository lacks it";
            return Err(Failure::new(Code::TargetNotFound, path, cause));
        }
        proof.compare(target)?;
        file.sync_all().map_err(|e| {
            Failure::new(
                Code::FileIo,
                self.shown(name),
                format!("cannot be made durable: {e}"),
            )
        })
    }

    /// Whether the very bytes lie there. Anything but a plain file is not looked at.
    fn is_there(&self, dir: &File, leaf: &str, target: &TargetInfo) -> bool {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let Ok(mut file) = beneath(dir, leaf, flags, Mode::empty()) else {
            return false;
        };
        let plain = |meta: std::fs::Metadata| meta.is_file() && meta.len() == target.length;
        if !file.metadata().is_ok_and(plain) {
            return false;
        }
        let mut proof = Proof::default();
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return proof.compare(target).is_ok(),
                Ok(count) => proof.take(&piece[..count]),
                Err(_) => return false,
            }
        }
    }

    fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn failed(&self, name: &str, verb: &str, errno: Errno) -> Failure {
        let failure = Failure::new(
            Code::FileIo,
            self.shown(name),
            format!("cannot {verb}: {errno}"),
        );
        match errno {
            Errno::ELOOP | Errno::EXDEV => {
                failure.with_remedy("a link is in the way; find out who put it there, remove it")
            }
            _ => failure,
        }
    }
}

fn beneath(dir: &File, path: &str, flags: OFlag, mode: Mode) -> nix::Result<File> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY)
        .mode(mode)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(dir, path, how).map(File::from)
}

/// Length and digests of what went by.
#[derive(Debug, Default)]
struct Proof {
    length: u64,
    sha256: Sha256,
    sha512: Sha512,
}

impl Proof {
    fn take(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        self.sha256.update(piece);
        self.sha512.update(piece);
    }

    /// Every digest that is signed and known must be right, not any one of them.
    fn compare(self, target: &TargetInfo) -> Outcome<()> {
        let name = target.path.as_str();
        if self.length != target.length {
            let cause = format!("it has {} bytes, {} are signed", self.length, target.length);
            return Err(Failure::from_code("wrong-length", name, cause));
        }
        let wrong = |algorithm: &str| {
            let cause = format!("it does not have the signed {algorithm} digest");
            Err(Failure::from_code("wrong-digest", name, cause))
        };
        let hashes = &target.hashes;
        let sha256: [u8; 32] = self.sha256.finalize().into();
        if hashes
            .sha256
            .is_some_and(|signed| *signed.as_bytes() != sha256)
        {
            return wrong("sha256");
        }
        match &hashes.sha512 {
            Some(signed) if signed[..] != self.sha512.finalize()[..] => wrong("sha512"),
            _ => Ok(()),
        }
    }
}
