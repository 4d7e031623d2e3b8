//! `twinroot check`: what the repository has for this node, told after a look at it.

use serde::Deserialize;
use twinroot_core::health::{CheckState, Outcome as CheckOutcome};
use twinroot_core::update::{Phase, PhaseName};
use twinroot_core::why::WaitReason;
use twinroot_core::wire::{CheckReport, HeldBack, ReleaseRef, Schema};
use twinroot_ports::Outcome;
use twinroot_trust::time::UnixTime;

use super::{candidate, why};
use crate::agent::Agent;

/// What the look that the loop has just had found.
///
/// # Errors
/// What the store says.
pub fn check(agent: &Agent<'_>) -> Outcome<CheckReport> {
    let phase = &agent.state().phase;
    let available = match phase {
        Phase::Available { candidate: c, .. }
        | Phase::Staging { candidate: c, .. }
        | Phase::Repairing { candidate: c, .. } => Some(candidate(c)),
        Phase::Staged { proven, .. } | Phase::Activated { proven, .. } => {
            Some(candidate(proven.candidate()))
        }
        _ => None,
    };
    let held_back = match phase {
        Phase::Idle { reason } => held_back(reason),
        _ => None,
    };
    Ok(CheckReport {
        schema: Schema,
        available,
        held_back: held_back.into_iter().collect(),
        fresh_until: fresh_until(agent)?,
        warnings: warnings(agent),
    })
}

/// The release that a reason is about, where it is about one.
fn held_back(reason: &WaitReason) -> Option<HeldBack> {
    let version = match reason {
        WaitReason::NotOffered { version }
        | WaitReason::WaveOpensAt { version, .. }
        | WaitReason::RolloutPaused { version }
        | WaitReason::Withdrawn { version }
        | WaitReason::Denied { version, .. }
        | WaitReason::Barrier { version, .. }
        | WaitReason::BelowFloor { version, .. }
        | WaitReason::RequirementMissing { version, .. }
        | WaitReason::ClientTooOld { version, .. } => version.clone(),
        _ => return None,
    };
    let release = ReleaseRef {
        version,
        manifest: None,
        root_hash: None,
    };
    Some(HeldBack {
        release,
        reason: reason.clone().into(),
    })
}

/// When the timestamp in the store expires. The bytes were verified by the look before this; here
/// they are only quoted, nothing is decided by them.
fn fresh_until(agent: &Agent<'_>) -> Outcome<Option<UnixTime>> {
    #[derive(Deserialize)]
    struct Envelope {
        signed: Signed,
    }
    #[derive(Deserialize)]
    struct Signed {
        expires: String,
    }
    let bytes = agent.ports().store.read("trust/timestamp.json")?;
    let read = bytes.and_then(|bytes| serde_json::from_slice::<Envelope>(&bytes).ok());
    Ok(read.and_then(|envelope| envelope.signed.expires.parse().ok()))
}

/// The initramfs counts each start of a committed system, and the agent ends the count at health. A host that has
/// just started and was not looked at yet is none that is ill.
fn degraded(agent: &Agent<'_>) -> Option<String> {
    if is_stranded(agent) {
        return Some(String::from(
            "degraded: the release that runs failed its trial, and no other slot can run; `twinroot health` says \
             what is missing",
        ));
    }
    let starts = agent.facts().loader().starts_without_health;
    let passed = |check: &CheckState| check.outcome == CheckOutcome::Passed;
    let counts = |check: &&CheckState| check.required && !check.remote;
    let checks = agent.health();
    let ill = checks.iter().filter(counts).any(|check| !passed(check));
    let counted = starts > 1 || starts == 1 && ill;
    (counted && !agent.state().healthy).then(|| {
        format!(
            "degraded: starts of this committed system without its health being seen: {starts}; \
             `twinroot health` and the checks in health.d say what is missing"
        )
    })
}

/// What runs is on trial no more, was not blessed, and there is no way back.
fn is_stranded(agent: &Agent<'_>) -> bool {
    let facts = agent.facts();
    let unblessed = facts
        .booted_entry()
        .is_some_and(|entry| !entry.is_blessed());
    let judged = match agent.state().phase.name() {
        PhaseName::Trial | PhaseName::Blessing | PhaseName::Committing => false,
        PhaseName::Idle
        | PhaseName::Checking
        | PhaseName::Available
        | PhaseName::Staging
        | PhaseName::Staged
        | PhaseName::Activated
        | PhaseName::Rebooting
        | PhaseName::RollingBack
        | PhaseName::Denying
        | PhaseName::Repairing
        | PhaseName::Blocked => true,
    };
    unblessed && judged && facts.fallback_entry().is_none()
}

/// Things to know that stop nothing.
pub(super) fn warnings(agent: &Agent<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let loader = agent.facts().loader();
    if let Some(root) = loader.abandoned {
        warnings.push(format!(
            "the slot with root hash {root} was left because it started too often without health; \
             `twinroot repair` writes it again"
        ));
    }
    warnings.extend(degraded(agent));
    if loader.unclean {
        warnings.push(String::from(
            "the ESP was not unmounted in good order before this start, and nothing on this node repairs a FAT file \
             system; have `fsck.vfat -a` look at it from another system",
        ));
    }
    if loader.counting == twinroot_core::facts::Counting::Broken {
        warnings.push(String::from(
            "the bootloader does not count tries; trials are started one-shot",
        ));
    }
    if let Ok(reasons) = why::reasons(agent)
        && reasons
            .iter()
            .any(|reason| matches!(reason, WaitReason::ClockUntrusted { .. }))
    {
        warnings.push(String::from(
            "the system clock cannot be right, so nothing is installed",
        ));
    }
    warnings
}
