//! Activated: the bootloader is told to try the release, step by step, and the node waits for its
//! reboot. The known-good entry is never touched; where the loader was not seen to count it is
//! pinned first, and the trial is booted one-shot (DESIGN section 8).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::candidate::Proven;
use super::checking::waits_for;
use super::effect::{ArmMode, Effect, EffectKind};
use super::event::{Checked, Command, Event, Goal, HealthPurpose, HealthVerdict};
use super::state::{ActivateStep, Phase, Purpose, Wish};
use super::{Ctx, Transition, available, checking, judge, staging};
use crate::error::{Code, Failure};
use crate::facts::Counting;
use crate::why::WaitReason;

/// First step: what is ill before the update is not blamed on it. Force goes past what is ill here,
/// and that is remembered too.
pub(super) fn begin(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    let candidate = Some(proven.candidate().clone());
    ctx.go(at(proven, ActivateStep::Health))
        .then(Effect::RunHealth {
            purpose: HealthPurpose::Before,
            candidate,
        })
}

fn at(proven: &Proven, step: ActivateStep) -> Phase {
    Phase::Activated {
        proven: proven.clone(),
        step,
        reason: needs_reboot(proven),
    }
}

/// What an activated release waits for.
pub(super) fn needs_reboot(proven: &Proven) -> WaitReason {
    WaitReason::RebootNeeded {
        version: proven.candidate().version().to_string(),
    }
}

/// How the entry must be armed: counted where the loader is seen to count and would sort it first.
fn mode(ctx: &Ctx<'_>, proven: &Proven) -> ArmMode {
    let loader = ctx.facts.loader();
    let tries = ctx.policy.tries.min(loader.tries_granted);
    let first = ctx.facts.system().version < *proven.candidate().version();
    if loader.counting == Counting::Proven && first {
        ArmMode::Counted { tries }
    } else {
        ArmMode::OneShot { tries }
    }
}

/// Pins the known-good entry where the loader cannot be relied on; else arms at once.
fn first_change(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    match (mode(ctx, proven), ctx.facts.booted_entry()) {
        (ArmMode::Counted { .. }, _) => arm(ctx, proven),
        (ArmMode::OneShot { .. }, Some(good)) => ctx
            .go(at(proven, ActivateStep::PinGood))
            .persist(ctx)
            .then(Effect::Pin(Some(good.stem.clone()))),
        (ArmMode::OneShot { .. }, None) => refused(ctx, proven, no_good_entry()),
    }
}

fn no_good_entry() -> Failure {
    Failure::new(
        Code::BootFactsContradict,
        "the running slot",
        "no boot entry of ours boots it",
    )
}

fn arm(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    ctx.go(at(proven, ActivateStep::Arm))
        .persist(ctx)
        .then(Effect::Arm {
            proven: proven.clone(),
            mode: mode(ctx, proven),
        })
}

pub(super) fn on(ctx: &Ctx<'_>, proven: &Proven, step: ActivateStep, event: Event) -> Transition {
    match (step, event) {
        (ActivateStep::Health, Event::Health(HealthPurpose::Before, verdict)) => {
            healthy_before(ctx, proven, verdict)
        }
        (ActivateStep::PinGood, Event::Done(EffectKind::Pin)) => arm(ctx, proven),
        (ActivateStep::Arm, Event::Done(EffectKind::Arm)) => armed_entry(ctx, proven),
        (ActivateStep::Unpin, Event::Done(EffectKind::Pin)) => armed(ctx, proven),
        (ActivateStep::Armed, event) => on_armed(ctx, proven, event),
        (ActivateStep::Arm, Event::Failed { failure, .. }) if image_lost(&failure) => {
            staging::bring_again(ctx, proven.candidate(), failure)
        }
        (_, Event::Failed { failure, .. }) => refused(ctx, proven, failure),
        (
            ActivateStep::Health | ActivateStep::PinGood | ActivateStep::Arm | ActivateStep::Unpin,
            other,
        ) => ctx.rest(other),
    }
}

/// A cut in the middle of arming can cost the staged boot image its name (a FAT rename is two
/// updates): a release that stayed 'staged' without it could never be armed nor replaced.
fn image_lost(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::EntryMissing | Code::ReadBackMismatch | Code::DigestMismatch
    )
}

fn healthy_before(ctx: &Ctx<'_>, proven: &Proven, verdict: HealthVerdict) -> Transition {
    match verdict {
        HealthVerdict::Good | HealthVerdict::Pending => ready(ctx, proven, Vec::new()),
        HealthVerdict::Kept { lost } => ready(ctx, proven, lost),
        HealthVerdict::Bad { check, .. } if ctx.state.wish.force => {
            ready(ctx, proven, alloc::vec![check])
        }
        HealthVerdict::Bad { check, detail } => {
            let reason = WaitReason::UnhealthyBefore {
                check: check.clone(),
            };
            let failure = Failure::new(
                Code::UnhealthyBeforeUpdate,
                alloc::format!("check {check}"),
                detail,
            );
            ctx.go(Phase::Staged {
                proven: proven.clone(),
                reason,
            })
            .persist(ctx)
            .refuse(failure)
        }
    }
}

/// What is ill now is written down with the release, since the trial is judged in another boot.
fn ready(ctx: &Ctx<'_>, proven: &Proven, ill: Vec<String>) -> Transition {
    let mut state = ctx.state.clone();
    state.ill_before = ill;
    let ctx = Ctx {
        state: &state,
        ..*ctx
    };
    first_change(&ctx, proven)
}

/// The new entry stands; a pin of a manual rollback would hide it, so it goes after, not before.
fn armed_entry(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    let pinned = ctx.facts.loader().pinned.is_some();
    match mode(ctx, proven) {
        ArmMode::Counted { .. } if pinned => ctx
            .go(at(proven, ActivateStep::Unpin))
            .persist(ctx)
            .then(Effect::Pin(None)),
        ArmMode::Counted { .. } | ArmMode::OneShot { .. } => armed(ctx, proven),
    }
}

fn armed(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    let release = proven.candidate().saved();
    let transition = ctx.go(at(proven, ActivateStep::Armed)).persist(ctx).note(
        "activated",
        Some(release),
        "the bootloader tries it at the next start".to_string(),
    );
    towards_restart(ctx, proven, transition)
}

/// The last look before the restart, where a restart is wanted and allowed now.
fn towards_restart(ctx: &Ctx<'_>, proven: &Proven, transition: Transition) -> Transition {
    if ctx.state.wish.goal < Goal::Reboot {
        return transition;
    }
    match judge::may_restart(ctx, proven.candidate()) {
        Ok(()) => last_look(ctx, proven, transition),
        Err(reason) => waiting(transition, reason),
    }
}

/// The same transition, with what it waits for.
fn waiting(mut transition: Transition, why: WaitReason) -> Transition {
    if let Phase::Activated { reason, .. } = &mut transition.next.phase {
        *reason = why;
    }
    transition
}

/// A look that is no last one: a withdrawn release is dropped, a newer one takes its place.
fn looked(ctx: &Ctx<'_>, proven: &Proven, checked: &Checked) -> Transition {
    let mut transition = match checking::fate(ctx, proven, checked) {
        checking::Fate::Gone(reason) => drop_release(ctx, proven, reason),
        checking::Fate::Superseded(newer) => available::found(ctx, &newer),
        checking::Fate::Stands => ctx.stay(),
    };
    transition.next.refreshed = Some(ctx.now.boot);
    transition
}

/// Whether the loader already tries this release at the next start: its entry stands from before the
/// program was started anew, and nothing keeps the loader from it.
pub(super) fn stands(ctx: &Ctx<'_>, proven: &Proven) -> bool {
    let root = proven.candidate().root_hash();
    let loader = ctx.facts.loader();
    ctx.removable(&root).is_some_and(|entry| {
        let free = loader.pinned.is_none() || loader.one_shot.as_ref() == Some(&entry.stem);
        !entry.is_blessed() && !entry.is_exhausted() && free
    })
}

/// Activated before a restart of the program, and proven again since.
pub(super) fn again(ctx: &Ctx<'_>, proven: &Proven) -> Transition {
    ctx.go(at(proven, ActivateStep::Armed)).persist(ctx)
}

/// Metadata is refreshed again before the reboot, so that a release withdrawn meanwhile is dropped.
fn last_look(ctx: &Ctx<'_>, proven: &Proven, mut transition: Transition) -> Transition {
    transition.next.phase = Phase::Checking {
        purpose: Purpose::BeforeReboot(proven.clone()),
    };
    transition.next.wish = ctx.state.wish.clone();
    transition.then(Effect::Refresh)
}

fn on_armed(ctx: &Ctx<'_>, proven: &Proven, event: Event) -> Transition {
    match event {
        Event::Gate { held_by: None } => {
            let to = proven.candidate().saved();
            let reason = alloc::format!("update to {}", to.version);
            ctx.go(Phase::Rebooting { to })
                .persist(ctx)
                .then(Effect::Reboot { reason })
        }
        Event::Gate {
            held_by: Some(holder),
        } => {
            let gate = "a gate".to_string();
            waiting(ctx.stay(), WaitReason::GateHeld { gate, holder })
        }
        Event::Tick | Event::CheckDue if ctx.state.wish.goal >= Goal::Reboot => {
            towards_restart(ctx, proven, ctx.stay())
        }
        Event::CheckDue
        | Event::Command(Command::Update {
            goal: Goal::Check,
            version: None,
            ..
        }) => ctx.stay().then(Effect::Refresh),
        Event::Checked(checked) => looked(ctx, proven, &checked),
        Event::Command(Command::Update {
            goal,
            version,
            force,
        }) => {
            let mut state = ctx.state.clone();
            state.wish = Wish {
                goal,
                version,
                force,
                by_person: true,
            };
            let ctx = Ctx {
                state: &state,
                ..*ctx
            };
            towards_restart(&ctx, proven, ctx.stay())
        }
        Event::Done(EffectKind::SaveRecords) => {
            match judge::still_acceptable(ctx, proven.candidate()) {
                Ok(()) => ctx.stay(),
                Err(reason) => drop_release(ctx, proven, reason),
            }
        }
        Event::Failed { failure, .. } => {
            waiting(ctx.stay(), waits_for(ctx, &failure)).refuse(failure)
        }
        Event::Tick
        | Event::Command(_)
        | Event::Reverified(_)
        | Event::Written { .. }
        | Event::Proven { .. }
        | Event::Health(..)
        | Event::Done(_) => ctx.rest(event),
    }
}

/// The loader could not be told: the slot stays staged and proven, nothing else has changed.
fn refused(ctx: &Ctx<'_>, proven: &Proven, failure: Failure) -> Transition {
    let reason = checking::waits_for(ctx, &failure);
    let release = proven.candidate().saved();
    let mut transition = ctx.go(Phase::Staged {
        proven: proven.clone(),
        reason,
    });
    transition.next.wish = ctx.policy.standing_wish();
    // Only a person, or the next check, tries again: no loop around a refusing bootloader.
    transition.next.wish.goal = Goal::Stage;
    transition
        .persist(ctx)
        .note("failed", Some(release), failure.to_string())
        .refuse(failure)
}

/// A release that must not move any more: its entry becomes unbootable, the slot stays as it is.
pub(super) fn drop_release(ctx: &Ctx<'_>, proven: &Proven, reason: WaitReason) -> Transition {
    let saved = proven.candidate().saved();
    let detail = reason.sentence();
    let transition = ctx
        .idle(reason)
        .persist(ctx)
        .note("dropped", Some(saved.clone()), detail);
    match ctx.removable(&saved.root_hash) {
        Some(entry) => transition.then(Effect::Retire(entry.stem.clone())),
        None => transition,
    }
}
