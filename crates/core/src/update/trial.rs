//! Trial, blessing, committing: a slot that is not yet blessed runs. It is judged by its health;
//! no verdict by the deadline is a 'no'. Blessing comes first, the floor after it: a node that dies
//! between them has a good slot and an old floor, never a new floor and an unproven slot.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::candidate::Candidate;
use super::effect::{Effect, EffectKind, Note};
use super::event::{Command, Event, HealthPurpose, HealthVerdict};
use super::state::{BlessStep, CommitStep, OnTrial, OwnLook, Phase};
use super::{Ctx, Transition, own_look, rolling_back};
use crate::error::{Code, Failure};
use crate::records::RecordChange;

pub(super) fn on(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    look: &OwnLook,
    event: Event,
) -> Transition {
    match event {
        Event::Reverified(verified) => {
            let phase = Phase::Trial {
                trial: trial.clone(),
                candidate: Some(verified.clone()),
                look: look.clone(),
            };
            look_at_health(ctx.go(phase), Some(&verified))
        }
        // The signed description is lost or no longer verifies: the trial is judged by the node's
        // own checks, which every release must pass anyway.
        Event::Failed {
            effect: EffectKind::Reverify,
            failure,
            ..
        } => {
            let noted =
                ctx.stay()
                    .note("ignored", Some(trial.release.clone()), failure.to_string());
            look_at_health(noted, None)
        }
        Event::Tick if is_over(ctx, candidate) => fail(ctx, trial, no_verdict(trial, look)),
        Event::Tick => look_at_health(ctx.stay(), candidate),
        Event::Health(HealthPurpose::Trial, verdict) => {
            judged(ctx, trial, candidate, look, verdict)
        }
        Event::Health(_, _) => ctx.stay(),
        Event::Checked(_)
        | Event::Failed {
            effect: EffectKind::Refresh,
            ..
        } => own_look::answered(ctx, trial, candidate, look, event),
        Event::Failed {
            effect: EffectKind::RunHealth,
            failure,
            ..
        } => fail(ctx, trial, failure),
        Event::Command(Command::Rollback { reason, .. }) => {
            let subject = alloc::format!("trial of {}", trial.release.version);
            fail(ctx, trial, Failure::new(Code::TrialFailed, subject, reason))
        }
        Event::CheckDue
        | Event::Command(_)
        | Event::Written { .. }
        | Event::Proven { .. }
        | Event::Gate { .. }
        | Event::Done(_)
        | Event::Failed { .. } => ctx.rest(event),
    }
}

fn judged(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    look: &OwnLook,
    verdict: HealthVerdict,
) -> Transition {
    match verdict {
        HealthVerdict::Good => own_look::begin(ctx, trial, candidate, look, Vec::new()),
        HealthVerdict::Kept { lost } => own_look::begin(ctx, trial, candidate, look, lost),
        HealthVerdict::Bad { check, detail } => {
            let subject = alloc::format!("check {check} on trial of {}", trial.release.version);
            fail(ctx, trial, Failure::new(Code::TrialFailed, subject, detail))
        }
        HealthVerdict::Pending if is_over(ctx, candidate) => {
            fail(ctx, trial, no_verdict(trial, look))
        }
        HealthVerdict::Pending => ctx.stay(),
    }
}

/// The trial has failed. The line of history is written by the system that failed, with its health:
/// the survivor knows only what was left behind.
fn fail(ctx: &Ctx<'_>, trial: &OnTrial, failure: Failure) -> Transition {
    let detail = failure.to_string();
    let mut transition = rolling_back::begin(ctx, trial, failure);
    let note = Note {
        what: "trial-failed",
        release: Some(trial.release.clone()),
        detail,
    };
    transition.effects.insert(0, Effect::Note(note));
    transition
}

/// The line behind which nothing is waited for at all. A publisher may ask for a longer probation.
fn is_over(ctx: &Ctx<'_>, candidate: Option<&Candidate>) -> bool {
    let asked = candidate.and_then(|c| c.manifest().probation);
    let longer = asked.map_or(0, |probation| probation.0.saturating_mul(1000));
    ctx.now.boot.0 >= ctx.policy.trial_deadline.saturating_add(longer)
}

fn look_at_health(transition: Transition, candidate: Option<&Candidate>) -> Transition {
    let candidate = candidate.cloned();
    transition.then(Effect::RunHealth {
        purpose: HealthPurpose::Trial,
        candidate,
    })
}

fn no_verdict(trial: &OnTrial, look: &OwnLook) -> Failure {
    let subject = alloc::format!("trial of {}", trial.release.version);
    match look {
        OwnLook::Failed { failure, .. } => Failure::new(
            Code::TrialFailed,
            subject,
            alloc::format!("its agent cannot look at the repository: {failure}"),
        ),
        OwnLook::NotYet | OwnLook::UnderWay { .. } => Failure::new(
            Code::TrialDeadline,
            subject,
            "health was not seen to hold by the deadline",
        ),
    }
}

/// Health has held. A pin (the loader does not count, or a rollback left one) moves first: cut
/// between the two, the new slot starts again on trial and is judged again.
pub(super) fn bless(ctx: &Ctx<'_>, trial: &OnTrial, candidate: Option<&Candidate>) -> Transition {
    let pinned = ctx.facts.loader().pinned.as_ref();
    let step = match pinned {
        Some(stem) if *stem != trial.stem => BlessStep::Pin,
        Some(_) | None => BlessStep::Bless,
    };
    let mut transition = enter_blessing(ctx, trial, candidate, step);
    transition.next.healthy = true;
    transition
}

fn enter_blessing(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    step: BlessStep,
) -> Transition {
    let effect = match step {
        BlessStep::Pin => Effect::Pin(Some(trial.stem.clone())),
        BlessStep::Bless => Effect::Bless(trial.stem.clone()),
    };
    let phase = Phase::Blessing {
        trial: trial.clone(),
        candidate: candidate.cloned(),
        step,
    };
    ctx.go(phase).persist(ctx).then(effect)
}

pub(super) fn on_blessing(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    step: BlessStep,
    event: Event,
) -> Transition {
    match (step, event) {
        (BlessStep::Pin, Event::Done(EffectKind::Pin)) => {
            enter_blessing(ctx, trial, candidate, BlessStep::Bless)
        }
        (BlessStep::Bless, Event::Done(EffectKind::Bless)) => {
            enter_committing(ctx, trial, candidate, CommitStep::ClearAttempts)
        }
        // The loader cannot be told now (an ESP that is full or read-only): the slot stays on
        // trial, which is safe, and a person is told why.
        (_, Event::Failed { failure, .. }) => ctx
            .go(Phase::Blocked {
                failure: failure.clone(),
            })
            .persist(ctx)
            .note("failed", Some(trial.release.clone()), failure.to_string())
            .refuse(failure),
        (BlessStep::Pin | BlessStep::Bless, other) => ctx.rest(other),
    }
}

/// Enters a step of committing; also the way in after a restart in the middle of it.
pub(super) fn enter_committing(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    step: CommitStep,
) -> Transition {
    let phase = Phase::Committing {
        trial: trial.clone(),
        candidate: candidate.cloned(),
        step,
    };
    let transition = ctx.go(phase).persist(ctx);
    match step {
        CommitStep::ClearAttempts => transition.then(Effect::ClearAttempts),
        CommitStep::Floor => match new_floor(ctx, candidate) {
            Some(floor) => transition.then(Effect::SaveRecords(RecordChange::RaiseFloor(floor))),
            None => after_floor(ctx, trial, candidate),
        },
        CommitStep::Retire => match revoked_fallback(ctx) {
            Some(stem) => transition.then(Effect::Retire(stem)),
            None => committed(ctx, trial),
        },
    }
}

/// The floor follows the fallback, never above it, so that the fallback stays allowed; only a
/// release that revokes older ones lifts it beyond.
fn new_floor(
    ctx: &Ctx<'_>,
    candidate: Option<&Candidate>,
) -> Option<twinroot_trust::version::Version> {
    let fallback = ctx
        .facts
        .fallback_entry()
        .map(|entry| entry.version.clone());
    let fallback = fallback.filter(|version| *version <= ctx.facts.system().version);
    let revokes = candidate
        .and_then(|c| c.manifest().revokes_below.clone())
        .filter(|below| *below <= ctx.facts.system().version);
    let wanted = core::cmp::max(fallback, revokes)?;
    (ctx.records.floor.as_ref() < Some(&wanted)).then_some(wanted)
}

/// The other slot's entry, where its release is below the floor now.
fn revoked_fallback(ctx: &Ctx<'_>) -> Option<alloc::string::String> {
    let entry = ctx.facts.fallback_entry()?;
    let stamped = ctx.facts.system().stamped_floor.as_ref();
    let floor = ctx.records.floor(stamped)?;
    let other = entry.root_hash != ctx.facts.system().root_hash;
    (other && entry.version < *floor).then(|| entry.stem.clone())
}

fn after_floor(ctx: &Ctx<'_>, trial: &OnTrial, candidate: Option<&Candidate>) -> Transition {
    enter_committing(ctx, trial, candidate, CommitStep::Retire)
}

pub(super) fn on_committing(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    step: CommitStep,
    event: Event,
) -> Transition {
    match (step, event) {
        (CommitStep::ClearAttempts, Event::Reverified(verified)) => {
            enter_committing(ctx, trial, Some(&verified), CommitStep::ClearAttempts)
        }
        (
            CommitStep::ClearAttempts,
            Event::Failed {
                effect: EffectKind::Reverify,
                ..
            },
        ) => enter_committing(ctx, trial, None, CommitStep::ClearAttempts),
        (CommitStep::ClearAttempts, Event::Done(EffectKind::ClearAttempts)) => {
            enter_committing(ctx, trial, candidate, CommitStep::Floor)
        }
        (CommitStep::Floor, Event::Done(EffectKind::SaveRecords)) => {
            after_floor(ctx, trial, candidate)
        }
        (CommitStep::Retire, Event::Done(EffectKind::Retire)) => committed(ctx, trial),
        (_, Event::Failed { failure, .. }) => ctx
            .idle(super::checking::waits_for(ctx, &failure))
            .note("failed", Some(trial.release.clone()), failure.to_string())
            .refuse(failure),
        (CommitStep::ClearAttempts | CommitStep::Floor | CommitStep::Retire, other) => {
            ctx.rest(other)
        }
    }
}

fn committed(ctx: &Ctx<'_>, trial: &OnTrial) -> Transition {
    let mut transition = ctx.idle(ctx.nothing_newer());
    transition.next.attempts = super::state::Attempts::default();
    transition
        .persist(ctx)
        .note(
            "committed",
            Some(trial.release.clone()),
            "health has held; it is blessed".to_string(),
        )
        .then(Effect::Sweep(alloc::vec![]))
}
