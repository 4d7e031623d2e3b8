//! Staging and repairing: the inactive slot is written and proven, in three steps of one effect
//! each: entries of the slot unbootable first, then the blocks, then the read-back that alone makes
//! its hash tree whole. Repairing is the same over a slot that went bad.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::candidate::{Candidate, Proven};
use super::checking::waits_for;
use super::effect::{Effect, EffectKind};
use super::event::{Event, Goal};
use super::state::{Attempts, Phase, StageStep};
use super::{Ctx, Transition, staged};
use crate::error::{Code, Failure, Retry};
use crate::records::RecordChange;
use crate::why::WaitReason;

/// Starts or continues writing a release: from the first step, since every step can be repeated.
pub(super) fn begin(ctx: &Ctx<'_>, candidate: &Candidate) -> Transition {
    enter(ctx, candidate, first_step(ctx))
}

/// The same for a repair.
pub(super) fn begin_repair(ctx: &Ctx<'_>, candidate: &Candidate) -> Transition {
    enter_repair(ctx, candidate, first_step(ctx))
}

fn first_step(ctx: &Ctx<'_>) -> StageStep {
    if disarmable(ctx).is_empty() {
        StageStep::Write
    } else {
        StageStep::Disarm
    }
}

/// Entries that boot anything but the running root. The entry of the running root stays, whatever
/// happens: it is the known-good one.
fn disarmable(ctx: &Ctx<'_>) -> Vec<String> {
    ctx.facts
        .other_entries()
        .map(|entry| entry.stem.clone())
        .collect()
}

/// Enters a step of staging.
pub(super) fn enter(ctx: &Ctx<'_>, candidate: &Candidate, step: StageStep) -> Transition {
    let phase = Phase::Staging {
        candidate: candidate.clone(),
        step,
    };
    enter_phase(ctx, candidate, phase, step)
}

fn enter_repair(ctx: &Ctx<'_>, candidate: &Candidate, step: StageStep) -> Transition {
    let phase = Phase::Repairing {
        candidate: candidate.clone(),
        step,
    };
    enter_phase(ctx, candidate, phase, step)
}

/// The other slot is only ever given up while a blessed one runs: looked at before every step, since
/// what was true at the step before is a memory.
fn enter_phase(ctx: &Ctx<'_>, candidate: &Candidate, phase: Phase, step: StageStep) -> Transition {
    if ctx
        .facts
        .booted_entry()
        .is_none_or(|entry| !entry.is_blessed())
    {
        let subject = alloc::format!("slot {}", ctx.facts.inactive().name());
        let failure = Failure::new(Code::NotNow, subject, "the slot that runs is not blessed")
            .with_remedy("wait until its trial has ended");
        return ctx
            .idle(waits_for(ctx, &failure))
            .persist(ctx)
            .refuse(failure);
    }
    ctx.go(phase)
        .persist(ctx)
        .then(effect_of(ctx, candidate, step))
}

fn effect_of(ctx: &Ctx<'_>, candidate: &Candidate, step: StageStep) -> Effect {
    let slot = ctx.facts.inactive().clone();
    let candidate = candidate.clone();
    match step {
        StageStep::Disarm => Effect::Disarm(disarmable(ctx)),
        StageStep::Write => Effect::Write { slot, candidate },
        StageStep::Prove => Effect::Prove { slot, candidate },
    }
}

pub(super) fn on(
    ctx: &Ctx<'_>,
    candidate: &Candidate,
    step: StageStep,
    event: Event,
) -> Transition {
    match (step, event) {
        (StageStep::Disarm, Event::Done(EffectKind::Disarm)) => {
            enter(ctx, candidate, StageStep::Write)
        }
        (StageStep::Write, Event::Written { progress }) => {
            progressed(ctx, enter(ctx, candidate, StageStep::Prove), progress)
        }
        (StageStep::Prove, Event::Proven { computed }) => proven(ctx, candidate, computed),
        (
            _,
            Event::Failed {
                failure, progress, ..
            },
        ) => failed(ctx, candidate, failure, progress),
        (StageStep::Disarm | StageStep::Write | StageStep::Prove, other) => ctx.rest(other),
    }
}

pub(super) fn on_repair(
    ctx: &Ctx<'_>,
    candidate: &Candidate,
    step: StageStep,
    event: Event,
) -> Transition {
    match (step, event) {
        (StageStep::Disarm, Event::Done(EffectKind::Disarm)) => {
            enter_repair(ctx, candidate, StageStep::Write)
        }
        (StageStep::Write, Event::Written { progress }) => progressed(
            ctx,
            enter_repair(ctx, candidate, StageStep::Prove),
            progress,
        ),
        (StageStep::Prove, Event::Proven { computed }) => repaired(ctx, candidate, computed),
        (
            _,
            Event::Failed {
                failure, progress, ..
            },
        ) => failed(ctx, candidate, failure, progress),
        (StageStep::Disarm | StageStep::Write | StageStep::Prove, other) => ctx.rest(other),
    }
}

fn progressed(ctx: &Ctx<'_>, mut transition: Transition, progress: u64) -> Transition {
    if progress > 0 {
        transition.next.attempts = Attempts::default();
    } else {
        transition.next.attempts = ctx.state.attempts.clone();
    }
    transition
}

/// The slot was read back. Only the signed root hash lets the release go on.
fn proven(
    ctx: &Ctx<'_>,
    candidate: &Candidate,
    computed: twinroot_trust::digest::Digest,
) -> Transition {
    let slot = ctx.facts.inactive().name();
    match Proven::compare(candidate.clone(), slot, computed) {
        Some(proof) => staged::enter(ctx, &proof),
        None => failed(ctx, candidate, not_the_signed_root(ctx, candidate), 0),
    }
}

/// A repaired slot that holds the running release needs no new trial: its entry is the blessed one.
/// Another release is tried again like any other.
fn repaired(
    ctx: &Ctx<'_>,
    candidate: &Candidate,
    computed: twinroot_trust::digest::Digest,
) -> Transition {
    if candidate.root_hash() != ctx.facts.system().root_hash {
        return proven(ctx, candidate, computed);
    }
    if computed != candidate.root_hash() {
        return failed(ctx, candidate, not_the_signed_root(ctx, candidate), 0);
    }
    let detail = alloc::format!("slot {} holds it again", ctx.facts.inactive().name());
    ctx.idle(ctx.nothing_newer())
        .persist(ctx)
        .note("repaired", Some(candidate.saved()), detail)
        .then(Effect::SaveRecords(RecordChange::Know(candidate.saved())))
}

fn not_the_signed_root(ctx: &Ctx<'_>, candidate: &Candidate) -> Failure {
    Failure::new(
        Code::RootHashMismatch,
        alloc::format!(
            "slot {} with {}",
            ctx.facts.inactive().name(),
            candidate.version()
        ),
        "what was read back does not hash to the signed root hash",
    )
}

/// A try that failed: counted; after too many without progress a person must look.
fn failed(ctx: &Ctx<'_>, candidate: &Candidate, failure: Failure, progress: u64) -> Transition {
    let attempts = ctx.failed_try(candidate.id(), progress);
    let give_up = attempts.count >= ctx.policy.max_attempts || failure.retry() == Retry::Never;
    let mut transition = if give_up {
        ctx.go(Phase::Blocked {
            failure: failure.clone(),
        })
    } else {
        let reason = match failure.retry() {
            Retry::Backoff => WaitReason::BackingOff {
                next_try: ctx.now.wall,
                cause: alloc::format!("{}: {}", failure.subject, failure.cause),
            },
            Retry::Never | Retry::NextCheck | Retry::Operator => waits_for(ctx, &failure),
        };
        ctx.idle(reason)
    };
    transition.next.attempts = attempts;
    let transition =
        transition
            .persist(ctx)
            .note("failed", Some(candidate.saved()), failure.to_string());
    // An entry of an earlier run may stand for a slot that no longer holds what it boots.
    let root = candidate.root_hash();
    let armed = ctx.removable(&root);
    let transition = match armed {
        Some(entry) => transition.then(Effect::Retire(entry.stem.clone())),
        None => transition,
    };
    transition.refuse(failure)
}

/// What was staged is not all there any more: it is written again, as often as any failing try.
pub(super) fn bring_again(ctx: &Ctx<'_>, candidate: &Candidate, failure: Failure) -> Transition {
    let attempts = ctx.failed_try(candidate.id(), 0);
    if attempts.count >= ctx.policy.max_attempts {
        return failed(ctx, candidate, failure, 0);
    }
    let mut state = ctx.state.clone();
    state.attempts = attempts;
    let again = Ctx {
        state: &state,
        ..*ctx
    };
    enter(&again, candidate, StageStep::Write)
}

/// Whether writing may start or go on by the wish.
pub(super) fn wanted(ctx: &Ctx<'_>) -> bool {
    ctx.state.wish.goal >= Goal::Activate
}
