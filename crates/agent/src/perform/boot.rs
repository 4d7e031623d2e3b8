//! Entries, and the gate before a reboot.

use twinroot_core::update::{ArmMode, Event, Proven};
use twinroot_ports::{Arming, Code, Failure, GateAnswer, Outcome, Ports};

/// Removes entries; one that is gone already is fine.
pub(super) fn remove(ports: Ports<'_>, stems: &[String]) -> Outcome<()> {
    for stem in stems {
        match ports.bootloader.remove(stem) {
            Err(failure) if failure.code == Code::EntryMissing => {}
            other => other?,
        }
    }
    Ok(())
}

/// Makes the loader try a release; the port computes the image's digest again before.
pub(super) fn arm(ports: Ports<'_>, proven: &Proven, mode: ArmMode) -> Outcome<()> {
    let candidate = proven.candidate();
    let how = match mode {
        ArmMode::Counted { tries } => Arming::Counted { tries },
        ArmMode::OneShot { tries } => Arming::OneShot { tries },
    };
    ports
        .bootloader
        .arm(candidate.version(), &candidate.uki().digest(), how)
}

pub(super) fn ask_gate(ports: Ports<'_>) -> Result<Event, Failure> {
    let held_by = match ports.gate.ask()? {
        GateAnswer::Open => None,
        GateAnswer::Held { by } => Some(by),
    };
    Ok(Event::Gate { held_by })
}
