//! The `RebootGate` port: everybody who may postpone a restart, asked in order of their cost.

mod file;
mod fleetlock;
mod logind;

use std::path::{Path, PathBuf};

use twinroot_core::config::Settings;
use twinroot_ports::{GateAnswer, Outcome, RebootGate};

pub use file::FileGate;
pub use fleetlock::FleetLock;
pub use logind::{Heeds, Logind};

/// Several gates as one. The first that holds answers; those behind it are not asked, so that no lock
/// is taken from other nodes for a restart that will not come.
#[derive(Debug)]
pub struct Gates(Vec<Box<dyn RebootGate>>);

/// Where the gates of a machine look.
#[derive(Debug)]
pub struct Places<'a> {
    /// Any file in this folder holds the restart.
    pub folder: &'a Path,
    /// And so does this one.
    pub file: PathBuf,
    /// logind's folder of sessions and inhibitors (`/run/systemd`).
    pub logind: &'a Path,
    /// The id by which the kernel's user space knows this installation (`/etc/machine-id`).
    pub machine_id: &'a Path,
}

impl Gates {
    /// The gates that the settings ask for.
    ///
    /// # Errors
    /// Where a lock server is asked for and this machine has no id to give it.
    pub fn open(settings: &Settings, places: Places<'_>) -> Outcome<Self> {
        let mut gates: Vec<Box<dyn RebootGate>> =
            vec![Box::new(FileGate::new(places.folder, Some(places.file)))];
        let heeds = Heeds {
            users: settings.reboot.wait_for_users,
            inhibitors: settings.reboot.inhibitors.clone(),
        };
        if heeds.anybody() {
            gates.push(Box::new(Logind::new(places.logind, heeds)));
        }
        if let Some(server) = &settings.fleetlock {
            gates.push(Box::new(FleetLock::open(server, places.machine_id)?));
        }
        Ok(Self(gates))
    }
}

impl RebootGate for Gates {
    fn ask(&self) -> Outcome<GateAnswer> {
        for gate in &self.0 {
            match gate.ask()? {
                GateAnswer::Open => {}
                held @ GateAnswer::Held { .. } => return Ok(held),
            }
        }
        Ok(GateAnswer::Open)
    }

    fn steady(&self) -> Outcome<()> {
        self.0.iter().try_for_each(|gate| gate.steady())
    }
}
