//! The machine seam: what the loop may ask of a machine.
//!
//! Reason to exist: everything that touches hardware, the kernel, the network or the time of day is
//! behind one of these traits, so that the real machine, the machine in files and the simulator run
//! the same loop, and a crash can be planted before and after every call.
//!
//! Layer: above `core`, `payload` and `trust`; below `host`, `sim` and `agent`.
//!
//! Must never: decide anything, do I/O itself, or know an implementation. The traits are blocking
//! and object-safe on purpose (no async traits, no generics over eight ports).

use std::fmt::Debug;
use std::ops::Range;

pub use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::{LoaderObserved, Now, SlotObserved, SystemObserved};
use twinroot_core::health::{Check, CheckResult};
use twinroot_core::slot::{BootedSlot, InactiveSlot, Part, SlotName};
pub use twinroot_payload::io::{Fault, ReadAt, ReadWriteAt, WriteAt};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

pub mod contract;

/// What every port call answers.
pub type Outcome<T> = Result<T, Failure>;

/// The two clocks. Wall time may be anything; boot time only rises and starts anew at each boot.
pub trait Clock: Debug + Send + Sync {
    /// Both clocks at one moment.
    fn now(&self) -> Now;
    /// How long one may sleep before looking again: a machine in files has clocks that its owner
    /// moves. Nothing where they run like the host's own.
    fn trusted_for(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Kernel facts: which root runs, from which slot, of which image. Never read from our own files.
pub trait System: Debug + Send + Sync {
    /// What the kernel and the booted image say.
    fn observe(&self) -> Outcome<SystemObserved>;
    /// PCR 11 (SHA-256 bank) of the TPM: the boot image that was started, and the phases since.
    /// Nothing where the machine has no TPM.
    fn measured(&self) -> Outcome<Option<Digest>>;
}

/// Small named blobs that survive everything (records, trust metadata, the saved state).
///
/// Contract: after `write` returned, the new content survives a power cut; a cut during `write`
/// leaves the old or the new content, never a mixture and never none. Names are relative paths of
/// `[a-z0-9._-]` parts joined by `/`, percent-escapes allowed.
pub trait Store: Debug + Send + Sync {
    /// The blob's bytes, `None` where there is none.
    fn read(&self, name: &str) -> Outcome<Option<Vec<u8>>>;
    /// Replaces or creates the blob, durably.
    fn write(&self, name: &str, bytes: &[u8]) -> Outcome<()>;
    /// Removes the blob, durably; removing what is not there is fine.
    fn remove(&self, name: &str) -> Outcome<()>;
    /// Names below `prefix` (a folder), sorted.
    fn list(&self, prefix: &str) -> Outcome<Vec<String>>;
}

/// One partition of the inactive slot, open for writing. `write_at` may be cached; only `flush`
/// makes writes durable, and a failed flush is reported once and never retried as if it had worked
/// (kernels drop the dirty pages): the staging starts again.
pub trait SlotWriter: ReadWriteAt + Debug {
    /// Makes the following reads come from the medium, not from the cache.
    fn drop_caches(&self) -> Result<(), Fault>;
}

/// The slots.
pub trait Disk: Debug + Send + Sync {
    /// Sizes and claimed root of a slot. The claim is made by the superblock and the tree root block alone; nothing is hashed in bulk.
    fn observe(&self, slot: SlotName) -> Outcome<SlotObserved>;
    /// The booted slot, to reuse blocks of.
    fn base(&self, slot: &BootedSlot, part: Part) -> Outcome<Box<dyn ReadAt>>;
    /// Either slot for reading (proving what it holds), past the cache.
    fn reader(&self, slot: SlotName, part: Part) -> Outcome<Box<dyn ReadAt>>;
    /// The inactive slot, to be written. Refuses (again, by what the kernel says) a slot that is
    /// mounted, held or the booted one.
    fn target(&self, slot: &InactiveSlot, part: Part) -> Outcome<Box<dyn SlotWriter>>;
}

/// How the loader is told to try an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arming {
    /// The loader counts: the newest entry is tried `tries` times.
    Counted {
        /// Boots before the loader gives up.
        tries: u32,
    },
    /// The loader was not seen to count, or would not sort the entry first: the entry is taken for
    /// the next boot alone.
    OneShot {
        /// Tries in the entry's name all the same, so that it never looks blessed.
        tries: u32,
    },
}

/// A UKI that is being written where entries are kept, under a name that no loader boots.
pub trait ImageWriter: Debug {
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> Outcome<()>;
    /// Makes it durable, reads it back past the cache and compares its digest.
    fn finish(self: Box<Self>) -> Outcome<()>;
}

/// The bootloader. Few verbs for all bootloaders; each can be repeated.
///
/// Contract: the entry that is blessed is never renamed or overwritten; every verb is durable when
/// it returns; a cut during a verb leaves the state before or after it, or an entry that no loader
/// boots.
pub trait Bootloader: Debug + Send + Sync {
    /// Entries, counters, pin, what was booted, and the initramfs's attempt record.
    fn observe(&self) -> Outcome<LoaderObserved>;
    /// Reads the staged or installed image `uki`; `None` where there is none.
    fn image(&self, uki: &Digest) -> Outcome<Option<Box<dyn ReadAt>>>;
    /// Starts writing image `uki` of `size` bytes; replaces a leftover of an earlier try.
    fn stage_image(&self, uki: &Digest, size: u64) -> Outcome<Box<dyn ImageWriter>>;
    /// Makes the staged image `uki` a boot entry on trial. Its digest is computed again before.
    fn arm(&self, version: &Version, uki: &Digest, how: Arming) -> Outcome<()>;
    /// Removes an entry (and its image). Refuses the entry that was booted and is blessed.
    fn remove(&self, stem: &str) -> Outcome<()>;
    /// Takes the counter off an entry.
    fn bless(&self, stem: &str) -> Outcome<()>;
    /// Makes an entry the default whatever its version; `None` leaves the choice to the loader.
    fn pin(&self, stem: Option<&str>) -> Outcome<()>;
    /// Health was seen: the initramfs's attempt record starts again from nothing.
    fn clear_attempts(&self) -> Outcome<()>;
    /// Removes staged images and temporary files of ours that are not in `keep`.
    fn sweep(&self, keep: &[Digest]) -> Outcome<()>;
}

/// Where releases come from: a repository over HTTP, a directory, a bundle.
pub trait Fetch: Debug + Send + Sync {
    /// A whole small file of at most `limit` bytes relative to the metadata URL; `None` where the
    /// source says that there is none.
    fn metadata(&self, name: &str, limit: u64) -> Outcome<Option<Vec<u8>>>;
    /// A whole small file of at most `limit` bytes relative to the targets URL.
    fn target(&self, path: &str, limit: u64) -> Outcome<Option<Vec<u8>>>;
    /// The bytes `range` of a file relative to the targets URL, in order, in pieces.
    fn range(
        &self,
        path: &str,
        range: Range<u64>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Outcome<()>;
    /// What the source sent last did not verify: later calls go to another mirror, so that one bad
    /// mirror cannot end the search. `false` where there is no other.
    fn distrust(&self) -> bool {
        false
    }
}

/// Runs health checks: what they say now, one result a check. Bounded in time by each check's
/// timeout; a check that cannot be run is a result that says so, never a pass.
pub trait Health: Debug + Send + Sync {
    /// Runs the checks once. `alive` is called every second or so, for whoever watches whether the
    /// caller stands still.
    fn run(&self, checks: &[Check], alive: &dyn Fn()) -> Outcome<Vec<CheckResult>>;
    /// The checks that publisher and owner define on this node.
    fn checks(&self) -> Outcome<Vec<Check>>;
}

/// What a gate answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateAnswer {
    /// The reboot may happen.
    Open,
    /// Somebody postpones it.
    Held {
        /// Who holds it and why, for `why`.
        by: String,
    },
}

/// Whoever may postpone a reboot.
pub trait RebootGate: Debug + Send + Sync {
    /// Asks all gates. A gate that gives out places has given one with its yes.
    fn ask(&self) -> Outcome<GateAnswer>;
    /// Gives back what a yes had given: the node runs, and is well. May be repeated.
    fn steady(&self) -> Outcome<()> {
        Ok(())
    }
}

/// What a collector of reports made of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// It has it.
    Taken,
    /// It will never take it; why, in its words.
    Refused {
        /// Why.
        why: String,
    },
}

/// Whoever is told how updates end.
pub trait Collector: Debug + Send + Sync {
    /// Whether there is anybody to tell.
    fn wanted(&self) -> bool;
    /// Sends one signed report. An error is worth another try.
    fn send(&self, report: &[u8]) -> Outcome<Receipt>;
}

/// The power button.
pub trait Power: Debug + Send + Sync {
    /// Asks for a reboot. On a real machine the process is stopped soon after this returned.
    fn reboot(&self, reason: &str) -> Outcome<()>;
}

/// All ports of one machine.
#[derive(Debug, Clone, Copy)]
pub struct Ports<'a> {
    /// Clocks.
    pub clock: &'a dyn Clock,
    /// Kernel facts.
    pub system: &'a dyn System,
    /// Records.
    pub store: &'a dyn Store,
    /// Slots.
    pub disk: &'a dyn Disk,
    /// Bootloader.
    pub bootloader: &'a dyn Bootloader,
    /// Releases.
    pub fetch: &'a dyn Fetch,
    /// Health checks.
    pub health: &'a dyn Health,
    /// Reboot gates.
    pub gate: &'a dyn RebootGate,
    /// Reports.
    pub collector: &'a dyn Collector,
    /// Reboot.
    pub power: &'a dyn Power,
}
