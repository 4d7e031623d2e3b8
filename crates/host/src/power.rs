//! The `Power` port.

use std::path::Path;

use nix::sys::reboot::{RebootMode, reboot};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Outcome, Power, Store};

use crate::store::FileStore;

/// File in which a machine in files keeps that it wants to be restarted, and why.
pub const REQUESTED: &str = "reboot-requested";

/// A machine in files asks for a reboot by a file; whoever runs it boots it then.
#[derive(Debug)]
pub struct FilesPower {
    files: FileStore,
}

impl FilesPower {
    /// The power button of the machine in `dir`.
    ///
    /// # Errors
    /// As [`FileStore::open`].
    pub fn open(dir: &Path) -> Outcome<Self> {
        Ok(Self {
            files: FileStore::open(dir)?,
        })
    }
}

impl Power for FilesPower {
    fn reboot(&self, reason: &str) -> Outcome<()> {
        self.files
            .write(REQUESTED, format!("{reason}\n").as_bytes())
    }
}

/// The reboot system call. It does not stop services; a machine with systemd is restarted through
/// systemd by its own adapter.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxPower;

impl Power for LinuxPower {
    fn reboot(&self, reason: &str) -> Outcome<()> {
        tracing::info!(reason, "restarting the machine");
        nix::unistd::sync();
        match reboot(RebootMode::RB_AUTOBOOT) {
            Ok(never) => match never {},
            Err(errno) => Err(Failure::new(
                Code::RebootFailed,
                "machine",
                errno.to_string(),
            )),
        }
    }
}
