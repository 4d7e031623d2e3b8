//! Denying: the loader has given a release up, and the survivor remembers it.

use alloc::string::ToString;

use super::effect::{Effect, EffectKind};
use super::event::Event;
use super::state::{DenyStep, OnTrial, Phase};
use super::{Ctx, Transition, commands};
use crate::error::Failure;
use crate::records::RecordChange;

/// Remember first, then remove the entry.
pub(super) fn begin(ctx: &Ctx<'_>, release: &OnTrial, failure: Failure) -> Transition {
    let denial = commands::by_node(ctx, &release.release, &failure);
    ctx.go(Phase::Denying {
        release: release.clone(),
        failure,
        step: DenyStep::Record,
    })
    .persist(ctx)
    .then(Effect::SaveRecords(RecordChange::Deny(denial)))
}

pub(super) fn on(
    ctx: &Ctx<'_>,
    release: &OnTrial,
    failure: &Failure,
    step: DenyStep,
    event: Event,
) -> Transition {
    match (step, event) {
        (DenyStep::Record, Event::Done(EffectKind::SaveRecords)) => retire(ctx, release, failure),
        (DenyStep::Retire, Event::Done(EffectKind::Retire)) => denied(ctx, release, failure),
        (_, Event::Failed { failure: why, .. }) => ctx
            .idle(super::checking::waits_for(ctx, &why))
            .note("failed", Some(release.release.clone()), why.to_string()),
        (DenyStep::Record | DenyStep::Retire, other) => ctx.rest(other),
    }
}

fn retire(ctx: &Ctx<'_>, release: &OnTrial, failure: &Failure) -> Transition {
    let Some(entry) = ctx.removable(&release.release.root_hash) else {
        return denied(ctx, release, failure);
    };
    let step = DenyStep::Retire;
    ctx.go(Phase::Denying {
        release: release.clone(),
        failure: failure.clone(),
        step,
    })
    .persist(ctx)
    .then(Effect::Retire(entry.stem.clone()))
}

fn denied(ctx: &Ctx<'_>, release: &OnTrial, failure: &Failure) -> Transition {
    ctx.idle(ctx.nothing_newer()).persist(ctx).note(
        "denied",
        Some(release.release.clone()),
        failure.to_string(),
    )
}
