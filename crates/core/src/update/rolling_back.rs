//! Rolling back: the node leaves what runs, because its trial failed or because a person asked.
//! First it is remembered, then the loader is told, then the node restarts; on the other slot the entry
//! of what was left goes, and only then is the node idle: cut anywhere, the next start comes to the
//! same end, even where the firmware has lost what the loader was told.

use alloc::string::ToString;

use super::effect::{Effect, EffectKind};
use super::event::{Command, Event, Goal};
use super::state::{BackStep, Cause, OnTrial, Phase};
use super::{Ctx, Transition, commands};
use crate::error::{Code, Failure};
use crate::records::RecordChange;

/// A failed trial. With nothing to go back to, the node stays up, degraded, and says so: flipping
/// between two bad slots helps nobody.
pub(super) fn begin(ctx: &Ctx<'_>, from: &OnTrial, failure: Failure) -> Transition {
    if ctx.facts.fallback_entry().is_none() {
        let stuck = Failure::new(
            Code::BothSlotsUnhealthy,
            failure.subject.clone(),
            alloc::format!(
                "{}; no other slot can run, so the node stays where it is",
                failure.cause
            ),
        );
        return ctx
            .go(Phase::Blocked {
                failure: stuck.clone(),
            })
            .persist(ctx)
            .note("degraded", Some(from.release.clone()), stuck.to_string());
    }
    let denial = commands::by_node(ctx, &from.release, &failure);
    let cause = Cause::Trial(failure);
    ctx.go(Phase::RollingBack {
        from: from.clone(),
        cause,
        step: BackStep::Deny,
    })
    .persist(ctx)
    .then(Effect::SaveRecords(RecordChange::Deny(denial)))
}

pub(super) fn on(
    ctx: &Ctx<'_>,
    from: &OnTrial,
    cause: &Cause,
    step: BackStep,
    event: Event,
) -> Transition {
    match (step, event) {
        (BackStep::Deny, Event::Done(EffectKind::SaveRecords)) => switch(ctx, from, cause),
        (BackStep::Switch, Event::Done(EffectKind::Pin | EffectKind::Retire)) => {
            restart(ctx, from, cause)
        }
        (
            BackStep::Reboot,
            Event::Command(
                Command::Update {
                    goal: Goal::Reboot, ..
                }
                | Command::Rollback { reboot: true, .. },
            ),
        ) => reboot_now(ctx, from, cause),
        (BackStep::Reboot, Event::Tick) if wants_reboot(cause) => reboot_now(ctx, from, cause),
        (BackStep::Retire, Event::Done(EffectKind::Retire)) => ended(ctx, from, cause),
        // An ESP that cannot be written now. That the node is idle is not written down for it: a start before
        // anything else is written down tries again.
        (BackStep::Retire, Event::Failed { failure, .. }) => ctx
            .idle(super::checking::waits_for(ctx, &failure))
            .note("failed", Some(from.release.clone()), failure.to_string()),
        (_, Event::Failed { failure, .. }) => ctx
            .go(Phase::Blocked {
                failure: failure.clone(),
            })
            .persist(ctx)
            .note("failed", Some(from.release.clone()), failure.to_string())
            .refuse(failure),
        (BackStep::Deny | BackStep::Switch | BackStep::Reboot | BackStep::Retire, other) => {
            ctx.rest(other)
        }
    }
}

/// After a failed trial its entry goes; after a person's wish the other entry becomes the default,
/// since the loader would pick the newest again.
pub(super) fn switch(ctx: &Ctx<'_>, from: &OnTrial, cause: &Cause) -> Transition {
    let other = ctx.facts.fallback_entry().map(|entry| entry.stem.clone());
    let blessed = ctx
        .facts
        .booted_entry()
        .is_some_and(|entry| entry.is_blessed());
    let effect = match (cause, other) {
        (Cause::Person { .. }, Some(stem)) => Effect::Pin(Some(stem)),
        (Cause::Trial(_), Some(_)) if !blessed => Effect::Retire(from.stem.clone()),
        (Cause::Trial(_), Some(_)) => {
            let subject = alloc::format!("entry {}", from.stem);
            let cause = "it is blessed, and a known-good entry is never removed";
            return stuck(ctx, Failure::new(Code::BootFactsContradict, subject, cause));
        }
        (Cause::Person { .. } | Cause::Trial(_), None) => {
            let cause = "it has no entry that boots";
            return stuck(ctx, Failure::new(Code::NoFallback, "the other slot", cause));
        }
    };
    enter(ctx, from, cause, BackStep::Switch)
        .persist(ctx)
        .then(effect)
}

fn stuck(ctx: &Ctx<'_>, failure: Failure) -> Transition {
    ctx.go(Phase::Blocked {
        failure: failure.clone(),
    })
    .persist(ctx)
    .refuse(failure)
}

fn enter(ctx: &Ctx<'_>, from: &OnTrial, cause: &Cause, step: BackStep) -> Transition {
    ctx.go(Phase::RollingBack {
        from: from.clone(),
        cause: cause.clone(),
        step,
    })
}

/// A failed trial always restarts; a person may have left the restart to somebody else.
const fn wants_reboot(cause: &Cause) -> bool {
    match cause {
        Cause::Person { reboot, .. } => *reboot,
        Cause::Trial(_) => true,
    }
}

fn restart(ctx: &Ctx<'_>, from: &OnTrial, cause: &Cause) -> Transition {
    if wants_reboot(cause) {
        reboot_now(ctx, from, cause)
    } else {
        enter(ctx, from, cause, BackStep::Reboot).persist(ctx)
    }
}

fn reboot_now(ctx: &Ctx<'_>, from: &OnTrial, cause: &Cause) -> Transition {
    let reason = alloc::format!("rollback from {}", from.release.version);
    enter(ctx, from, cause, BackStep::Reboot)
        .persist(ctx)
        .then(Effect::Reboot { reason })
}

/// Back on the other slot. What was left is denied, so its entry goes: neither the initramfs nor a loader
/// that has lost its pin must come upon it. Until it is gone, the node is not idle.
pub(super) fn arrived(ctx: &Ctx<'_>, from: &OnTrial, cause: &Cause) -> Transition {
    match ctx.removable(&from.release.root_hash) {
        Some(entry) => enter(ctx, from, cause, BackStep::Retire)
            .persist(ctx)
            .then(Effect::Retire(entry.stem.clone())),
        None => ended(ctx, from, cause),
    }
}

fn ended(ctx: &Ctx<'_>, from: &OnTrial, cause: &Cause) -> Transition {
    let detail = match cause {
        Cause::Trial(failure) => failure.to_string(),
        Cause::Person { reason, .. } => reason.clone(),
    };
    ctx.idle(ctx.nothing_newer()).persist(ctx).note(
        "rolled-back",
        Some(from.release.clone()),
        detail,
    )
}
