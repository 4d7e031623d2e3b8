//! A repository in a directory: a bundle on a stick, a mounted share, a test.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Fault, Fetch, Outcome};

use super::meter::{Counter, Traffic};
use super::name;
use crate::fail::{fault_failure, io_failure, os_failure};

const PIECE: usize = 64 * 1024;

/// One directory for metadata and one for targets.
#[derive(Debug)]
pub struct DirFetch {
    metadata: PathBuf,
    targets: PathBuf,
    counter: Counter,
}

impl DirFetch {
    /// A source over two directories, which may be the same.
    #[must_use]
    pub fn new(metadata: &Path, targets: &Path) -> Self {
        Self {
            metadata: metadata.into(),
            targets: targets.into(),
            counter: Counter::default(),
        }
    }

    /// Bytes and files read so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counter.read()
    }

    /// Opens `file` beneath `dir`: links may point around inside of it, never out of it.
    fn open(&self, dir: &Path, file: &str) -> Outcome<Option<(File, PathBuf)>> {
        name::check(file)?;
        self.counter.request();
        let path = dir.join(file);
        // A stick that is not plugged in is 'unreachable', not 'there is no newer root'.
        let root = File::open(dir)
            .map_err(|error| io_failure(Code::Unreachable, dir, "open the source", &error))?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .mode(Mode::empty())
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let opened = match openat2(&root, file, how) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(Errno::EXDEV) => {
                let cause = "is a link out of the source";
                return Err(Failure::new(
                    Code::NameRefused,
                    path.display().to_string(),
                    cause,
                ));
            }
            Err(errno) => return Err(os_failure(Code::FileIo, &path, "open", errno)),
        };
        let meta = opened
            .metadata()
            .map_err(|e| io_failure(Code::FileIo, &path, "look at", &e))?;
        if !meta.is_file() {
            return Err(Failure::new(
                Code::FileIo,
                path.display().to_string(),
                "is no plain file",
            ));
        }
        Ok(Some((opened, path)))
    }

    fn whole(&self, dir: &Path, file: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        let Some((opened, path)) = self.open(dir, file)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        opened
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| io_failure(Code::FileIo, &path, "read", &error))?;
        self.counter.bytes(bytes.len() as u64);
        if bytes.len() as u64 > limit {
            let cause = format!("more than the {limit} bytes that may come");
            return Err(Failure::new(
                Code::EndlessData,
                path.display().to_string(),
                cause,
            ));
        }
        Ok(Some(bytes))
    }

    /// Streams a whole target; `false` where there is none.
    pub(super) fn stream(
        &self,
        path: &str,
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<bool> {
        let Some((mut file, full)) = self.open(&self.targets, path)? else {
            return Ok(false);
        };
        let subject = full.display().to_string();
        let mut piece = vec![0; PIECE];
        let mut received = 0;
        loop {
            let count = file
                .read(&mut piece)
                .map_err(|error| io_failure(Code::FileIo, &full, "read", &error))?;
            if count == 0 {
                return Ok(true);
            }
            received += count as u64;
            self.counter.bytes(count as u64);
            if received > limit {
                let cause = format!("more than the {limit} bytes that may come");
                return Err(Failure::new(Code::EndlessData, subject, cause));
            }
            sink(&piece[..count]).map_err(|fault| fault_failure(&subject, &fault))?;
        }
    }
}

impl Fetch for DirFetch {
    fn metadata(&self, name: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(&self.metadata, name, limit)
    }

    fn target(&self, path: &str, limit: u64) -> Outcome<Option<Vec<u8>>> {
        self.whole(&self.targets, path, limit)
    }

    fn range(
        &self,
        path: &str,
        wanted: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<()> {
        let Some((mut file, full)) = self.open(&self.targets, path)? else {
            return Err(Failure::new(
                Code::NotOnServer,
                path,
                "the source does not have it",
            ));
        };
        let subject = full.display().to_string();
        file.seek(SeekFrom::Start(wanted.start))
            .map_err(|error| io_failure(Code::FileIo, &full, "seek", &error))?;
        let mut left = wanted.end.saturating_sub(wanted.start);
        let mut piece = vec![0; PIECE];
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let count = file
                .read(&mut piece[..want])
                .map_err(|error| io_failure(Code::FileIo, &full, "read", &error))?;
            if count == 0 {
                let cause = format!("ends {left} bytes before the end of the range {wanted:?}");
                return Err(Failure::new(Code::Truncated, subject, cause));
            }
            self.counter.bytes(count as u64);
            left -= count as u64;
            sink(&piece[..count]).map_err(|fault| fault_failure(&subject, &fault))?;
        }
        Ok(())
    }
}
