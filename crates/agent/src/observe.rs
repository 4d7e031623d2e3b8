//! Gathers what the ports observe into facts.

use twinroot_core::facts::{Facts, Observed};
use twinroot_core::slot::SlotName;
use twinroot_ports::{Outcome, Ports};

/// Looks at kernel, slots and bootloader.
///
/// # Errors
/// What a port cannot see, and `boot-facts-contradict` where they disagree.
pub(crate) fn facts(ports: &Ports<'_>) -> Outcome<Facts> {
    let system = ports.system.observe()?;
    let slots = [
        ports.disk.observe(SlotName::A)?,
        ports.disk.observe(SlotName::B)?,
    ];
    let loader = ports.bootloader.observe()?;
    Facts::establish(Observed {
        system,
        slots,
        loader,
    })
}
