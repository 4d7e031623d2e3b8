//! The planted faults: mistakes of adapters, calls of the loop lost, swapped or bent, checks that do
//! not look, and replicas of bugs that other updaters had.

use twinroot_core::bootfmt::loader::Quirk;
use twinroot_sim::medium::sectors::FlushFault;
use twinroot_sim::plant::Plant;
use twinroot_sim::world::Machine;
use twinroot_tests::crash::histories::Book;

use super::between::{Act, Call};

/// Where the fault sits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Where {
    /// In an adapter.
    Adapter(Plant),
    /// In the store, whose promise is looked at by itself: the loop recovers from the world and so
    /// does without the record that is lost.
    Store(Plant),
    /// Between the loop and its ports.
    Loop(Act),
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// What is wrong.
    pub name: &'static str,
    /// The bug of another updater that it repeats, as the register of failures lists it.
    pub replica: Option<&'static str>,
    /// Where it sits.
    pub at: Where,
    /// Histories in which it is looked for: those whose name begins so.
    pub histories: &'static [&'static str],
    /// What goes wrong around it; the control runs this alone.
    pub around: Option<fn(&mut Machine, &Book)>,
}

const fn adapter(name: &'static str, plant: Plant, histories: &'static [&'static str]) -> Fault {
    Fault {
        name,
        replica: None,
        at: Where::Adapter(plant),
        histories,
        around: None,
    }
}

const fn between(name: &'static str, act: Act, histories: &'static [&'static str]) -> Fault {
    Fault {
        name,
        replica: None,
        at: Where::Loop(act),
        histories,
        around: None,
    }
}

impl Fault {
    const fn like(mut self, replica: &'static str) -> Self {
        self.replica = Some(replica);
        self
    }

    const fn around(mut self, change: fn(&mut Machine, &Book)) -> Self {
        self.around = Some(change);
        self
    }
}

fn no_counting(machine: &mut Machine, _: &Book) {
    machine.quirks = vec![Quirk::NoCounting];
}

fn read_only_for_the_loader(machine: &mut Machine, _: &Book) {
    machine.quirks = vec![Quirk::ReadOnlyEsp];
}

fn flush_fails_once(machine: &mut Machine, _: &Book) {
    // Of the four flushes of a hash tree (nothing claimed, tree twice, root block) the last: the one that
    // makes the slot whole.
    machine.slots[1].tree.next_flush = FlushFault::FailsAfter(3);
}

fn uki_arrives_damaged(machine: &mut Machine, book: &Book) {
    machine
        .source
        .faults
        .insert(book.uki_path("1.1"), book.flipped_byte());
}

/// All faults that must be seen.
pub(crate) const FAULTS: &[Fault] = &[
    // ---- a flush, fsync or sync is dropped
    adapter("slot data is not flushed", Plant::DataFlush, &["update"])
        .like("RAUC 2018: copy_raw_image had no fsync"),
    adapter("slot tree is not flushed", Plant::TreeFlush, &["update"]),
    adapter(
        "records are not fsynced before the rename",
        Plant::StoreFileSync,
        &["manual rollback", "failed"],
    )
    .like("python-tuf 7: metadata store renames without fsync"),
    Fault {
        name: "the folder is not fsynced after the rename",
        replica: None,
        at: Where::Store(Plant::StoreFolderSync),
        histories: &["install"],
        around: None,
    },
    adapter(
        "records are written in place",
        Plant::StoreInPlace,
        &["manual rollback", "failed", "update"],
    )
    .like("tough: metadata store written in place"),
    adapter(
        "the ESP is never synced",
        Plant::EspSync,
        &["update", "install"],
    ),
    adapter(
        "a failed flush is taken for one that worked",
        Plant::FlushErrorSwallowed,
        &["update"],
    )
    .around(flush_fails_once)
    .like("Mender MEN-3980: a failure before the reboot led forward into the half-written slot"),
    // ---- order inside the bootloader's verbs
    adapter("blessing renames", Plant::BlessByRename, &["install"]),
    adapter(
        "blessing removes the old name first",
        Plant::BlessRemovesFirst,
        &["install"],
    )
    .like("ostree 2283: neither deployment boots between two changes of links"),
    adapter(
        "blessing stops at two names of one entry",
        Plant::BlessStopsAtTwins,
        &["install", "update"],
    )
    .like("systemd 33504: blessing is a no-op if foo and foo+3 both exist"),
    adapter(
        "an image is deleted while it still is one",
        Plant::DeleteKeepsHead,
        &["committed release goes bad"],
    ),
    adapter(
        "arming writes a good entry",
        Plant::ArmUncounted,
        &["failed trial: panics"],
    )
    .like("Talos 7273: a failed upgrade had no way back"),
    adapter(
        "the boot image is never read back",
        Plant::UkiUnread,
        &["update"],
    )
    .around(uki_arrives_damaged)
    .like("Flatcar 1850: a kernel copied in part is left as the one to boot"),
    adapter(
        "removing takes the wrong entries",
        Plant::RemoveWrong,
        &["update", "failed"],
    )
    .like("Bottlerocket 949: a cancel wiped the wrong slot's validity"),
    adapter("a pin is not written", Plant::PinLost, &["manual rollback"])
        .like("greenboot 105: a rollback does not reorder, the next start is the new system again"),
    adapter(
        "a pin is not cleared",
        Plant::UnpinLost,
        &["update after manual rollback"],
    ),
    // ---- checks that do not look
    adapter(
        "health passes whatever it finds",
        Plant::HealthFailsOpen,
        &["failed trial: unhealthy"],
    ),
    adapter(
        "the slot that is written is the one that runs",
        Plant::WrongSlot,
        &["update"],
    ),
    between(
        "the deny list is not looked at",
        Act::DenialsUnread,
        &["failed trial: unhealthy"],
    )
    .like("FCOS 247 and 1938: a version that was rolled back is installed again"),
    between(
        "the deny list is kept by another name",
        Act::DenialsByOtherDigest,
        &["failed trial: unhealthy"],
    ),
    between(
        "the loader is believed to count",
        Act::CountingClaimed,
        &["panics, loader"],
    )
    .around(no_counting)
    .like("systemd 40405: counting was not applied at all"),
    between(
        "the loader is believed to rename",
        Act::CountingClaimed,
        &["panics, loader"],
    )
    .around(read_only_for_the_loader)
    .like("systemd 36170: a read-only ESP refuses the loader's rename"),
    between(
        "a trial is not seen as one",
        Act::TrialUnseen,
        &["failed trial: unhealthy", "update"],
    )
    .like("ue-rs 94: a start that looks good is taken for a good release"),
    // ---- off by one, or by more
    between("a trial gets no try at all", Act::Tries(0), &["update"]),
    between(
        "a trial gets tries for ever",
        Act::Tries(1000),
        &["failed trial: panics"],
    ),
    // ---- calls lost
    between(
        "records are never written",
        Act::Lose(Call::Records),
        &["failed trial: unhealthy", "manual rollback"],
    )
    .like("brupop 123: endless update after a rollback"),
    between(
        "the entry of the slot is not made unbootable first",
        Act::Lose(Call::Remove),
        &["update after manual rollback", "failed"],
    )
    .like("Bottlerocket 444: updating into nothing"),
    between("arming is forgotten", Act::Lose(Call::Arm), &["update"]),
    between(
        "pinning is forgotten",
        Act::Lose(Call::Pin),
        &["manual rollback"],
    ),
    between(
        "clearing the pin is forgotten",
        Act::Lose(Call::Unpin),
        &["update after manual rollback"],
    ),
    between("blessing is forgotten", Act::Lose(Call::Bless), &["update"])
        .like("RAUC 683: both slots' tries run down and the machine is stuck in the bootloader"),
    between(
        "the restart is forgotten",
        Act::Lose(Call::Reboot),
        &["update"],
    ),
    adapter(
        "nobody counts the starts of a committed slot",
        Plant::StartsUncounted,
        &["committed release goes bad"],
    )
    .like("systemd 29459: the counter is never armed again after the first good boot"),
    // ---- neighbouring effects swapped
    between(
        "arming comes before the proof",
        Act::ArmsBeforeProof,
        &["update"],
    ),
    between(
        "blessing comes before health",
        Act::BlessesBeforeHealth,
        &["update"],
    ),
    between(
        "pinning the good entry comes after arming",
        Act::Swap(Call::Pin),
        &["panics, loader"],
    ),
    between(
        "the floor does not wait for the fallback",
        Act::FloorTooHigh,
        &["update", "manual rollback"],
    ),
];

/// What must do no harm: every effect can be repeated.
pub(crate) const REPEATED: &[Call] = &[
    Call::State,
    Call::Records,
    Call::SignedBytes,
    Call::Metadata,
    Call::Remove,
    Call::Arm,
    Call::Pin,
    Call::Unpin,
    Call::Bless,
    Call::ClearAttempts,
];
