//! What the owner of the node wants, as far as the state machine needs it.

use twinroot_trust::release::Identity;

use super::event::Goal;
use super::state::Wish;
use crate::schedule::Schedule;

/// The owner's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What the node is; a manifest for something else is refused.
    pub identity: Identity,
    /// How far the node goes without being asked.
    pub goal: Goal,
    /// Tries that a new entry is given.
    pub tries: u32,
    /// Tries at one release without progress before a person must look at it.
    pub max_attempts: u32,
    /// Milliseconds since boot by which a trial must have ended well.
    pub trial_deadline: u64,
    /// Oldest metadata, in milliseconds, on which a reboot may rely when a fresh look fails.
    pub metadata_max_age: u64,
    /// When the node may restart by itself.
    pub schedule: Schedule,
}

impl Policy {
    /// What the node does by itself.
    #[must_use]
    pub const fn standing_wish(&self) -> Wish {
        Wish {
            goal: self.goal,
            version: None,
            force: false,
            by_person: false,
        }
    }
}
