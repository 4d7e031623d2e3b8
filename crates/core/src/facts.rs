//! What the world says: observed by the adapters, checked here, and from here on the only source of
//! [`BootedSlot`] and [`InactiveSlot`]. On start these facts outrank every saved file.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use crate::bootfmt::stage::Stage;
use crate::error::{Code, Failure};
use crate::slot::{BootedSlot, InactiveSlot, SlotName};
use crate::text::tail;

/// Milliseconds since this boot, not counting time in which the machine was off. A type apart from
/// wall time, so that a deadline can never be moved by setting the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct BootTime(pub u64);

/// The two clocks, read once for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// The system's wall clock as it is, however wrong (see [`crate::clock`]).
    pub wall: UnixTime,
    /// Time since this boot.
    pub boot: BootTime,
}

/// What the kernel and the booted image say of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemObserved {
    /// The kernel's id of this boot; differs at every boot.
    pub boot_id: String,
    /// Root hash that dm-verity enforces for the running root.
    pub root_hash: Digest,
    /// Slot whose partitions back the running root, from the dm-verity table.
    pub slot: SlotName,
    /// Product of the booted image.
    pub product: String,
    /// Variant of the booted image, empty where the product has none.
    pub variant: String,
    /// Architecture of the booted image, in the manifest's spelling.
    pub architecture: String,
    /// Version of the booted image.
    pub version: Version,
    /// When the booted image was built: no clock before this is believed.
    pub built: UnixTime,
    /// Lowest version that may run, stamped into the booted image: what a wiped `/var` still has.
    pub stamped_floor: Option<Version>,
    /// `x86-64-v1` … `x86-64-v4`, or the architecture's own levels.
    pub cpu: String,
    /// `uefi` or `bios`.
    pub firmware: String,
}

/// What a slot's partitions say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotObserved {
    /// Bytes of the data partition.
    pub data_size: u64,
    /// Bytes of the tree partition.
    pub tree_size: u64,
    /// The root hash that the slot's superblock and tree root block claim; `None` where they are
    /// zeroed, torn or contradict each other: the slot holds no whole image.
    pub claimed_root: Option<Digest>,
}

/// Tries of a counted boot entry. The bootloader owns the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tries {
    /// Boots that are left before the entry counts as bad.
    pub left: u32,
    /// Boots that were used.
    pub done: u32,
}

/// One boot entry of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryObserved {
    /// Name without counter and suffix; content-addressed.
    pub stem: String,
    /// Root hash that the entry boots.
    pub root_hash: Digest,
    /// Digest of the UKI as its name says it.
    pub uki: Digest,
    /// Version the entry boots.
    pub version: Version,
    /// `None` once it is blessed.
    pub tries: Option<Tries>,
}

impl EntryObserved {
    /// Blessed: not counted any more.
    #[must_use]
    pub const fn is_blessed(&self) -> bool {
        self.tries.is_none()
    }

    /// Counted and used up: the loader skips it.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        matches!(self.tries, Some(Tries { left: 0, .. }))
    }
}

/// Whether the loader was seen to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// A counted entry was seen with one try less after a boot.
    Proven,
    /// Nothing was seen yet.
    Unproven,
    /// The loader booted a counted entry and the counter did not fall as expected.
    Broken,
}

/// What a start that never came to health has left, for the reason of a denial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// The root that was started.
    pub root_hash: Digest,
    /// How far it came.
    pub stage: Stage,
    /// What failed on the way to the next stage, where somebody could still say so.
    pub failed: String,
    /// The end of its kernel log, where the firmware kept it; at most 4 KiB.
    pub console: String,
    /// The end of its journal, where that reached the disk; at most 4 KiB.
    #[serde(default)]
    pub journal: String,
}

/// Lines of a log that a reason quotes: the message of a panic and what led to it. The whole end
/// of the log is kept beside it.
const LINES_QUOTED: usize = 3;
/// The end of a line that is quoted: as wide as a console, with some to spare for a path.
const LINE_QUOTED: usize = 240;

impl Remains {
    /// In words, to follow 'it was started three times without being blessed'.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = alloc::format!("it came as far as {}", self.stage.as_str());
        if !self.failed.is_empty() {
            text.push_str(": ");
            text.push_str(&self.failed);
        }
        for (log, name) in [(&self.console, "console"), (&self.journal, "journal")] {
            let quoted = last_lines(log);
            if !quoted.is_empty() {
                text.push_str(&alloc::format!("; its {name} ended with: {quoted}"));
            }
        }
        text
    }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|l| !l.trim().is_empty()).collect();
    let quoted = lines[lines.len().saturating_sub(LINES_QUOTED)..].iter();
    let quoted: Vec<&str> = quoted.map(|line| tail(line, LINE_QUOTED)).collect();
    quoted.join(" / ")
}

/// Which bootloader it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoaderIdentity {
    /// Name and version, by its own word; empty where it gives none.
    pub name: String,
    /// Revocation level: component and generation, as `systemd-boot,1`; empty where its file has none.
    pub sbat: Vec<String>,
}

/// What the bootloader says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderObserved {
    /// Our entries, in the order in which the loader would list them.
    pub entries: Vec<EntryObserved>,
    /// Stem of the entry that was booted; `None` where the loader does not say.
    pub booted: Option<String>,
    /// Stem that is pinned as default.
    pub pinned: Option<String>,
    /// Stem that the next boot alone will take.
    pub one_shot: Option<String>,
    /// Whether the loader was seen to count.
    pub counting: Counting,
    /// How many tries a new entry can be given.
    pub tries_granted: u32,
    /// Free bytes where entries are kept.
    pub free: u64,
    /// Starts without health of the booted, blessed entry, from the initramfs's attempt record.
    pub starts_without_health: u32,
    /// Root hash of a committed slot that the initramfs left because it went bad.
    pub abandoned: Option<Digest>,
    /// Which one it is.
    #[serde(default)]
    pub identity: LoaderIdentity,
    /// What starts of other roots that died have left.
    #[serde(default)]
    pub remains: Vec<Remains>,
    /// The file system with the entries was not unmounted in good order before this start.
    #[serde(default)]
    pub unclean: bool,
}

/// Everything that was observed for one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Kernel and booted image.
    pub system: SystemObserved,
    /// Slots A and B.
    pub slots: [SlotObserved; 2],
    /// Bootloader.
    pub loader: LoaderObserved,
}

/// How sure it is that the other slot would carry the node if this one failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// It has run, was blessed, and its slot still claims the same root.
    Proven,
    /// It is whole and may boot, but was never blessed or the loader was not seen to count.
    Unproven,
    /// There is none.
    Absent,
}

/// Observations that agree with each other.
#[derive(Debug, Clone)]
pub struct Facts {
    observed: Observed,
    booted: BootedSlot,
    inactive: InactiveSlot,
}

impl Facts {
    /// Checks that the observations agree and names the two slots.
    ///
    /// # Errors
    /// `boot-facts-contradict` where the slot that the kernel runs from claims another root hash:
    /// something was changed under the running system, and nothing may be written on such ground.
    pub fn establish(observed: Observed) -> Result<Self, Failure> {
        let name = observed.system.slot;
        let claimed = observed.slots[name.index()].claimed_root;
        if claimed.is_some_and(|root| root != observed.system.root_hash) {
            return Err(Failure::new(
                Code::BootFactsContradict,
                alloc::format!("slot {name}"),
                "the kernel runs from it, but its hash tree names another root hash",
            ));
        }
        Ok(Self {
            observed,
            booted: BootedSlot::from_boot_facts(name),
            inactive: InactiveSlot::from_boot_facts(name.other()),
        })
    }

    /// The slot that runs.
    #[must_use]
    pub const fn booted(&self) -> &BootedSlot {
        &self.booted
    }

    /// The slot that may be written.
    #[must_use]
    pub const fn inactive(&self) -> &InactiveSlot {
        &self.inactive
    }

    /// Kernel and booted image.
    #[must_use]
    pub const fn system(&self) -> &SystemObserved {
        &self.observed.system
    }

    /// Bootloader.
    #[must_use]
    pub const fn loader(&self) -> &LoaderObserved {
        &self.observed.loader
    }

    /// One slot's partitions.
    #[must_use]
    pub const fn slot(&self, name: SlotName) -> &SlotObserved {
        &self.observed.slots[name.index()]
    }

    /// The entry that was booted: what the loader says, else the one that boots the running root.
    #[must_use]
    pub fn booted_entry(&self) -> Option<&EntryObserved> {
        let loader = &self.observed.loader;
        loader
            .booted
            .as_ref()
            .and_then(|stem| loader.entries.iter().find(|e| e.stem == *stem))
            .or_else(|| self.entry_of(&self.observed.system.root_hash))
    }

    /// The entry that boots `root`.
    #[must_use]
    pub fn entry_of(&self, root: &Digest) -> Option<&EntryObserved> {
        self.observed
            .loader
            .entries
            .iter()
            .find(|e| e.root_hash == *root)
    }

    /// What the last start of `root` has left, where it died.
    #[must_use]
    pub fn remains_of(&self, root: &Digest) -> Option<&Remains> {
        let remains = &self.observed.loader.remains;
        remains.iter().find(|remains| remains.root_hash == *root)
    }

    /// Entries that do not boot the running root: what is unbootable before the inactive slot is
    /// written.
    pub fn other_entries(&self) -> impl Iterator<Item = &EntryObserved> {
        let booted = self.observed.system.root_hash;
        self.observed
            .loader
            .entries
            .iter()
            .filter(move |e| e.root_hash != booted)
    }

    /// Root hash that the inactive slot claims to hold.
    #[must_use]
    pub const fn inactive_root(&self) -> Option<Digest> {
        self.observed.slots[self.inactive.name().index()].claimed_root
    }

    /// The entry that would boot the inactive slot.
    #[must_use]
    pub fn fallback_entry(&self) -> Option<&EntryObserved> {
        let root = self.inactive_root()?;
        self.entry_of(&root).filter(|e| !e.is_exhausted())
    }

    /// Whether the other slot would carry the node.
    #[must_use]
    pub fn fallback(&self) -> Fallback {
        match self.fallback_entry() {
            None => Fallback::Absent,
            Some(entry) if self.observed.loader.abandoned == Some(entry.root_hash) => {
                Fallback::Absent
            }
            Some(entry) if entry.is_blessed() => Fallback::Proven,
            Some(_) => Fallback::Unproven,
        }
    }
}
