//! How a start ends that does not reach the root.

use std::fs::File;
use std::io::Write;

use nix::sys::reboot::{RebootMode, reboot};

use crate::log;
use crate::trouble::Trouble;

/// Seconds until the kernel restarts after a panic, where the command line does not say. A machine
/// that stays in a panic is one that nobody brings back.
const PANIC_SECONDS: &str = "10\n";

/// Says why, and ends the start.
pub(crate) fn because(trouble: &Trouble) -> ! {
    match trouble {
        Trouble::Failed(cause) => {
            log::critical(&format!("this start has failed: {cause}"));
            panic_kernel()
        }
        Trouble::OtherSlot(cause) => {
            log::critical(&format!("restarting into the other slot: {cause}"));
            leave(RebootMode::RB_AUTOBOOT)
        }
        Trouble::Halt(cause) => {
            log::critical(&format!("halted, a person is needed: {cause}"));
            leave(RebootMode::RB_HALT_SYSTEM)
        }
    }
}

/// A panic and not a restart: the kernel's log goes to efi-pstore, and the console keeps the cause
/// for as long as `panic=` says.
fn panic_kernel() -> ! {
    let ask = |path: &str, what: &str| {
        File::options()
            .write(true)
            .open(path)
            .and_then(|mut file| file.write_all(what.as_bytes()))
    };
    let waits = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap_or_default();
    if waits.trim() == "0" {
        let _ = ask("/proc/sys/kernel/panic", PANIC_SECONDS);
    }
    nix::unistd::sync();
    let refused = ask("/proc/sysrq-trigger", "c");
    log::critical(&format!("the kernel did not panic when asked: {refused:?}"));
    // The kernel panics when its first process ends.
    std::process::abort()
}

fn leave(how: RebootMode) -> ! {
    nix::unistd::sync();
    match reboot(how) {
        Ok(never) => match never {},
        Err(errno) => {
            log::critical(&format!("the kernel refuses to stop: {errno}"));
            panic_kernel()
        }
    }
}
