//! What the kernel's device mapper enforces.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::libc;
use twinroot_core::bootfmt::dm::{Command, HEADER, IOCTL, REQUEST, Target, only_target, table};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

use crate::fail::{io_failure, os_failure};

/// Where the kernel takes requests.
const CONTROL: &str = "/dev/mapper/control";

/// The table that is in force for the mapping `name`.
///
/// # Errors
/// `booted-slot-unknown` where the kernel does not say, or the mapping has more than one target;
/// `not-permitted` for whoever is not root.
pub(crate) fn table_of(name: &str) -> Outcome<Target> {
    let path = Path::new(CONTROL);
    let control = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| io_failure(Code::BootedSlotUnknown, path, "open", &error))?;
    let answer = send(&control, table(name))
        .map_err(|errno| os_failure(Code::BootedSlotUnknown, path, "ask for a table", errno))?;
    only_target(&answer).ok_or_else(|| {
        let cause = "the kernel's table of it has not exactly one target";
        Failure::new(Code::BootedSlotUnknown, format!("mapping {name}"), cause)
    })
}

#[expect(unsafe_code, reason = "the kernel takes these requests by ioctl only")]
fn send(control: &File, mut bytes: [u8; REQUEST]) -> nix::Result<[u8; REQUEST]> {
    let code = nix::request_code_readwrite!(IOCTL, Command::Status as u8, HEADER);
    // SAFETY: the kernel reads and writes at most `data_size` bytes at the pointer; `table` sets that
    // to REQUEST, the size of the array, which lives until the call returns. The structure has no
    // pointers in it.
    let answer = unsafe { libc::ioctl(control.as_raw_fd(), code, bytes.as_mut_ptr()) };
    nix::errno::Errno::result(answer).map(|_| bytes)
}
