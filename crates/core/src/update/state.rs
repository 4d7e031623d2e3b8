//! Where an update stands. Each phase carries its data, and every phase that waits carries its
//! reason, so that `why` has nothing to invent.

use alloc::string::String;
use alloc::vec::Vec;

use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use super::candidate::{Candidate, Proven, SavedRelease};
use super::event::Goal;
use crate::error::Failure;
use crate::facts::BootTime;
use crate::why::WaitReason;

/// What was asked for, and holds until it is reached or something else is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How far.
    pub goal: Goal,
    /// This version only.
    pub version: Option<Version>,
    /// Against memory and schedule.
    pub force: bool,
    /// Asked by a person: clears the attempt counter.
    pub by_person: bool,
}

/// Tries at one release that ended without progress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attempts {
    /// The release.
    pub release: Option<Digest>,
    /// How many.
    pub count: u32,
}

/// The whole state.
#[derive(Debug, Clone)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// What is wanted.
    pub wish: Wish,
    /// Failed tries.
    pub attempts: Attempts,
    /// When signed metadata was last found fresh, in this boot.
    pub refreshed: Option<BootTime>,
    /// Health was seen in this boot, whatever for.
    pub healthy: bool,
    /// Checks that failed before the release under way was activated: not blamed on it.
    pub ill_before: Vec<String>,
}

/// Whether the new system's own agent has looked at the repository. A release that cannot would never
/// update again, so that it is seen before the release is blessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnLook {
    /// Not yet: health comes first.
    NotYet,
    /// Health has held and the look is under way.
    UnderWay {
        /// Remote checks that are lost, where the slot is kept without them.
        lost: Vec<String>,
    },
    /// It failed at that time, in a way that may be the release's.
    Failed {
        /// When.
        at: BootTime,
        /// How.
        failure: Failure,
    },
}

/// Why the phase `Checking` was entered.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// To find a release.
    Look,
    /// To see, before the reboot, that the activated release was not withdrawn.
    BeforeReboot(Proven),
    /// To verify again, after a restart, what had been verified.
    Resume {
        /// The release.
        saved: SavedRelease,
        /// Where it stood.
        at: Resume,
    },
}

/// Where a release stood when the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Being written.
    Staging,
    /// Written and proven.
    Staged,
    /// The loader was told.
    Activated,
    /// Being written over a slot that went bad.
    Repairing,
}

/// Steps of writing a slot, each one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageStep {
    /// Entries of the slot become unbootable.
    Disarm,
    /// Blocks and UKI are written.
    Write,
    /// The slot is read back.
    Prove,
}

/// Steps of activating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivateStep {
    /// Is the workload healthy now?
    Health,
    /// The known-good entry is pinned, where the loader is not seen to count.
    PinGood,
    /// The new entry is written.
    Arm,
    /// A pin left by a manual rollback is cleared.
    Unpin,
    /// Done; waits for the reboot.
    Armed,
}

/// What is on trial, or was: known from the booted system alone where the records are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnTrial {
    /// The release, as far as it is known.
    pub release: SavedRelease,
    /// Stem of its entry.
    pub stem: String,
}

/// Why the node goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The trial failed.
    Trial(Failure),
    /// A person asked, with this reason; restart at once or when it suits.
    Person {
        /// The person's words.
        reason: String,
        /// At once.
        reboot: bool,
    },
}

/// Steps of going back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackStep {
    /// Remember the release that is left.
    Deny,
    /// Pin the other entry (manual), or retire the one on trial.
    Switch,
    /// Wait for the reboot.
    Reboot,
    /// On the other slot: remove the entry of the release that was left.
    Retire,
}

/// Steps of blessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlessStep {
    /// The pin moves to the new entry, where there is one.
    Pin,
    /// The counter comes off.
    Bless,
}

/// Steps of committing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitStep {
    /// The attempt record starts anew.
    ClearAttempts,
    /// The floor rises.
    Floor,
    /// A fallback that the release revokes is made unbootable.
    Retire,
}

/// Steps of denying after the loader gave up a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyStep {
    /// Remember.
    Record,
    /// Remove its entry.
    Retire,
}

/// The phases of DESIGN section 5.
#[derive(Debug, Clone)]
pub enum Phase {
    /// Nothing to do.
    Idle {
        /// Why not.
        reason: WaitReason,
    },
    /// Looking at signed metadata.
    Checking {
        /// What for.
        purpose: Purpose,
    },
    /// A release is there and acceptable.
    Available {
        /// It.
        candidate: Candidate,
        /// Why it is not being staged.
        reason: WaitReason,
    },
    /// The inactive slot is being written.
    Staging {
        /// With this.
        candidate: Candidate,
        /// How far.
        step: StageStep,
    },
    /// The inactive slot holds the release, proven.
    Staged {
        /// The proof.
        proven: Proven,
        /// Why it is not activated.
        reason: WaitReason,
    },
    /// The loader is being told, or has been.
    Activated {
        /// What it will try.
        proven: Proven,
        /// How far.
        step: ActivateStep,
        /// Why the node does not restart.
        reason: WaitReason,
    },
    /// The restart was asked for.
    Rebooting {
        /// Into what.
        to: SavedRelease,
    },
    /// A slot that is not blessed runs.
    Trial {
        /// What runs.
        trial: OnTrial,
        /// Its verified manifest, once it was verified again by this system's own anchor.
        candidate: Option<Candidate>,
        /// Whether this system's agent has looked at the repository.
        look: OwnLook,
    },
    /// Health has held; the loader is being told.
    Blessing {
        /// What runs.
        trial: OnTrial,
        /// Its manifest.
        candidate: Option<Candidate>,
        /// How far.
        step: BlessStep,
    },
    /// The update as a whole succeeds.
    Committing {
        /// What runs.
        trial: OnTrial,
        /// Its manifest.
        candidate: Option<Candidate>,
        /// How far.
        step: CommitStep,
    },
    /// The node goes back.
    RollingBack {
        /// What it leaves.
        from: OnTrial,
        /// Why.
        cause: Cause,
        /// How far.
        step: BackStep,
    },
    /// The loader gave a release up; it is remembered.
    Denying {
        /// What.
        release: OnTrial,
        /// Why.
        failure: Failure,
        /// How far.
        step: DenyStep,
    },
    /// A good release is written over a slot that went bad.
    Repairing {
        /// What is written.
        candidate: Candidate,
        /// How far.
        step: StageStep,
    },
    /// Trying again would repeat the failure.
    Blocked {
        /// It.
        failure: Failure,
    },
}

/// Names of the phases, for status, metrics and the printed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseName {
    /// See [`Phase::Idle`].
    Idle,
    /// See [`Phase::Checking`].
    Checking,
    /// See [`Phase::Available`].
    Available,
    /// See [`Phase::Staging`].
    Staging,
    /// See [`Phase::Staged`].
    Staged,
    /// See [`Phase::Activated`].
    Activated,
    /// See [`Phase::Rebooting`].
    Rebooting,
    /// See [`Phase::Trial`].
    Trial,
    /// See [`Phase::Blessing`].
    Blessing,
    /// See [`Phase::Committing`].
    Committing,
    /// See [`Phase::RollingBack`].
    RollingBack,
    /// See [`Phase::Denying`].
    Denying,
    /// See [`Phase::Repairing`].
    Repairing,
    /// See [`Phase::Blocked`].
    Blocked,
}

impl PhaseName {
    /// All, in the order of an update's life.
    pub const ALL: [Self; 14] = [
        Self::Idle,
        Self::Checking,
        Self::Available,
        Self::Staging,
        Self::Staged,
        Self::Activated,
        Self::Rebooting,
        Self::Trial,
        Self::Blessing,
        Self::Committing,
        Self::RollingBack,
        Self::Denying,
        Self::Repairing,
        Self::Blocked,
    ];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Checking => "checking",
            Self::Available => "available",
            Self::Staging => "staging",
            Self::Staged => "staged",
            Self::Activated => "activated",
            Self::Rebooting => "rebooting",
            Self::Trial => "trial",
            Self::Blessing => "blessing",
            Self::Committing => "committing",
            Self::RollingBack => "rolling-back",
            Self::Denying => "denying",
            Self::Repairing => "repairing",
            Self::Blocked => "blocked",
        }
    }
}

impl Phase {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> PhaseName {
        match self {
            Self::Idle { .. } => PhaseName::Idle,
            Self::Checking { .. } => PhaseName::Checking,
            Self::Available { .. } => PhaseName::Available,
            Self::Staging { .. } => PhaseName::Staging,
            Self::Staged { .. } => PhaseName::Staged,
            Self::Activated { .. } => PhaseName::Activated,
            Self::Rebooting { .. } => PhaseName::Rebooting,
            Self::Trial { .. } => PhaseName::Trial,
            Self::Blessing { .. } => PhaseName::Blessing,
            Self::Committing { .. } => PhaseName::Committing,
            Self::RollingBack { .. } => PhaseName::RollingBack,
            Self::Denying { .. } => PhaseName::Denying,
            Self::Repairing { .. } => PhaseName::Repairing,
            Self::Blocked { .. } => PhaseName::Blocked,
        }
    }

    /// Why it waits, where it does.
    #[must_use]
    pub const fn reason(&self) -> Option<&WaitReason> {
        match self {
            Self::Idle { reason }
            | Self::Available { reason, .. }
            | Self::Staged { reason, .. }
            | Self::Activated {
                reason,
                step: ActivateStep::Armed,
                ..
            } => Some(reason),
            Self::Checking { .. }
            | Self::Staging { .. }
            | Self::Activated { .. }
            | Self::Rebooting { .. }
            | Self::Trial { .. }
            | Self::Blessing { .. }
            | Self::Committing { .. }
            | Self::RollingBack { .. }
            | Self::Denying { .. }
            | Self::Repairing { .. }
            | Self::Blocked { .. } => None,
        }
    }

    /// Whether nothing goes on by itself: only an event from outside moves it.
    #[must_use]
    pub const fn is_at_rest(&self) -> bool {
        match self {
            Self::Idle { .. }
            | Self::Available { .. }
            | Self::Staged { .. }
            | Self::Activated {
                step: ActivateStep::Armed,
                ..
            }
            | Self::Rebooting { .. }
            | Self::RollingBack {
                step: BackStep::Reboot,
                ..
            }
            | Self::Blocked { .. } => true,
            Self::Checking { .. }
            | Self::Staging { .. }
            | Self::Activated { .. }
            | Self::Trial { .. }
            | Self::Blessing { .. }
            | Self::Committing { .. }
            | Self::RollingBack { .. }
            | Self::Denying { .. }
            | Self::Repairing { .. } => false,
        }
    }
}
