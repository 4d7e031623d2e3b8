//! One simulated machine: media, firmware variables, clocks, and what its releases do when they run.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use twinroot_core::bootfmt::loader::Quirk;
use twinroot_core::slot::{Part, SlotName};
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use crate::cut::{Cut, Effects, Moment};
use crate::medium::fat::Fat;
use crate::medium::journal::Journal;
use crate::medium::sectors::Sectors;
use crate::medium::variables::Variables;
use crate::plant::Plant;
use crate::source::Source;
use crate::watch::Watch;

/// Folder of the node's history in its store.
const HISTORY: &str = "history/";

/// What a release does once its kernel is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// Comes up and is healthy.
    Good,
    /// Comes up; its required checks fail.
    Unhealthy,
    /// Comes up; its checks fail and pass in turns, so that they never hold.
    Flaky,
    /// The kernel panics and the machine resets.
    Panics,
    /// Never comes up; the watchdog resets the machine.
    Hangs,
}

/// What the booted image says of itself beyond its UKI, and how it behaves.
#[derive(Debug, Clone)]
pub struct Image {
    /// Version.
    pub version: Version,
    /// Digest of its UKI. Secure Boot lets this and no other start.
    pub uki: Digest,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Floor stamped into it.
    pub stamped_floor: Option<Version>,
    /// When it was built.
    pub built: UnixTime,
}

/// The two partitions of a slot.
#[derive(Debug, Clone)]
pub struct SlotMedia {
    /// The image.
    pub data: Sectors,
    /// Its hash tree.
    pub tree: Sectors,
}

impl SlotMedia {
    /// One partition.
    #[must_use]
    pub const fn part(&self, part: Part) -> &Sectors {
        match part {
            Part::Data => &self.data,
            Part::Tree => &self.tree,
        }
    }

    /// One partition, to be changed.
    pub const fn part_mut(&mut self, part: Part) -> &mut Sectors {
        match part {
            Part::Data => &mut self.data,
            Part::Tree => &mut self.tree,
        }
    }
}

/// The system that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// Slot whose partitions back the root.
    pub slot: SlotName,
    /// Root hash that dm-verity enforces.
    pub root: Digest,
    /// File name of the boot entry as the loader found it.
    pub entry: String,
    /// The image's identity.
    pub product: String,
    /// Variant, empty where there is none.
    pub variant: String,
    /// Architecture.
    pub architecture: String,
    /// Version.
    pub version: Version,
}

/// The whole machine. Cloning is cheap: media share what is equal.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Slots A and B.
    pub slots: [SlotMedia; 2],
    /// The EFI system partition.
    pub esp: Fat,
    /// The state partition.
    pub files: Journal,
    /// EFI variables.
    pub variables: Variables,
    /// Where releases come from.
    pub source: Source,
    /// Every release that was ever signed, by root hash.
    pub images: Arc<BTreeMap<Digest, Image>>,
    /// Known faults of the loader that this machine has.
    pub quirks: Vec<Quirk>,
    /// The wall clock.
    pub wall: UnixTime,
    /// Milliseconds since the last start.
    pub since_boot: u64,
    /// Starts so far; makes boot ids.
    pub starts: u32,
    /// What runs; nothing while the power is off.
    pub running: Option<Running>,
    /// The agent asked for a restart.
    pub reboot_requested: bool,
    /// Who holds reboots back.
    pub gate: Option<String>,
    /// Health runs in this boot.
    pub health_runs: u32,
    /// What must never happen, watched at the ports.
    pub watch: Watch,
    /// Counter of effects.
    pub effects: Effects,
    /// The adapter's mistake, where one was planted.
    #[cfg(feature = "planted")]
    pub plant: Option<Plant>,
}

impl Machine {
    /// Whether this mistake was planted.
    pub(crate) fn planted(&self, plant: Plant) -> bool {
        #[cfg(feature = "planted")]
        return self.plant == Some(plant);
        #[cfg(not(feature = "planted"))]
        {
            let _ = plant;
            false
        }
    }

    /// A hash of everything that survives without power and that anything depends on. What differs
    /// only in running state, in counters of the simulator or in the lines of the history, which
    /// nobody decides by, has the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash_media(&mut hasher, Some(HISTORY));
        self.source.fingerprint(&mut hasher);
        self.wall.hash(&mut hasher);
        for (root, image) in self.images.iter() {
            (root, image.behaviour).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// A hash of all that the disk holds: slots, EFI system partition, state and variables.
    #[must_use]
    pub fn disk_image(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash_media(&mut hasher, None);
        hasher.finish()
    }

    fn hash_media(&self, hasher: &mut DefaultHasher, without: Option<&str>) {
        for slot in &self.slots {
            slot.data.fingerprint(hasher);
            slot.tree.fingerprint(hasher);
        }
        self.esp.fingerprint(hasher);
        self.files.fingerprint(hasher, without);
        self.variables.durable().hash(hasher);
    }

    /// A hash of one slot's partitions as they are on the medium.
    #[must_use]
    pub fn slot_print(&self, slot: SlotName) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.slots[slot.index()].data.fingerprint(&mut hasher);
        self.slots[slot.index()].tree.fingerprint(&mut hasher);
        hasher.finish()
    }

    /// Digests of the UKIs that Secure Boot lets start.
    #[must_use]
    pub fn signed_ukis(&self) -> BTreeSet<Digest> {
        self.images.values().map(|image| image.uki).collect()
    }
}

/// A handle on a machine. Clones are the same machine; [`World::snapshot`] copies it.
#[derive(Debug, Clone)]
pub struct World {
    machine: Arc<Mutex<Machine>>,
}

impl World {
    /// A handle on `machine`.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self {
            machine: Arc::new(Mutex::new(machine)),
        }
    }

    /// A copy of the machine as it is.
    #[must_use]
    pub fn snapshot(&self) -> Machine {
        self.lock().clone()
    }

    /// Looks at or changes the machine from outside: no effect, nothing is counted.
    pub fn outside<R>(&self, act: impl FnOnce(&mut Machine) -> R) -> R {
        act(&mut self.lock())
    }

    /// Plans the power cut, counting effects from now on.
    pub fn cut_at(&self, cut: Option<Cut>) {
        self.lock().effects = Effects {
            cut,
            ..Effects::default()
        };
    }

    /// Keeps the machine as it is after each effect from now on.
    pub fn record(&self) {
        self.lock().effects = Effects {
            record: Some(Vec::new()),
            ..Effects::default()
        };
    }

    /// The moments since [`World::record`].
    #[must_use]
    pub fn recorded(&self) -> Vec<Moment> {
        self.lock().effects.record.take().unwrap_or_default()
    }

    /// One counted effect: the power may go before it or after it.
    pub(crate) fn effect<R>(&self, what: &'static str, act: impl FnOnce(&mut Machine) -> R) -> R {
        let mut machine = self.lock();
        machine.effects.before();
        let result = act(&mut machine);
        if let Some(mut record) = machine.effects.record.take() {
            record.push(Moment {
                after: what,
                machine: machine.clone(),
            });
            machine.effects.record = Some(record);
        }
        machine.effects.after();
        result
    }

    /// A power cut unwinds while the lock is held; what it leaves is exactly what is looked at, so
    /// the poison mark means nothing here.
    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
