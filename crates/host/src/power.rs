//! The `Power` port.

use std::path::Path;

use nix::libc;
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

/// A machine with systemd: the service manager stops everything in order and restarts.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxPower;

/// What systemd takes for 'start reboot.target' (systemd(1), SIGNALS: SIGRTMIN+5). A signal needs no
/// bus that might be down.
const REBOOT_SIGNAL: i32 = 5;

impl Power for LinuxPower {
    fn reboot(&self, reason: &str) -> Outcome<()> {
        tracing::info!(reason, "restarting the machine");
        nix::unistd::sync();
        let failed = |errno: nix::errno::Errno| {
            Failure::new(Code::RebootFailed, "machine", errno.to_string())
        };
        if Path::new(SYSTEMD).is_dir() {
            return tell_systemd().map_err(failed);
        }
        match reboot(RebootMode::RB_AUTOBOOT) {
            Ok(never) => match never {},
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// There where systemd is the first process (sd_booted(3)).
const SYSTEMD: &str = "/run/systemd/system";

#[expect(unsafe_code, reason = "nix knows no real-time signals")]
fn tell_systemd() -> nix::Result<()> {
    // SAFETY: kill has no memory of ours to touch.
    let sent = unsafe { libc::kill(1, libc::SIGRTMIN() + REBOOT_SIGNAL) };
    nix::errno::Errno::result(sent).map(drop)
}
