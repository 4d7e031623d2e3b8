//! Blocked: trying the same again would repeat the failure. Looking for something else goes on; a
//! person's request starts anew.

use super::event::{Command, Event};
use super::state::Wish;
use super::{Ctx, Transition, idle};

pub(super) fn on(ctx: &Ctx<'_>, event: Event) -> Transition {
    match event {
        Event::CheckDue if !on_trial(ctx) => idle::look(ctx, ctx.policy.standing_wish()),
        Event::Command(Command::Update {
            goal,
            version,
            force,
        }) if !on_trial(ctx) => idle::look(
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
        Event::CheckDue
        | Event::Tick
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

/// A slot that is not blessed runs: the other one is all the node has, so nothing is written.
fn on_trial(ctx: &Ctx<'_>) -> bool {
    ctx.facts
        .booted_entry()
        .is_some_and(|entry| !entry.is_blessed())
        && ctx.facts.fallback_entry().is_some()
}
