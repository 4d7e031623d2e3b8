//! Checking: signed metadata is being read, to find a release, to look once more before a reboot,
//! or to verify again what had been verified before a restart.

use alloc::string::ToString;

use twinroot_trust::time::Seconds;

use super::candidate::{Candidate, Proven, SavedRelease};
use super::effect::{Effect, EffectKind};
use super::event::{Checked, Event};
use super::state::{ActivateStep, Phase, Purpose, Resume, StageStep};
use super::{Ctx, Transition, activated, available, judge, staging};
use crate::error::{Category, Code, Failure};
use crate::facts::EntryObserved;
use crate::rollout::Offer;
use crate::why::WaitReason;

pub(super) fn on(ctx: &Ctx<'_>, purpose: &Purpose, event: Event) -> Transition {
    match (purpose, event) {
        (Purpose::Look, Event::Checked(checked)) => found(ctx, &checked),
        (
            Purpose::Look,
            Event::Failed {
                failure,
                effect: EffectKind::Refresh,
                ..
            },
        ) => nothing_to_take(ctx, waits_for(ctx, &failure)).refuse(failure),
        (Purpose::BeforeReboot(proven), Event::Checked(checked)) => {
            looked_again(ctx, proven, &checked)
        }
        (
            Purpose::BeforeReboot(proven),
            Event::Failed {
                failure,
                effect: EffectKind::Refresh,
                ..
            },
        ) => could_not_look(ctx, proven, &failure),
        (Purpose::Resume { at, .. }, Event::Reverified(candidate)) => resumed(ctx, &candidate, *at),
        (
            Purpose::Resume { saved, .. },
            Event::Failed {
                failure,
                effect: EffectKind::Reverify,
                ..
            },
        ) => dropped(ctx, saved, failure),
        (Purpose::Look | Purpose::BeforeReboot(_) | Purpose::Resume { .. }, other) => {
            ctx.rest(other)
        }
    }
}

/// Back to rest. Where a failed trial runs because nothing else could, that is said before anything else, and
/// no look at the repository lets it be forgotten.
fn nothing_to_take(ctx: &Ctx<'_>, reason: WaitReason) -> Transition {
    let unblessed = |entry: &&EntryObserved| !entry.is_blessed();
    match ctx.facts.booted_entry().filter(unblessed) {
        Some(entry) if ctx.facts.fallback_entry().is_none() => {
            let subject = alloc::format!("trial of {}", entry.version);
            let cause = "it failed; no other slot can run, so the node stays where it is";
            let failure = Failure::new(Code::BothSlotsUnhealthy, subject, cause);
            let mut transition = ctx.idle(reason);
            transition.next.phase = Phase::Blocked { failure };
            transition
        }
        Some(_) | None => ctx.idle(reason),
    }
}

/// Takes the newest acceptable release, or says why there is none.
fn found(ctx: &Ctx<'_>, checked: &Checked) -> Transition {
    let mut transition = match judge::select(ctx, checked) {
        Ok(candidate) => available::found(ctx, &candidate),
        Err(reason) => nothing_to_take(ctx, reason),
    };
    transition.next.refreshed = Some(ctx.now.boot);
    transition.effects.insert(0, trusted_time(checked));
    transition
}

/// Fresh signed metadata is evidence of the time (DESIGN section 6, 'Clock').
fn trusted_time(checked: &Checked) -> Effect {
    Effect::TrustTime(checked.evidence)
}

/// What a fresh look means for a release that is activated.
pub(super) enum Fate {
    /// It may not move any more.
    Gone(WaitReason),
    /// A newer release takes its place.
    Superseded(Candidate),
    /// Nothing has changed.
    Stands,
}

/// A release withdrawn meanwhile is dropped; a newer one that this node may have now replaces it.
pub(super) fn fate(ctx: &Ctx<'_>, proven: &Proven, checked: &Checked) -> Fate {
    let candidate = proven.candidate();
    let id = candidate.id();
    let listed = checked.listed.iter().find(|l| l.candidate.id() == id);
    match listed.map(|l| l.offer) {
        Some(Offer::Withdrawn) | None => {
            return Fate::Gone(WaitReason::Withdrawn {
                version: candidate.version().to_string(),
            });
        }
        Some(Offer::Now | Offer::At(_) | Offer::NotOffered | Offer::Paused) => {}
    }
    if let Err(reason) = judge::still_acceptable(ctx, candidate) {
        return Fate::Gone(reason);
    }
    match judge::select(ctx, checked) {
        Ok(newer) if newer.version() > candidate.version() => match judge::may_stage(ctx, &newer) {
            Ok(()) => Fate::Superseded(newer),
            Err(_) => Fate::Stands,
        },
        Ok(_) | Err(_) => Fate::Stands,
    }
}

/// The last look before the restart.
fn looked_again(ctx: &Ctx<'_>, proven: &Proven, checked: &Checked) -> Transition {
    let mut transition = match fate(ctx, proven, checked) {
        Fate::Gone(reason) => activated::drop_release(ctx, proven, reason),
        Fate::Superseded(newer) => available::found(ctx, &newer),
        Fate::Stands => ask_gates(ctx, proven),
    };
    transition.next.refreshed = Some(ctx.now.boot);
    transition
}

/// A person's hold is asked first: no lock is taken from others for a restart that will not come.
fn ask_gates(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    match judge::held(ctx) {
        Some(held) => ctx.go(Phase::Activated {
            proven: proven.clone(),
            step: ActivateStep::Armed,
            reason: held,
        }),
        None => back(ctx, proven).then(Effect::AskGate),
    }
}

/// No fresh look is possible: what was seen lately enough still counts.
fn could_not_look(ctx: &Ctx<'_>, proven: &Proven, failure: &Failure) -> Transition {
    let age = ctx
        .state
        .refreshed
        .map(|at| ctx.now.boot.0.saturating_sub(at.0));
    let allowed = ctx.policy.metadata_max_age;
    let why = match age {
        Some(age) if age <= allowed => return ask_gates(ctx, proven),
        Some(age) => WaitReason::MetadataTooOld {
            age: Seconds(age / 1000),
            allowed: Seconds(allowed / 1000),
        },
        None => waits_for(ctx, failure),
    };
    let mut transition = back(ctx, proven);
    if let Phase::Activated { reason, .. } = &mut transition.next.phase {
        *reason = why;
    }
    transition.refuse(failure.clone())
}

fn back(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    ctx.go(Phase::Activated {
        proven: proven.clone(),
        step: ActivateStep::Armed,
        reason: activated::needs_reboot(proven),
    })
}

/// Signatures hold again: go on where it stood. What was proven before the restart is proven again,
/// since the slot may have changed meanwhile; what was half written is written on.
fn resumed(ctx: &Ctx<'_>, candidate: &Candidate, at: Resume) -> Transition {
    if let Err(reason) = judge::still_acceptable(ctx, candidate) {
        return ctx.idle(reason).persist(ctx);
    }
    let whole = ctx.facts.inactive_root() == Some(candidate.root_hash());
    match at {
        Resume::Staging => staging::begin(ctx, candidate),
        Resume::Repairing => staging::begin_repair(ctx, candidate),
        Resume::Staged | Resume::Activated if whole => {
            staging::enter(ctx, candidate, StageStep::Prove)
        }
        Resume::Staged | Resume::Activated => staging::begin(ctx, candidate),
    }
}

/// The stored bytes no longer verify: forgotten, and found again by the next look.
fn dropped(ctx: &Ctx<'_>, saved: &SavedRelease, failure: Failure) -> Transition {
    ctx.idle(waits_for(ctx, &failure))
        .persist(ctx)
        .note("dropped", Some(saved.clone()), failure.to_string())
        .refuse(failure)
}

/// The reason that a failure leaves behind.
pub(super) fn waits_for(ctx: &Ctx<'_>, failure: &Failure) -> WaitReason {
    let detail = alloc::format!("{}: {}", failure.subject, failure.cause);
    if failure.category() == Category::Network {
        WaitReason::Offline {
            next_try: ctx.now.wall,
            cause: detail,
        }
    } else if failure.code == Code::MetadataExpired {
        WaitReason::MetadataExpired {
            cause: failure.cause.clone(),
        }
    } else {
        WaitReason::OperatorNeeded {
            failure: failure.code.as_str().to_string(),
            detail,
        }
    }
}
