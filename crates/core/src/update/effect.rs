//! What the loop is told to do. Effects are data; `agent::perform` is the only one who acts, and
//! every effect can be repeated.

use alloc::string::String;
use alloc::vec::Vec;

use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;

use super::candidate::{Candidate, Proven, SavedRelease};
use super::event::HealthPurpose;
use super::saved::Saved;
use crate::records::RecordChange;
use crate::slot::InactiveSlot;

/// How an entry is to be armed; the loader's port has the same two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmMode {
    /// The loader counts and sorts it first.
    Counted {
        /// Tries given.
        tries: u32,
    },
    /// For the next boot alone, with the known-good entry pinned as default.
    OneShot {
        /// Tries in its name.
        tries: u32,
    },
}

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Write down where the update stands. Comes before anything that changes disk or bootloader.
    Persist(Saved),
    /// Change floor, deny list, pin, pause or known releases, durably.
    SaveRecords(RecordChange),
    /// Fresh signed metadata is evidence that it is at least this late; never falls.
    TrustTime(UnixTime),
    /// Refresh signed metadata and list the channel's releases.
    Refresh,
    /// Verify the stored signed bytes of a release again.
    Reverify(SavedRelease),
    /// Make entries unbootable (those of the slot that is going to be written).
    Disarm(Vec<String>),
    /// Write the release to the inactive slot and its UKI beside the entries.
    Write {
        /// Where to.
        slot: InactiveSlot,
        /// What.
        candidate: Candidate,
    },
    /// Read the slot back past the cache, compute its root hash, and only if it is the signed one
    /// make the slot's hash tree whole.
    Prove {
        /// Where.
        slot: InactiveSlot,
        /// What it must be.
        candidate: Candidate,
    },
    /// Make the bootloader try the release.
    Arm {
        /// What was proven.
        proven: Proven,
        /// How.
        mode: ArmMode,
    },
    /// Make an entry the default (`None`: leave it to the loader).
    Pin(Option<String>),
    /// Ask whoever may postpone a reboot.
    AskGate,
    /// Restart.
    Reboot {
        /// For the log and the console.
        reason: String,
    },
    /// Run the health checks once.
    RunHealth {
        /// What for.
        purpose: HealthPurpose,
        /// Release on trial, whose manifest adds checks.
        candidate: Option<Candidate>,
    },
    /// Take the counter off an entry.
    Bless(String),
    /// Health was seen in this boot.
    ClearAttempts,
    /// Remove an entry that must not boot again.
    Retire(String),
    /// Write a line of history.
    Note(Note),
    /// Remove signed bytes and staged images of releases that are in no slot.
    Sweep(Vec<Digest>),
}

/// A line of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What ended, in a fixed word: `staged`, `activated`, `committed`, `rolled-back`, `denied`,
    /// `repaired`, `dropped`, `forced`, `asked`, `trial-failed`, `kept`, `degraded`, `ignored`.
    pub what: &'static str,
    /// The release it was about.
    pub release: Option<SavedRelease>,
    /// One sentence.
    pub detail: String,
}

/// An effect without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKind {
    /// See [`Effect::Persist`].
    Persist,
    /// See [`Effect::SaveRecords`].
    SaveRecords,
    /// See [`Effect::TrustTime`].
    TrustTime,
    /// See [`Effect::Refresh`].
    Refresh,
    /// See [`Effect::Reverify`].
    Reverify,
    /// See [`Effect::Disarm`].
    Disarm,
    /// See [`Effect::Write`].
    Write,
    /// See [`Effect::Prove`].
    Prove,
    /// See [`Effect::Arm`].
    Arm,
    /// See [`Effect::Pin`].
    Pin,
    /// See [`Effect::AskGate`].
    AskGate,
    /// See [`Effect::Reboot`].
    Reboot,
    /// See [`Effect::RunHealth`].
    RunHealth,
    /// See [`Effect::Bless`].
    Bless,
    /// See [`Effect::ClearAttempts`].
    ClearAttempts,
    /// See [`Effect::Retire`].
    Retire,
    /// See [`Effect::Note`].
    Note,
    /// See [`Effect::Sweep`].
    Sweep,
}

impl Effect {
    /// Which effect it is.
    #[must_use]
    pub const fn kind(&self) -> EffectKind {
        match self {
            Self::Persist(_) => EffectKind::Persist,
            Self::SaveRecords(_) => EffectKind::SaveRecords,
            Self::TrustTime(_) => EffectKind::TrustTime,
            Self::Refresh => EffectKind::Refresh,
            Self::Reverify(_) => EffectKind::Reverify,
            Self::Disarm(_) => EffectKind::Disarm,
            Self::Write { .. } => EffectKind::Write,
            Self::Prove { .. } => EffectKind::Prove,
            Self::Arm { .. } => EffectKind::Arm,
            Self::Pin(_) => EffectKind::Pin,
            Self::AskGate => EffectKind::AskGate,
            Self::Reboot { .. } => EffectKind::Reboot,
            Self::RunHealth { .. } => EffectKind::RunHealth,
            Self::Bless(_) => EffectKind::Bless,
            Self::ClearAttempts => EffectKind::ClearAttempts,
            Self::Retire(_) => EffectKind::Retire,
            Self::Note(_) => EffectKind::Note,
            Self::Sweep(_) => EffectKind::Sweep,
        }
    }
}

impl EffectKind {
    /// Whether it changes a slot or the bootloader. At most one such effect stands in a transition,
    /// and [`Effect::Persist`] stands before it (DESIGN section 5).
    #[must_use]
    pub const fn changes_the_machine(self) -> bool {
        matches!(
            self,
            Self::Disarm
                | Self::Write
                | Self::Prove
                | Self::Arm
                | Self::Pin
                | Self::Reboot
                | Self::Bless
                | Self::ClearAttempts
                | Self::Retire
        )
    }

    /// Whether the loop answers it with [`super::Event::Done`]. The others answer with an event of
    /// their own, or with nothing (`Persist` and `Note` are done when they return).
    #[must_use]
    pub const fn answers_done(self) -> bool {
        matches!(
            self,
            Self::SaveRecords
                | Self::Disarm
                | Self::Arm
                | Self::Pin
                | Self::Reboot
                | Self::Bless
                | Self::ClearAttempts
                | Self::Retire
        )
    }
}
