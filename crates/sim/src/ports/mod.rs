//! The ports of the simulated machine. Each port call and each thing it does to a medium is one
//! counted effect, so that the power can go between any two of them.

mod bootloader;
mod disk;
mod fetch;
mod health;
mod small;
mod store;

use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::Fault;
use twinroot_ports::Ports;

use crate::plant::Plant;
use crate::world::World;

impl World {
    /// Whether this mistake was planted.
    fn planted(&self, plant: Plant) -> bool {
        self.outside(|m| m.planted(plant))
    }

    /// All ports of this machine.
    #[must_use]
    pub const fn ports(&self) -> Ports<'_> {
        Ports {
            clock: self,
            system: self,
            store: self,
            disk: self,
            bootloader: self,
            fetch: self,
            health: self,
            gate: self,
            collector: self,
            power: self,
        }
    }
}

/// A fault of a medium as a failure of a port.
fn failed(code: Code, subject: impl Into<String>) -> impl FnOnce(Fault) -> Failure {
    let subject = subject.into();
    move |fault| Failure::new(code, subject, fault.message)
}
