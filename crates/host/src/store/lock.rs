//! One writer at a time: a lock that the kernel ties to the process, not to a file's existence.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

use crate::fail::{io_failure, os_failure};

/// How much of the holder's command line is kept: enough to recognise it.
const COMMAND_LIMIT: usize = 200;

/// The lock of a state directory, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock, or names its holder. A file left by a dead process does not hold anything.
    ///
    /// # Errors
    /// `lock-held` with the holder's process id and command line; what the operating system says.
    pub fn acquire(path: &Path) -> Outcome<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(path)
            .map_err(|error| io_failure(Code::StateUnwritable, path, "open the lock", &error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                // Only a courtesy to whoever is refused; the lock holds without it.
                let _ = write_holder(&mut held);
                Ok(Self { _file: held })
            }
            Err((file, Errno::EWOULDBLOCK)) => Err(Failure::new(
                Code::LockHeld,
                path.display().to_string(),
                format!("held by {}", read_holder(file)),
            )),
            Err((_, errno)) => Err(os_failure(Code::StateUnwritable, path, "lock", errno)),
        }
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    let command = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let mut words = String::from_utf8_lossy(&command)
        .trim_end_matches('\0')
        .replace('\0', " ");
    words.retain(|c| !c.is_control());
    let words: String = words.chars().take(COMMAND_LIMIT).collect();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{} {words}\n", std::process::id()).as_bytes())
}

fn read_holder(mut file: File) -> String {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(1024).read_to_string(&mut text));
    match (read, text.trim().split_once(' ')) {
        (Ok(_), Some((pid, command))) => format!("process {pid} ({command})"),
        _ => String::from("another process, which has not written its name yet"),
    }
}
