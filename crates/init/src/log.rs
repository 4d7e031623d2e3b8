//! Messages through the kernel's log: the console shows them by their level, the journal of the
//! system takes them over, and efi-pstore keeps them over a panic.

use std::fs::File;
use std::io::Write;

/// Log levels of the kernel (`linux/kern_levels.h`).
const CRITICAL: u8 = 2;
const WARNING: u8 = 4;
const INFO: u8 = 6;
const DEBUG: u8 = 7;

/// Lets every line through: by default the kernel keeps ten of a program in five seconds and drops
/// the rest, which would be the last and most important ones.
pub(crate) fn open_the_tap() {
    if let Ok(mut switch) = File::options()
        .write(true)
        .open("/proc/sys/kernel/printk_devkmsg")
    {
        // The command line may have fixed it; then fewer lines come through, and nothing else.
        let _ = switch.write_all(b"on\n");
    }
}

pub(crate) fn critical(text: &str) {
    line(CRITICAL, text);
}

pub(crate) fn warning(text: &str) {
    line(WARNING, text);
}

pub(crate) fn info(text: &str) {
    line(INFO, text);
}

pub(crate) fn debug(text: &str) {
    line(DEBUG, text);
}

/// One write is one line of the log. Where there is no log, the console that the kernel gave us.
fn line(level: u8, text: &str) {
    let text = text.replace('\n', "; ");
    let written = File::options()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut log| log.write_all(format!("<{level}>twinroot-init: {text}\n").as_bytes()));
    if written.is_err() {
        let _ = writeln!(std::io::stderr(), "twinroot-init: {text}");
    }
}
