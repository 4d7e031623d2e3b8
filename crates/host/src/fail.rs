//! From an error of the operating system to a [`Failure`] of the table.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::{Fault, FaultKind};

/// A failed call on `path`. The errors that mean the same wherever they occur (no space, read-only,
/// no permission) get their own code; `otherwise` is the code for the rest.
#[must_use]
pub fn io_failure(otherwise: Code, path: &Path, verb: &str, error: &io::Error) -> Failure {
    let code = match error.raw_os_error().map(Errno::from_raw) {
        // EFBIG is what a file size limit answers: no room for this process, whatever the disk has.
        Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => Code::DiskFull,
        Some(Errno::EROFS) => Code::DiskReadOnly,
        Some(Errno::EACCES | Errno::EPERM) => Code::NotPermitted,
        _ => otherwise,
    };
    Failure::new(code, path.display().to_string(), format!("{verb}: {error}"))
}

/// The same for a call through `nix`.
#[must_use]
pub fn os_failure(otherwise: Code, path: &Path, verb: &str, errno: Errno) -> Failure {
    io_failure(otherwise, path, verb, &io::Error::from(errno))
}

/// A fault of an injected reader or writer, seen from the port that called it.
#[must_use]
pub fn fault_failure(subject: &str, fault: &Fault) -> Failure {
    let code = match fault.kind {
        FaultKind::Disk => Code::DiskIo,
        FaultKind::Network => Code::Unreachable,
        FaultKind::PastEnd => Code::Truncated,
        FaultKind::Cancelled => Code::NotNow,
    };
    Failure::new(code, subject, fault.message.clone())
}

/// A failure inside a reader or writer, whose trait knows only faults.
#[must_use]
pub fn disk_fault(failure: &Failure) -> Fault {
    Fault::disk(failure.to_string())
}
