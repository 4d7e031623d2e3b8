//! The sockets of the local API: handed over by the service manager, or bound here where nobody
//! hands any over.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

use crate::fail::io_failure;

/// File name of the socket for whoever may look, and its name in the socket unit.
pub const READ: &str = "read.sock";
/// File name of the socket for whoever may act.
pub const CONTROL: &str = "control.sock";

/// Both sockets.
#[derive(Debug)]
pub struct Pair {
    /// For whoever may look.
    pub read: UnixListener,
    /// For whoever may act.
    pub control: UnixListener,
}

impl Pair {
    /// The group that owns the control socket's file; none where it is root's or has no file.
    #[must_use]
    pub fn control_group(&self) -> Option<u32> {
        let address = self.control.local_addr().ok()?;
        let file = std::fs::metadata(address.as_pathname()?).ok()?;
        (file.gid() != 0).then_some(file.gid())
    }
}

/// What the service manager has handed over, by name (`FileDescriptorName=`); nothing where it has
/// handed over nothing.
///
/// # Errors
/// `config-missing` where it handed over something else than these two.
pub fn inherited() -> Outcome<Option<Pair>> {
    let failed = |cause: String| {
        Failure::new(Code::ConfigMissing, "the sockets of the service", cause)
            .with_remedy("enable twinroot-read.socket and twinroot-control.socket")
    };
    let handed: Vec<(RawFd, String)> = sd_notify::listen_fds_with_names()
        .map_err(|error| failed(error.to_string()))?
        .collect();
    if handed.is_empty() {
        return Ok(None);
    }
    let mut found = (None, None);
    for (fd, name) in handed {
        let socket = listener(fd).map_err(|error| failed(format!("{name}: {error}")))?;
        match name.as_str() {
            READ | "read" => found.0 = Some(socket),
            CONTROL | "control" => found.1 = Some(socket),
            other => return Err(failed(format!("{other:?} is none of ours"))),
        }
    }
    match found {
        (Some(read), Some(control)) => Ok(Some(Pair { read, control })),
        _ => Err(failed(String::from("one of the two is missing"))),
    }
}

fn listener(fd: RawFd) -> std::io::Result<UnixListener> {
    // Every descriptor that this program opens must be closed on exec, these too.
    nix::fcntl::fcntl(
        borrowed(&fd),
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    #[expect(
        unsafe_code,
        reason = "the service manager's protocol (sd_listen_fds(3)) hands descriptors over by number"
    )]
    // SAFETY: `listen_fds_with_names` checks that the numbers are meant for this process and are open,
    // and takes the variables out of the environment, so that each number is taken once, here.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(UnixListener::from(owned))
}

fn borrowed(fd: &RawFd) -> std::os::fd::BorrowedFd<'_> {
    #[expect(unsafe_code, reason = "see `listener`")]
    // SAFETY: as in `listener`: the number names an open descriptor that nobody closes meanwhile.
    unsafe {
        std::os::fd::BorrowedFd::borrow_raw(*fd)
    }
}

/// Binds both in `folder`, for the agent's own user alone. The caller holds the machine's lock, so
/// that a file of that name is a leftover and nobody else's.
///
/// # Errors
/// What the file system says.
pub fn bind(folder: &Path) -> Outcome<Pair> {
    let failed =
        |error: std::io::Error| io_failure(Code::FileIo, folder, "bind sockets in", &error);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(failed)?;
    let bound = |name: &str| {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Nobody connects before the mode is right: the folder's files are ours, and the umask of
        // a service is 0022 at most.
        let socket = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    };
    Ok(Pair {
        read: bound(READ).map_err(failed)?,
        control: bound(CONTROL).map_err(failed)?,
    })
}
