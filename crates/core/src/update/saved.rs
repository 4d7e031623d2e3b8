//! What is written down of the state: names and digests, never proofs. A type apart from
//! [`super::State`], so that reading a file can never make something look verified.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;

use super::candidate::SavedRelease;
use super::state::{Cause, OnTrial, Phase, Purpose, Resume, State};
use crate::error::Failure;

/// A saved phase; the checking phase is not saved as such, only what it was for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "phase",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum SavedPhase {
    /// Nothing under way.
    Idle,
    /// A slot is being written.
    Staging {
        /// With this.
        release: SavedRelease,
    },
    /// A slot was proven.
    Staged {
        /// To hold this.
        release: SavedRelease,
    },
    /// The loader is being told to try it, or was.
    Activated {
        /// It.
        release: SavedRelease,
    },
    /// The restart into it was asked for.
    Rebooting {
        /// It.
        release: SavedRelease,
    },
    /// It is being judged.
    Trial {
        /// It.
        release: SavedRelease,
    },
    /// It was found good.
    Blessing {
        /// It.
        release: SavedRelease,
    },
    /// It is blessed.
    Committing {
        /// It.
        release: SavedRelease,
    },
    /// The node goes back.
    RollingBack {
        /// From this.
        release: SavedRelease,
        /// The failure of the trial; none where a person asked.
        failure: Option<Failure>,
        /// The person's words.
        reason: String,
        /// Restart at once, or when it suits. Records before this field always meant at once.
        #[serde(default = "at_once")]
        reboot: bool,
    },
    /// A release is being remembered as bad.
    Denying {
        /// It.
        release: SavedRelease,
        /// Why.
        failure: Failure,
    },
    /// A slot that went bad is being written again.
    Repairing {
        /// With this.
        release: SavedRelease,
    },
    /// Trying again would repeat the failure.
    Blocked {
        /// It.
        failure: Failure,
    },
}

/// The saved state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Saved {
    /// Where it stood.
    #[serde(flatten)]
    pub phase: SavedPhase,
    /// The boot in which it was written.
    pub boot_id: String,
    /// The release of the failed tries.
    #[serde(default)]
    pub attempted: Option<Digest>,
    /// Tries without progress.
    #[serde(default)]
    pub attempts: u32,
    /// Checks that failed before the release was activated. Left out where there are none, so that
    /// older agents see no change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ill_before: Vec<String>,
}

impl Saved {
    /// What to write down of a state in this boot.
    #[must_use]
    pub fn of(state: &State, boot_id: &str) -> Self {
        Self {
            phase: SavedPhase::of(&state.phase),
            boot_id: String::from(boot_id),
            attempted: state.attempts.release,
            attempts: state.attempts.count,
            ill_before: state.ill_before.clone(),
        }
    }
}

/// What a saved rollback without the field `reboot` meant.
const fn at_once() -> bool {
    true
}

impl SavedPhase {
    fn of(phase: &Phase) -> Self {
        let release = |trial: &OnTrial| trial.release.clone();
        match phase {
            Phase::Idle { .. } | Phase::Available { .. } => Self::Idle,
            Phase::Checking { purpose } => Self::of_purpose(purpose),
            Phase::Staging { candidate, .. } => Self::Staging {
                release: candidate.saved(),
            },
            Phase::Staged { proven, .. } => Self::Staged {
                release: proven.candidate().saved(),
            },
            Phase::Activated { proven, .. } => Self::Activated {
                release: proven.candidate().saved(),
            },
            Phase::Rebooting { to } => Self::Rebooting {
                release: to.clone(),
            },
            Phase::Trial { trial, .. } => Self::Trial {
                release: release(trial),
            },
            Phase::Blessing { trial, .. } => Self::Blessing {
                release: release(trial),
            },
            Phase::Committing { trial, .. } => Self::Committing {
                release: release(trial),
            },
            Phase::RollingBack { from, cause, .. } => {
                let (failure, reason, reboot) = match cause {
                    Cause::Trial(failure) => (Some(failure.clone()), String::new(), true),
                    Cause::Person { reason, reboot } => (None, reason.clone(), *reboot),
                };
                Self::RollingBack {
                    release: release(from),
                    failure,
                    reason,
                    reboot,
                }
            }
            Phase::Denying {
                release: of,
                failure,
                ..
            } => Self::Denying {
                release: release(of),
                failure: failure.clone(),
            },
            Phase::Repairing { candidate, .. } => Self::Repairing {
                release: candidate.saved(),
            },
            Phase::Blocked { failure } => Self::Blocked {
                failure: failure.clone(),
            },
        }
    }

    fn of_purpose(purpose: &Purpose) -> Self {
        match purpose {
            Purpose::Look => Self::Idle,
            Purpose::BeforeReboot(proven) => Self::Activated {
                release: proven.candidate().saved(),
            },
            Purpose::Resume { saved, at } => {
                let release = saved.clone();
                match at {
                    Resume::Staging => Self::Staging { release },
                    Resume::Staged => Self::Staged { release },
                    Resume::Activated => Self::Activated { release },
                    Resume::Repairing => Self::Repairing { release },
                }
            }
        }
    }
}
