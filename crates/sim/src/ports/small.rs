//! The small ports: clocks, kernel facts, gates, power.

use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::{BootTime, Now, SystemObserved};
use twinroot_ports::{Clock, Collector, GateAnswer, Outcome, Power, RebootGate, Receipt, System};
use twinroot_trust::digest::Digest;

use crate::world::World;

impl Clock for World {
    /// Time stands still unless whoever drives the machine moves it: the same history then leaves
    /// the same bytes on the disk, wherever it was cut.
    fn now(&self) -> Now {
        self.outside(|m| Now {
            wall: m.wall,
            boot: BootTime(m.since_boot),
        })
    }
}

impl System for World {
    fn observe(&self) -> Outcome<SystemObserved> {
        self.effect("system: observe", |m| {
            let nothing_runs = || {
                let cause = "no system runs: the machine is off";
                Failure::new(Code::BootedSlotUnknown, "simulated machine", cause)
            };
            let running = m.running.as_ref().ok_or_else(nothing_runs)?;
            let image = m.images.get(&running.root).ok_or_else(nothing_runs)?;
            Ok(SystemObserved {
                boot_id: running.boot_id.clone(),
                root_hash: running.root,
                slot: running.slot,
                product: running.product.clone(),
                variant: running.variant.clone(),
                architecture: running.architecture.clone(),
                version: running.version.clone(),
                built: image.built,
                stamped_floor: image.stamped_floor.clone(),
                cpu: "x86-64-v3".to_owned(),
                firmware: "uefi".to_owned(),
            })
        })
    }

    /// A simulated machine has no TPM.
    fn measured(&self) -> Outcome<Option<Digest>> {
        Ok(None)
    }
}

impl RebootGate for World {
    fn ask(&self) -> Outcome<GateAnswer> {
        self.effect("gate: ask", |m| {
            Ok(m.gate
                .clone()
                .map_or(GateAnswer::Open, |by| GateAnswer::Held { by }))
        })
    }
}

impl Collector for World {
    /// A simulated node tells nobody.
    fn wanted(&self) -> bool {
        false
    }

    fn send(&self, _report: &[u8]) -> Outcome<Receipt> {
        let cause = "a simulated node has no collector";
        Err(Failure::new(Code::Unreachable, "reports", cause))
    }
}

impl Power for World {
    fn reboot(&self, _reason: &str) -> Outcome<()> {
        self.effect("power: reboot", |m| m.reboot_requested = true);
        Ok(())
    }
}
