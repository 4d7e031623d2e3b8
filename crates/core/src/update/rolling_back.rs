//! Rolling back: the node leaves what runs, because its trial failed or because a person asked.
//! First it is remembered, then the loader is told, then the node restarts: cut anywhere, the next
//! start comes to the same end.

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
        (_, Event::Failed { failure, .. }) => ctx
            .go(Phase::Blocked {
                failure: failure.clone(),
            })
            .persist(ctx)
            .note("failed", Some(from.release.clone()), failure.to_string())
            .refuse(failure),
        (BackStep::Deny | BackStep::Switch | BackStep::Reboot, other) => ctx.rest(other),
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

/// Back on the other slot: done. What was left is denied, so its entry goes: the initramfs and the
/// loader must not come upon it by themselves.
pub(super) fn arrived(ctx: &Ctx<'_>, from: &OnTrial, cause: &Cause) -> Transition {
    let detail = match cause {
        Cause::Trial(failure) => failure.to_string(),
        Cause::Person { reason, .. } => reason.clone(),
    };
    let transition = ctx.idle(ctx.nothing_newer()).persist(ctx).note(
        "rolled-back",
        Some(from.release.clone()),
        detail,
    );
    match ctx.removable(&from.release.root_hash) {
        Some(entry) => transition.then(Effect::Retire(entry.stem.clone())),
        None => transition,
    }
}
