//! Why nothing happens: every reason for which an update waits, in one sentence, with what a
//! person can do. `status` and `why` print these and invent nothing of their own.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use twinroot_trust::time::{Seconds, UnixTime};

use crate::text::{size, span};

/// A reason to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    tag = "code",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum WaitReason {
    /// The newest release that this node may have is the one it runs.
    NoNewerRelease {
        /// The version that runs.
        running: String,
    },
    /// The next check comes later.
    NextCheckAt {
        /// When.
        at: UnixTime,
    },
    /// The publisher has released something, but its rollout policy does not offer it yet.
    NotOffered {
        /// The version that the channel lists.
        version: String,
    },
    /// The rollout reaches this node later.
    WaveOpensAt {
        /// The version that waits.
        version: String,
        /// When the wave that this node belongs to opens.
        at: UnixTime,
    },
    /// The publisher has paused the rollout.
    RolloutPaused {
        /// The version that waits.
        version: String,
    },
    /// The publisher has withdrawn the release.
    Withdrawn {
        /// The version that was withdrawn.
        version: String,
    },
    /// A person has paused updates on this node.
    PausedLocally {
        /// Since when.
        since: UnixTime,
    },
    /// A person has pinned this node to a version.
    Pinned {
        /// The version it is pinned to.
        version: String,
    },
    /// The strategy stages and leaves the rest to a person.
    StagedOnly {
        /// The version that is staged.
        version: String,
    },
    /// The strategy does nothing by itself.
    ManualStrategy {
        /// The version that is available.
        version: String,
    },
    /// Somebody postpones the reboot.
    GateHeld {
        /// The gate: a file's path, a lock server, a pool.
        gate: String,
        /// Who holds it, in the gate's own words.
        holder: String,
    },
    /// Reboots are allowed later.
    WindowOpensAt {
        /// When.
        at: UnixTime,
    },
    /// No window within a year lets the release through.
    NoWindow {
        /// Its version.
        version: String,
    },
    /// The fallback slot is kept until shortly before the window.
    StagesAt {
        /// The version that waits.
        version: String,
        /// When writing the other slot begins.
        at: UnixTime,
    },
    /// A person holds the restart.
    Held {
        /// Since when.
        since: UnixTime,
        /// Until when; without it until it is lifted.
        until: Option<UnixTime>,
        /// The person's words.
        reason: String,
    },
    /// The node goes back and was told to leave the restart to somebody.
    RollbackNeedsReboot {
        /// The version that is left.
        from: String,
    },
    /// The release is on the deny list.
    Denied {
        /// Its version.
        version: String,
        /// Since when.
        since: UnixTime,
        /// Why it was denied.
        reason: String,
    },
    /// The release needs an earlier one first, and that one is not to be had.
    Barrier {
        /// The version wanted.
        version: String,
        /// The release that must come first.
        first: String,
    },
    /// The release lies below the floor.
    BelowFloor {
        /// Its version.
        version: String,
        /// The floor.
        floor: String,
    },
    /// The machine lacks something that the release requires.
    RequirementMissing {
        /// Its version.
        version: String,
        /// What is required, as the manifest says it (`cpu x86-64-v3`).
        requirement: String,
    },
    /// The node's software is too old to understand the release.
    ClientTooOld {
        /// Its version.
        version: String,
        /// The release that helps, where the manifest names one.
        first: Option<String>,
    },
    /// Too little space.
    SpaceShort {
        /// Where: a slot's label or a mount point.
        place: String,
        /// Bytes that are missing.
        by: u64,
    },
    /// The repository's metadata has expired.
    MetadataExpired {
        /// Which, since when, and what the clock says.
        cause: String,
    },
    /// The metadata at hand is older than may be relied on before a reboot.
    MetadataTooOld {
        /// Its age.
        age: Seconds,
        /// The age allowed.
        allowed: Seconds,
    },
    /// The clock is not to be trusted.
    ClockUntrusted {
        /// What the system clock says.
        clock: UnixTime,
    },
    /// The repository cannot be reached.
    Offline {
        /// When the next try comes.
        next_try: UnixTime,
        /// What the last try met.
        cause: String,
    },
    /// Too many failures in a row; the pause grows.
    BackingOff {
        /// When the next try comes.
        next_try: UnixTime,
        /// What failed last.
        cause: String,
    },
    /// The workload was unhealthy before the update.
    UnhealthyBefore {
        /// The check that fails.
        check: String,
    },
    /// The new release is on probation.
    OnProbation {
        /// Its version.
        version: String,
        /// When probation ends if all stays well.
        until: UnixTime,
    },
    /// The other slot is not proven to boot, so that it must not be overwritten or left.
    FallbackUnproven {
        /// The other slot.
        slot: String,
    },
    /// The machine has to restart for the release to run.
    RebootNeeded {
        /// The version that is activated.
        version: String,
    },
    /// A person must act; trying again would repeat the failure.
    OperatorNeeded {
        /// The stable code of the failure.
        failure: String,
        /// Its subject and cause.
        detail: String,
    },
}

impl WaitReason {
    /// The stable kebab-case name, the same as in JSON.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            WaitReason::NoNewerRelease { .. } => "no-newer-release",
            WaitReason::NextCheckAt { .. } => "next-check-at",
            WaitReason::NotOffered { .. } => "not-offered",
            WaitReason::WaveOpensAt { .. } => "wave-opens-at",
            WaitReason::RolloutPaused { .. } => "rollout-paused",
            WaitReason::Withdrawn { .. } => "withdrawn",
            WaitReason::PausedLocally { .. } => "paused-locally",
            WaitReason::Pinned { .. } => "pinned",
            WaitReason::StagedOnly { .. } => "staged-only",
            WaitReason::ManualStrategy { .. } => "manual-strategy",
            WaitReason::GateHeld { .. } => "gate-held",
            WaitReason::WindowOpensAt { .. } => "window-opens-at",
            WaitReason::NoWindow { .. } => "no-window",
            WaitReason::StagesAt { .. } => "stages-at",
            WaitReason::Held { .. } => "held",
            WaitReason::RollbackNeedsReboot { .. } => "rollback-needs-reboot",
            WaitReason::Denied { .. } => "denied",
            WaitReason::Barrier { .. } => "barrier",
            WaitReason::BelowFloor { .. } => "below-floor",
            WaitReason::RequirementMissing { .. } => "requirement-missing",
            WaitReason::ClientTooOld { .. } => "client-too-old",
            WaitReason::SpaceShort { .. } => "space-short",
            WaitReason::MetadataExpired { .. } => "metadata-expired",
            WaitReason::MetadataTooOld { .. } => "metadata-too-old",
            WaitReason::ClockUntrusted { .. } => "clock-untrusted",
            WaitReason::Offline { .. } => "offline",
            WaitReason::BackingOff { .. } => "backing-off",
            WaitReason::UnhealthyBefore { .. } => "unhealthy-before",
            WaitReason::OnProbation { .. } => "on-probation",
            WaitReason::FallbackUnproven { .. } => "fallback-unproven",
            WaitReason::RebootNeeded { .. } => "reboot-needed",
            WaitReason::OperatorNeeded { .. } => "operator-needed",
        }
    }

    /// What it waits for, in one sentence without a full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            WaitReason::NoNewerRelease { running } => {
                format!("{running} runs, and there is no newer release for this node")
            }
            WaitReason::NextCheckAt { at } => format!("the next check is at {}", at),
            WaitReason::NotOffered { version } => {
                format!("{version} is released, but its rollout has not begun")
            }
            WaitReason::WaveOpensAt { version, at } => {
                format!("the rollout of {version} reaches this node at {}", at)
            }
            WaitReason::RolloutPaused { version } => {
                format!("the publisher has paused the rollout of {version}")
            }
            WaitReason::Withdrawn { version } => {
                format!("the publisher has withdrawn {version}")
            }
            WaitReason::PausedLocally { since } => {
                format!("updates are paused on this node since {}", since)
            }
            WaitReason::Pinned { version } => format!("this node is pinned to {version}"),
            WaitReason::StagedOnly { version } => {
                format!(
                    "{version} is staged, and this node's strategy leaves activation to a person"
                )
            }
            WaitReason::ManualStrategy { version } => {
                format!("{version} is available, and this node's strategy leaves all to a person")
            }
            WaitReason::GateHeld { gate, holder } => {
                format!("the reboot is postponed by {holder} through {gate}")
            }
            WaitReason::WindowOpensAt { at } => {
                format!("the next window for reboots opens at {}", at)
            }
            WaitReason::NoWindow { version } => {
                format!("no window within the next year lets {version} restart this node")
            }
            WaitReason::StagesAt { version, at } => format!(
                "{version} is written to the other slot at {at}, shortly before the next window, so that the fallback is kept until then"
            ),
            WaitReason::Held {
                since,
                until: Some(until),
                reason,
            } => format!("a person holds the restart since {since} until {until}: {reason}"),
            WaitReason::Held {
                since,
                until: None,
                reason,
            } => format!("a person holds the restart since {since}: {reason}"),
            WaitReason::RollbackNeedsReboot { from } => {
                format!("the node leaves {from} at the next restart, which was left to a person")
            }
            WaitReason::Denied {
                version,
                since,
                reason,
            } => {
                format!("{version} is denied on this node since {}: {reason}", since)
            }
            WaitReason::Barrier { version, first } => {
                format!("{version} can be reached only through {first}, which is not to be had")
            }
            WaitReason::BelowFloor { version, floor } => {
                format!("{version} lies below the floor {floor}")
            }
            _ => self.sentence_about_the_machine(),
        }
    }

    /// The second half of [`Self::sentence`]: reasons that lie in the machine or its surroundings.
    fn sentence_about_the_machine(&self) -> String {
        match self {
            WaitReason::RequirementMissing {
                version,
                requirement,
            } => {
                format!("{version} requires {requirement}, which this machine lacks")
            }
            WaitReason::ClientTooOld {
                version,
                first: Some(first),
            } => {
                format!("{version} needs a newer updater; {first} brings it")
            }
            WaitReason::ClientTooOld {
                version,
                first: None,
            } => {
                format!("{version} needs a newer updater, and names no release that brings it")
            }
            WaitReason::SpaceShort { place, by } => {
                format!("{place} is too small by {}", size(*by))
            }
            WaitReason::MetadataExpired { cause } => {
                format!("the repository's signed metadata counts no longer: {cause}")
            }
            WaitReason::MetadataTooOld { age, allowed } => format!(
                "the metadata at hand is {} old, and {} is allowed before a reboot",
                span(*age),
                span(*allowed)
            ),
            WaitReason::ClockUntrusted { clock } => {
                format!("the clock says {}, which cannot be right", clock)
            }
            WaitReason::Offline { next_try, cause } => format!(
                "the repository cannot be reached ({cause}); the next try is at {}",
                next_try
            ),
            WaitReason::BackingOff { next_try, cause } => {
                format!("the last try failed ({cause}); the next is at {}", next_try)
            }
            WaitReason::UnhealthyBefore { check } => {
                format!("the workload is unhealthy already before the update: {check} fails")
            }
            WaitReason::OnProbation { version, until } => {
                format!("{version} is on probation until {}", until)
            }
            WaitReason::FallbackUnproven { slot } => {
                format!("{slot} is not proven to boot, so that there is no safe way back")
            }
            WaitReason::RebootNeeded { version } => {
                format!("{version} is activated and runs after the next reboot")
            }
            WaitReason::OperatorNeeded { failure, detail } => {
                format!("a person must act: {detail} [{failure}]")
            }
            // Every reason left is worded by `sentence`, which calls this only for the ones above;
            // the test over all reasons holds both to that.
            _ => String::from(self.code()),
        }
    }

    /// What a person can do, in one clause without a full stop.
    #[must_use]
    pub fn remedy(&self) -> Cow<'static, str> {
        let text = match self {
            WaitReason::NoNewerRelease { .. } => "nothing to do",
            WaitReason::NextCheckAt { .. } => "`twinroot check` checks now",
            WaitReason::NotOffered { .. } | WaitReason::WaveOpensAt { .. } => {
                "wait, or take it now with `twinroot apply --force`"
            }
            WaitReason::RolloutPaused { .. } => "wait until the publisher resumes it",
            WaitReason::Withdrawn { .. } => "wait for the next release",
            WaitReason::PausedLocally { .. } => "`twinroot resume`",
            WaitReason::Pinned { .. } => "`twinroot pin --clear`",
            WaitReason::StagedOnly { .. } => "`twinroot activate`, then `twinroot reboot`",
            WaitReason::ManualStrategy { .. } => "`twinroot apply`",
            WaitReason::GateHeld { .. } => "release the gate, or ask its holder",
            WaitReason::WindowOpensAt { .. } | WaitReason::StagesAt { .. } => {
                "wait, or `twinroot apply`"
            }
            WaitReason::NoWindow { .. } => {
                "add a window or end a freeze in `reboot`, or `twinroot apply`"
            }
            WaitReason::Held { .. } => "`twinroot hold --clear`",
            WaitReason::RollbackNeedsReboot { .. } => "`twinroot reboot`",
            WaitReason::Denied { version, .. } => {
                return Cow::Owned(format!(
                    "wait for a newer release, or `twinroot undeny {version}` after finding out why"
                ));
            }
            WaitReason::Barrier { first, .. } => {
                return Cow::Owned(format!("the publisher must offer {first} again"));
            }
            WaitReason::BelowFloor { .. } => "choose a release at or above the floor",
            WaitReason::RequirementMissing { .. } => {
                "stay on the older release or change the machine"
            }
            WaitReason::ClientTooOld { .. } => "install the release that is named first",
            WaitReason::SpaceShort { .. } => "free some space, or install anew with larger slots",
            WaitReason::MetadataExpired { .. } => {
                "the publisher must sign again; check this node's clock too"
            }
            WaitReason::MetadataTooOld { .. } => "let the node reach the repository",
            WaitReason::ClockUntrusted { .. } => "set the clock or let it synchronise",
            WaitReason::Offline { .. } => "look at the network and at the repository's URL",
            WaitReason::BackingOff { .. } => "wait, or `twinroot check` tries now",
            WaitReason::UnhealthyBefore { .. } => "repair the workload first",
            WaitReason::OnProbation { .. } => "wait, or go back with `twinroot rollback`",
            WaitReason::FallbackUnproven { .. } => "let the repair of that slot finish",
            WaitReason::RebootNeeded { .. } => "`twinroot reboot`",
            WaitReason::OperatorNeeded { .. } => {
                "do what the failure's remedy says, then `twinroot check`"
            }
        };
        Cow::Borrowed(text)
    }
}

pub mod table;

#[cfg(test)]
mod tests;
