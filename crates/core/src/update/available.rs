//! Available: a release is there and this node may have it.

use alloc::string::ToString;

use super::candidate::Candidate;
use super::event::{Command, Event, Goal};
use super::state::{Phase, Wish};
use super::{Ctx, Transition, idle, judge, staging};
use crate::why::WaitReason;

/// Enters the phase, and goes straight on where that is wanted.
pub(super) fn found(ctx: &Ctx<'_>, candidate: &Candidate) -> Transition {
    if ctx.state.wish.goal >= Goal::Stage {
        return match judge::may_stage(ctx, candidate) {
            Ok(()) => staging::begin(ctx, candidate),
            Err(reason) => ctx.go(Phase::Available {
                candidate: candidate.clone(),
                reason,
            }),
        };
    }
    let manual = WaitReason::ManualStrategy {
        version: candidate.version().to_string(),
    };
    let reason = judge::by_itself(ctx, Goal::Stage, manual, |own| {
        judge::may_stage(own, candidate)
    });
    ctx.go(Phase::Available {
        candidate: candidate.clone(),
        reason,
    })
}

pub(super) fn on(ctx: &Ctx<'_>, _candidate: &Candidate, event: Event) -> Transition {
    match event {
        // Metadata may have changed since: every request starts with a fresh look.
        Event::CheckDue => idle::look(ctx, ctx.policy.standing_wish()),
        Event::Command(Command::Update {
            goal,
            version,
            force,
        }) => idle::look(
            ctx,
            Wish {
                goal,
                version,
                force,
                by_person: true,
            },
        ),
        Event::Command(Command::Rollback { reason, reboot }) => {
            idle::roll_back(ctx, reason, reboot)
        }
        Event::Done(super::EffectKind::SaveRecords) => ctx.stay(),
        Event::Tick
        | Event::Command(_)
        | Event::Checked(_)
        | Event::Reverified(_)
        | Event::Written { .. }
        | Event::Proven { .. }
        | Event::Health(..)
        | Event::Gate { .. }
        | Event::Done(_)
        | Event::Failed { .. } => ctx.rest(event),
    }
}
