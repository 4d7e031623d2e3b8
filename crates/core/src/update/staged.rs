//! Staged: the inactive slot holds the release, proven in this run.

use alloc::string::ToString;

use super::candidate::Proven;
use super::effect::Effect;
use super::event::{Checked, Command, Event, Goal};
use super::state::{Phase, Wish};
use super::{Ctx, Transition, activated, available, idle, judge, staging};
use crate::records::RecordChange;
use crate::rollout::Offer;
use crate::why::WaitReason;

/// Enters the phase and remembers the release as one that lies in a slot.
pub(super) fn enter(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    let release = proven.candidate().saved();
    let reason = not_by_request(ctx, proven);
    let detail = alloc::format!("slot {} was read back and proven", proven.slot());
    ctx.go(Phase::Staged {
        proven: proven.clone(),
        reason,
    })
    .persist(ctx)
    .note("staged", Some(release.clone()), detail)
    .then(Effect::SaveRecords(RecordChange::Know(release)))
}

/// What activation waits for where nobody has asked for it.
fn not_by_request(ctx: &Ctx<'_>, proven: &Proven) -> WaitReason {
    let candidate = proven.candidate();
    let left = WaitReason::StagedOnly {
        version: candidate.version().to_string(),
    };
    judge::by_itself(ctx, Goal::Activate, left, |own| {
        judge::may_restart(own, candidate)
    })
}

pub(super) fn on(ctx: &Ctx<'_>, proven: &Proven, event: Event) -> Transition {
    match event {
        Event::Done(super::EffectKind::SaveRecords) => go_on(ctx, proven),
        Event::Tick => go_on(ctx, proven),
        // To look is no wish to go less far.
        Event::Command(Command::Update {
            goal: Goal::Check,
            version: None,
            ..
        }) => ctx.stay().then(Effect::Refresh),
        Event::Command(Command::Update {
            goal,
            version,
            force,
        }) => {
            let other = version
                .as_ref()
                .is_some_and(|v| v != proven.candidate().version());
            let wish = Wish {
                goal,
                version,
                force,
                by_person: true,
            };
            if other {
                return idle::look(ctx, wish);
            }
            let mut state = ctx.state.clone();
            state.wish = wish;
            go_on(
                &Ctx {
                    state: &state,
                    ..*ctx
                },
                proven,
            )
        }
        Event::CheckDue => {
            let mut transition = ctx.stay().then(Effect::Refresh);
            // A request that has reached its goal is over; from the next look on the node goes by
            // its own policy again.
            if ctx.state.wish.goal <= Goal::Stage {
                transition.next.wish = ctx.policy.standing_wish();
            }
            transition
        }
        Event::Checked(checked) => superseded(ctx, proven, &checked),
        Event::Command(Command::Rollback { .. } | Command::Repair) => ctx.refuse_now(),
        Event::Failed { failure, .. } => ctx.stay().refuse(failure),
        Event::Command(_)
        | Event::Reverified(_)
        | Event::Written { .. }
        | Event::Proven { .. }
        | Event::Health(..)
        | Event::Gate { .. }
        | Event::Done(_) => ctx.rest(event),
    }
}

/// Activates where that is wanted and the release may still move.
fn go_on(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    if let Err(reason) = judge::still_acceptable(ctx, proven.candidate()) {
        return activated::drop_release(ctx, proven, reason);
    }
    if !staging::wanted(ctx) {
        return if activated::stands(ctx, proven) {
            activated::again(ctx, proven)
        } else {
            ctx.go(Phase::Staged {
                proven: proven.clone(),
                reason: not_by_request(ctx, proven),
            })
        };
    }
    match judge::may_restart(ctx, proven.candidate()) {
        Ok(()) => activated::begin(ctx, proven),
        Err(_) if activated::stands(ctx, proven) => activated::again(ctx, proven),
        Err(reason) => ctx.go(Phase::Staged {
            proven: proven.clone(),
            reason,
        }),
    }
}

/// A newer release replaces a staged one before the reboot; a withdrawn one is dropped.
fn superseded(ctx: &Ctx<'_>, proven: &Proven, checked: &Checked) -> Transition {
    let id = proven.candidate().id();
    let offer = checked
        .listed
        .iter()
        .find(|l| l.candidate.id() == id)
        .map(|l| l.offer);
    let mut transition = match (judge::select(ctx, checked), offer) {
        (Ok(newer), _) if newer.version() > proven.candidate().version() => {
            available::found(ctx, &newer)
        }
        (_, None | Some(Offer::Withdrawn)) => {
            let version = proven.candidate().version().to_string();
            activated::drop_release(ctx, proven, WaitReason::Withdrawn { version })
        }
        (Ok(_) | Err(_), Some(_)) => go_on(ctx, proven),
    };
    transition.next.refreshed = Some(ctx.now.boot);
    transition
}
