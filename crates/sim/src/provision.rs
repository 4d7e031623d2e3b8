//! A machine as it leaves the installer: the first release in slot A, its entry counted, nothing
//! recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::slot::Part;
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use crate::cut::Effects;
use crate::medium::fat::Fat;
use crate::medium::journal::Journal;
use crate::medium::sectors::Sectors;
use crate::medium::variables::Variables;
use crate::source::{Repository, Source};
use crate::watch::Watch;
use crate::world::{Image, Machine, SlotMedia};

/// Sizes of a machine's media, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Data partition of a slot.
    pub data: u64,
    /// Tree partition of a slot.
    pub tree: u64,
    /// What the EFI system partition holds.
    pub esp: u64,
    /// What the state partition holds.
    pub state: u64,
}

impl Default for Sizes {
    /// Sixteen blocks of image with their tree, and room for a handful of the small UKIs that go
    /// with them.
    fn default() -> Self {
        Self {
            data: 16 * 4096,
            tree: 4 * 4096,
            esp: 256 * 1024,
            state: 1024 * 1024,
        }
    }
}

/// What the installer puts on a machine.
#[derive(Debug, Clone, Copy)]
pub struct First<'a> {
    /// Version.
    pub version: &'a Version,
    /// Root image.
    pub data: &'a [u8],
    /// Its superblock and hash tree.
    pub tree: &'a [u8],
    /// Its UKI.
    pub uki: &'a [u8],
    /// Tries of the first entry: it is counted, so that the loader's counting is proven before any
    /// trial.
    pub tries: u32,
}

/// A machine with its first release installed, switched off.
///
/// # Panics
/// Where the release does not fit the sizes: a mistake in the test that calls it.
#[must_use]
pub fn install(
    sizes: Sizes,
    first: &First<'_>,
    images: BTreeMap<Digest, Image>,
    repository: Arc<Repository>,
    wall: UnixTime,
) -> Machine {
    let slot = |fill| SlotMedia {
        data: Sectors::new(sizes.data, fill),
        tree: Sectors::new(sizes.tree, fill),
    };
    let mut machine = Machine {
        // The second slot holds what was on the disk before: nothing of ours.
        slots: [slot(0), slot(0xff)],
        esp: Fat::new(sizes.esp),
        files: Journal::new(sizes.state),
        variables: Variables::default(),
        source: Source::new(repository),
        images: Arc::new(images),
        quirks: Vec::new(),
        wall,
        since_boot: 0,
        starts: 0,
        running: None,
        reboot_requested: false,
        gate: None,
        health_runs: 0,
        watch: Watch::default(),
        effects: Effects::default(),
        #[cfg(feature = "planted")]
        plant: None,
    };
    for (part, bytes) in [(Part::Data, first.data), (Part::Tree, first.tree)] {
        let sectors = machine.slots[0].part_mut(part);
        sectors
            .write(0, bytes)
            .expect("the first release fits its slot");
        sectors.flush().expect("no fault was injected yet");
    }
    let entry = EntryName::for_release(first.version, &Digest::of(first.uki)).on_trial(first.tries);
    let esp = &mut machine.esp;
    esp.create(entry.file_name())
        .expect("a new file system takes a file");
    esp.append(entry.file_name(), first.uki)
        .expect("the first UKI fits the file system");
    esp.sync_all().expect("no fault was injected yet");
    machine
        .make_attempts_file()
        .expect("a kibibyte fits beside the first UKI");
    machine
}
