//! What can happen to an update: commands, answers of effects, the passing of time.

use alloc::string::String;
use alloc::vec::Vec;

use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use super::candidate::Candidate;
use super::effect::EffectKind;
use crate::error::Failure;
use crate::health::Verdict;
use crate::rollout::Offer;

/// How far a request goes by itself. Each includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// Look for a release.
    Check,
    /// Write and prove the inactive slot.
    Stage,
    /// Make the bootloader try it.
    Activate,
    /// Restart into it.
    Reboot,
}

/// What a person, or whoever may act for one, asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Go on until `goal`, with `version` or the newest acceptable release. `force` lets a denied
    /// or not yet offered release through; it is recorded.
    Update {
        /// How far.
        goal: Goal,
        /// This version only.
        version: Option<Version>,
        /// Against the node's own memory and schedule; never against signatures or the floor.
        force: bool,
    },
    /// Return to the other slot and stay there.
    Rollback {
        /// What the person says of it; becomes the reason of the denial.
        reason: String,
        /// Restart now.
        reboot: bool,
    },
    /// Write a good release over a slot that went bad.
    Repair,
    /// Remember a release as bad.
    Deny {
        /// Version, root hash (hex) or UKI digest (hex).
        release: String,
        /// Why.
        reason: String,
        /// Until when; `None` until it is forgotten.
        until: Option<UnixTime>,
    },
    /// Forget a denial.
    Undeny {
        /// Version, root hash (hex) or UKI digest (hex).
        release: String,
    },
    /// Stay at a version; `None` lifts it.
    Pin {
        /// The version to stay at.
        version: Option<Version>,
    },
    /// Do nothing by itself until `Resume`.
    Pause,
    /// Ends a pause.
    Resume,
    /// Do not restart until then, or until it is lifted; everything before the restart goes on.
    Hold {
        /// Until when; `None` until `Release`.
        until: Option<UnixTime>,
        /// Why.
        reason: String,
    },
    /// Ends a hold.
    Release,
}

/// One release that the channel lists, verified, with what the rollout says of it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The release.
    pub candidate: Candidate,
    /// Whether and when the signed rollout lets this node have it.
    pub offer: Offer,
}

/// What a check found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Releases of the node's channel, newest first; those at or below the running version end it.
    pub listed: Vec<Listed>,
    /// Releases that could not be read, with the reason (too new for this client, wrong software).
    pub unreadable: Vec<(String, Failure)>,
    /// Latest time proven by fresh signed metadata; the stored trusted time may rise to it.
    pub evidence: UnixTime,
}

/// What health checks say over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthVerdict {
    /// Not decided yet.
    Pending,
    /// All that is required has held for as long as it must.
    Good,
    /// All that this machine answers for holds. These remote checks do not, and it is not held
    /// against the release.
    Kept {
        /// Names of the checks.
        lost: Vec<String>,
    },
    /// Something required failed.
    Bad {
        /// The check.
        check: String,
        /// Its evidence.
        detail: String,
    },
}

impl From<Verdict> for HealthVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pending { .. } => Self::Pending,
            Verdict::Good => Self::Good,
            Verdict::Kept { lost } => Self::Kept { lost },
            Verdict::Bad { check, detail } => Self::Bad { check, detail },
        }
    }
}

/// Why health was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthPurpose {
    /// A slot on trial.
    Trial,
    /// The committed system after a start: ends the count of starts without health.
    Steady,
    /// Before a release is activated: what is ill already is not blamed on the update.
    Before,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// It is time to look for releases.
    CheckDue,
    /// It is time to look again at what is waited for (health, gate, deadline, wave).
    Tick,
    /// A request.
    Command(Command),
    /// `Refresh` is done.
    Checked(Checked),
    /// `Reverify` is done: signatures, by the anchor of the running system.
    Reverified(Candidate),
    /// `Write` is done; the bytes it took.
    Written {
        /// Bytes that were new on disk: progress that resets the attempt counter.
        progress: u64,
    },
    /// `Prove` is done: this is what the slot's bytes hash to.
    Proven {
        /// Root hash computed from the slot, read past the cache.
        computed: Digest,
    },
    /// `RunHealth` is done.
    Health(HealthPurpose, HealthVerdict),
    /// `AskGate` is done; who holds it, if somebody does.
    Gate {
        /// `None`: open.
        held_by: Option<String>,
    },
    /// Another effect is done.
    Done(EffectKind),
    /// An effect failed.
    Failed {
        /// Which.
        effect: EffectKind,
        /// How.
        failure: Failure,
        /// Bytes that were new on disk before it failed.
        progress: u64,
    },
}
