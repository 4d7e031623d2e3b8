//! `twinroot why`: why nothing happens.

use twinroot_core::clock::TrustedNow;
use twinroot_core::update::state::Purpose;
use twinroot_core::update::{Cause, Phase};
use twinroot_core::why::WaitReason;
use twinroot_core::wire::{Reason, Schema, Why};
use twinroot_ports::Outcome;

use super::last::last_look;
use crate::agent::Agent;

/// The reasons, the one that would be met first in front.
///
/// # Errors
/// What the store says.
pub fn why(agent: &Agent<'_>) -> Outcome<Why> {
    Ok(Why {
        schema: Schema,
        reasons: reasons(agent)?.into_iter().map(Reason::from).collect(),
    })
}

/// All that is waited for.
pub(super) fn reasons(agent: &Agent<'_>) -> Outcome<Vec<WaitReason>> {
    let mut reasons = Vec::new();
    reasons.extend(clock(agent));
    reasons.extend(under_way(agent)?.map(|reason| with_next_try(agent, reason)));
    let records = agent.records();
    if let Some(since) = records.paused {
        push(&mut reasons, WaitReason::PausedLocally { since });
    }
    let now = agent.ports().clock.now().wall;
    if let Some(hold) = records.held.as_ref().filter(|hold| hold.holds(now)) {
        let (since, until, reason) = (hold.since, hold.until, hold.reason.clone());
        push(
            &mut reasons,
            WaitReason::Held {
                since,
                until,
                reason,
            },
        );
    }
    if let Some(version) = &records.pinned {
        let version = version.to_string();
        push(&mut reasons, WaitReason::Pinned { version });
    }
    if let (Phase::Idle { .. }, Some(at)) = (&agent.state().phase, agent.next_check) {
        push(&mut reasons, WaitReason::NextCheckAt { at });
    }
    Ok(reasons)
}

/// The daemon knows when it looks again; without one the next look is a person's.
fn with_next_try(agent: &Agent<'_>, mut reason: WaitReason) -> WaitReason {
    if let (
        WaitReason::Offline { next_try, .. }
        | WaitReason::BackingOff { next_try, .. }
        | WaitReason::NextCheckAt { at: next_try },
        Some(at),
    ) = (&mut reason, agent.next_check)
    {
        *next_try = at;
    }
    reason
}

fn push(reasons: &mut Vec<WaitReason>, reason: WaitReason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}

/// A clock that cannot be right stops everything, so it is named first.
fn clock(agent: &Agent<'_>) -> Option<WaitReason> {
    let wall = agent.ports().clock.now().wall;
    let built = agent.facts().system().built;
    let decided = TrustedNow::decide(wall, built, agent.records().trusted_time);
    (!decided.may_install()).then_some(WaitReason::ClockUntrusted { clock: wall })
}

/// The phase's own reason. In `Idle` after a start that is only 'nothing under way', and what the
/// last look ended with says more.
fn under_way(agent: &Agent<'_>) -> Outcome<Option<WaitReason>> {
    let phase = &agent.state().phase;
    Ok(match phase {
        Phase::Idle { reason } => {
            let look = last_look(agent.ports().store)?;
            Some(
                look.and_then(|look| look.reason)
                    .filter(|kept| !is_overtaken(agent, kept))
                    .unwrap_or_else(|| reason.clone()),
            )
        }
        // Another process has left it so; this one has not verified it again.
        Phase::Checking {
            purpose: Purpose::Resume { .. },
        } => last_look(agent.ports().store)?.and_then(|look| look.reason),
        Phase::Trial { trial, .. } => Some(on_probation(agent, trial.release.version.to_string())),
        Phase::Blocked { failure } => Some(WaitReason::OperatorNeeded {
            failure: failure.code.as_str().to_owned(),
            detail: format!("{}: {}", failure.subject, failure.cause),
        }),
        Phase::RollingBack {
            from,
            cause: Cause::Person { reboot: false, .. },
            ..
        } => Some(WaitReason::RollbackNeedsReboot {
            from: from.release.version.to_string(),
        }),
        other => other.reason().cloned(),
    })
}

/// Reasons that a later request, a boot or the passing of time has settled.
fn is_overtaken(agent: &Agent<'_>, reason: &WaitReason) -> bool {
    let records = agent.records();
    match reason {
        WaitReason::NoNewerRelease { running } => {
            *running != agent.facts().system().version.to_string()
        }
        WaitReason::ManualStrategy { version }
        | WaitReason::StagedOnly { version }
        | WaitReason::RebootNeeded { version }
        | WaitReason::StagesAt { version, .. }
        | WaitReason::NoWindow { version } => {
            *version == agent.facts().system().version.to_string()
        }
        WaitReason::PausedLocally { .. } => records.paused.is_none(),
        WaitReason::Pinned { .. } => records.pinned.is_none(),
        WaitReason::Denied { version, .. } => !records
            .denied
            .iter()
            .any(|denial| denial.version.to_string() == *version),
        _ => false,
    }
}

fn on_probation(agent: &Agent<'_>, version: String) -> WaitReason {
    let now = agent.ports().clock.now();
    // Where all holds it is known when probation ends; else only when there will be a verdict.
    if let Some(good) = agent.judge.as_ref().and_then(|judge| judge.good_from()) {
        let left = good.0.saturating_sub(now.boot.0).div_ceil(1000);
        let until = now.wall.plus(twinroot_trust::time::Seconds(left));
        return WaitReason::OnProbation { version, until };
    }
    let left = agent
        .options()
        .policy
        .trial_deadline
        .saturating_sub(now.boot.0)
        / 1000;
    WaitReason::OnProbation {
        version,
        until: now.wall.plus(twinroot_trust::time::Seconds(left)),
    }
}
