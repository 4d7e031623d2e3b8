//! Facts for tests: [`BootedSlot`] and [`InactiveSlot`] come from boot facts only, here as anywhere.

use twinroot_core::facts::{
    Counting, Facts, LoaderIdentity, LoaderObserved, Observed, SlotObserved, SystemObserved,
};
use twinroot_core::slot::SlotName;
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;

/// Facts of a machine that runs `slot` with `root_hash`, and of which nothing else is known.
///
/// # Panics
/// Never: such facts do not contradict each other.
#[must_use]
pub fn facts_running(slot: SlotName, root_hash: Digest) -> Facts {
    let empty = SlotObserved {
        data_size: 0,
        tree_size: 0,
        claimed_root: None,
    };
    let observed = Observed {
        system: system_running(slot, root_hash),
        slots: [empty.clone(), empty],
        loader: LoaderObserved {
            entries: Vec::new(),
            booted: None,
            pinned: None,
            one_shot: None,
            counting: Counting::Unproven,
            tries_granted: 0,
            free: 0,
            starts_without_health: 0,
            abandoned: None,
            identity: LoaderIdentity::default(),
            remains: Vec::new(),
            unclean: false,
        },
    };
    Facts::establish(observed).expect("a slot that claims nothing contradicts nothing")
}

/// What the kernel of such a machine says.
///
/// # Panics
/// Never: the version is one.
#[must_use]
pub fn system_running(slot: SlotName, root_hash: Digest) -> SystemObserved {
    SystemObserved {
        boot_id: String::from("00000000-0000-4000-8000-000000000001"),
        root_hash,
        slot,
        product: String::from("container-host"),
        variant: String::new(),
        architecture: String::from("x86-64"),
        version: "1.0".parse().expect("1.0 is a version"),
        built: UnixTime(0),
        stamped_floor: None,
        cpu: String::from("x86-64-v1"),
        firmware: String::from("uefi"),
    }
}
