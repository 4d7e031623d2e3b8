//! The `Power` port.

use std::path::Path;
use std::time::Duration;

use nix::libc;
use nix::sys::reboot::{RebootMode, reboot};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Outcome, Power, Store};
use zbus::blocking::connection::Builder;

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

/// A machine with systemd: logind is asked, so that whoever holds a delay inhibitor (a kubelet that ends
/// its pods) gets its time; where logind is away, the service manager itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxPower;

/// What systemd takes for 'start reboot.target' (systemd(1), SIGNALS: SIGRTMIN+5). A signal needs no
/// bus that might be down.
const REBOOT_SIGNAL: i32 = 5;

/// How long logind may take to say that it has begun: it answers before the delays that it grants.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where logind answers (org.freedesktop.login1(5)).
const LOGIND: &str = "org.freedesktop.login1";

/// logind's word for a restart that is under way already: nothing else is to be asked for.
const UNDER_WAY: &str = "org.freedesktop.login1.OperationInProgress";

impl Power for LinuxPower {
    fn reboot(&self, reason: &str) -> Outcome<()> {
        tracing::info!(reason, "restarting the machine");
        nix::unistd::sync();
        let failed = |errno: nix::errno::Errno| {
            Failure::new(Code::RebootFailed, "machine", errno.to_string())
        };
        if !Path::new(SYSTEMD).is_dir() {
            return match reboot(RebootMode::RB_AUTOBOOT) {
                Ok(never) => match never {},
                Err(errno) => Err(failed(errno)),
            };
        }
        match Builder::system().and_then(ask_logind) {
            Ok(()) => Ok(()),
            // A bus that is away must not keep a node on a release that it has to leave.
            Err(error) => {
                tracing::warn!(%error, "logind cannot be asked; the service manager is told instead");
                tell_systemd().map_err(failed)
            }
        }
    }
}

/// Asks for a restart as `systemctl reboot` does. Not interactive: nobody is there to type a password.
fn ask_logind(bus: Builder<'_>) -> zbus::Result<()> {
    let bus = bus.method_timeout(PATIENCE).build()?;
    let manager = "/org/freedesktop/login1";
    let interface = "org.freedesktop.login1.Manager";
    match bus.call_method(Some(LOGIND), manager, Some(interface), "Reboot", &false) {
        Ok(_) => Ok(()),
        Err(zbus::Error::MethodError(name, _, _)) if name.as_str() == UNDER_WAY => Ok(()),
        Err(error) => Err(error),
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc::{Sender, channel};

    use zbus::{DBusError, fdo};

    use super::*;

    /// A bus of our own, which ends with the test.
    struct Bus {
        child: Child,
        address: String,
    }

    impl Bus {
        /// Nothing where there is no bus daemon here.
        #[expect(clippy::disallowed_methods, reason = "a test starts its own bus")]
        fn start() -> Option<Self> {
            let mut child = Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--print-address=1"])
                .stdout(Stdio::piped())
                .spawn()
                .ok()?;
            let mut address = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut address)
                .unwrap();
            let address = address.trim().to_owned();
            Some(Self { child, address })
        }

        fn builder(&self) -> Builder<'_> {
            Builder::address(self.address.as_str()).unwrap()
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Notes with which argument it was asked; answers as told.
    struct Manager {
        asked: Sender<bool>,
        busy: bool,
    }

    #[zbus::interface(name = "org.freedesktop.login1.Manager")]
    impl Manager {
        fn reboot(&self, interactive: bool) -> Result<(), Refused> {
            self.asked.send(interactive).unwrap();
            match self.busy {
                true => Err(Refused::OperationInProgress(String::from("it is"))),
                false => Ok(()),
            }
        }
    }

    #[derive(Debug, DBusError)]
    #[zbus(prefix = "org.freedesktop.login1")]
    enum Refused {
        #[zbus(error)]
        ZBus(zbus::Error),
        OperationInProgress(String),
    }

    #[test]
    fn a_restart_is_asked_of_logind_and_one_under_way_is_not_an_error() {
        let Some(bus) = Bus::start() else {
            println!("SKIP dbus-daemon is not installed");
            return;
        };
        for busy in [false, true] {
            let (asked, asks) = channel();
            let logind = bus.builder().name(LOGIND).unwrap();
            let logind = logind
                .serve_at("/org/freedesktop/login1", Manager { asked, busy })
                .unwrap()
                .build()
                .unwrap();
            ask_logind(bus.builder()).unwrap();
            assert!(!asks.recv().unwrap(), "nobody is there to be asked back");
            drop(logind);
        }
    }

    #[test]
    fn a_bus_without_logind_is_told_as_such() {
        let Some(bus) = Bus::start() else {
            println!("SKIP dbus-daemon is not installed");
            return;
        };
        let error = ask_logind(bus.builder()).unwrap_err();
        assert!(
            matches!(&error, zbus::Error::MethodError(name, ..)
                if name.as_str() == fdo::Error::ServiceUnknown(String::new()).name().as_str()),
            "{error}"
        );
    }
}
