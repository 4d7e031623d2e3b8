//! Idle: nothing is under way.

use alloc::string::ToString;

use super::candidate::SavedRelease;
use super::effect::Effect;
use super::event::{Command, Event, HealthPurpose, HealthVerdict};
use super::state::{Attempts, BackStep, Cause, OnTrial, Phase, Purpose, Resume, Wish};
use super::{Ctx, Transition};
use crate::error::{Code, Failure};
use crate::facts::Fallback;
use crate::records::RecordChange;

pub(super) fn on(ctx: &Ctx<'_>, event: Event) -> Transition {
    match event {
        Event::CheckDue => look(ctx, ctx.policy.standing_wish()),
        Event::Command(Command::Update {
            goal,
            version,
            force,
        }) => look(
            ctx,
            Wish {
                goal,
                version,
                force,
                by_person: true,
            },
        ),
        Event::Command(Command::Rollback { reason, reboot }) => roll_back(ctx, reason, reboot),
        Event::Command(Command::Repair) => repair(ctx),
        Event::Health(HealthPurpose::Steady, verdict) => steady(ctx, &verdict),
        // A committed system that was not well when the program started may become so.
        Event::Tick if !ctx.state.healthy => ctx.stay().then(Effect::RunHealth {
            purpose: HealthPurpose::Steady,
            candidate: None,
        }),
        Event::Done(
            super::EffectKind::ClearAttempts
            | super::EffectKind::SaveRecords
            | super::EffectKind::Retire,
        ) => ctx.stay(),
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

/// Starts a look at the repository. A person's request forgives earlier failures.
pub(super) fn look(ctx: &Ctx<'_>, wish: Wish) -> Transition {
    let mut transition = ctx.go(Phase::Checking {
        purpose: Purpose::Look,
    });
    if wish.by_person {
        transition.next.attempts = Attempts::default();
    }
    transition.next.wish = wish;
    transition.then(Effect::Refresh)
}

/// Health after a start of the committed system ends the count of starts without it.
fn steady(ctx: &Ctx<'_>, verdict: &HealthVerdict) -> Transition {
    let mut transition = ctx.stay();
    match verdict {
        HealthVerdict::Good | HealthVerdict::Kept { .. } => {}
        HealthVerdict::Pending | HealthVerdict::Bad { .. } => return transition,
    }
    transition.next.healthy = true;
    if ctx.facts.loader().starts_without_health == 0 {
        return transition;
    }
    transition.persist(ctx).then(Effect::ClearAttempts)
}

/// A person goes back: remember what is left, then make the other entry the default.
pub(super) fn roll_back(ctx: &Ctx<'_>, reason: alloc::string::String, reboot: bool) -> Transition {
    if let Err(failure) = may_go_back(ctx) {
        return ctx.stay().refuse(failure);
    }
    let Some(from) = booted(ctx) else {
        return ctx.stay().refuse(no_entry());
    };
    let denial = super::commands::by_person(ctx, &from.release, &reason, None);
    let cause = Cause::Person { reason, reboot };
    ctx.go(Phase::RollingBack {
        from,
        cause,
        step: BackStep::Deny,
    })
    .persist(ctx)
    .then(Effect::SaveRecords(RecordChange::Deny(denial)))
}

fn may_go_back(ctx: &Ctx<'_>) -> Result<(), Failure> {
    let none = |cause: &str| Failure::new(Code::NoFallback, "the other slot", cause);
    let entry = match ctx.facts.fallback() {
        Fallback::Absent => return Err(none("it holds no release that boots")),
        Fallback::Proven | Fallback::Unproven => ctx.facts.fallback_entry(),
    };
    let Some(entry) = entry else {
        return Err(none("it has no boot entry"));
    };
    let denied = ctx.records.denies_root(&entry.root_hash, ctx.now.wall);
    if denied.is_some() {
        return Err(none("its release is denied"));
    }
    let stamped = ctx.facts.system().stamped_floor.as_ref();
    match ctx.records.floor(stamped) {
        Some(floor) if entry.version < *floor => Err(none(&alloc::format!(
            "its release {} is below the floor {floor}",
            entry.version
        ))),
        _ => Ok(()),
    }
}

/// What runs, as a release: what was remembered when it was installed, else what the boot says.
pub(super) fn booted(ctx: &Ctx<'_>) -> Option<OnTrial> {
    super::recover::booted_release(ctx.facts, ctx.records)
}

fn no_entry() -> Failure {
    Failure::new(
        Code::BootFactsContradict,
        "the running slot",
        "no boot entry of ours boots it",
    )
}

/// What to write over a slot that went bad: the release that was there, else the running one.
fn repair(ctx: &Ctx<'_>) -> Transition {
    match repairable(ctx) {
        Some(saved) => start_repair(ctx, saved),
        None => ctx.stay().refuse(
            Failure::new(
                Code::UnknownRelease,
                "the other slot",
                "no release is known whose signed description is still here",
            )
            .with_remedy("apply a release instead: `twinroot apply`"),
        ),
    }
}

/// The release that was committed and abandoned, unless denied; else the one that runs.
pub(super) fn repairable(ctx: &Ctx<'_>) -> Option<SavedRelease> {
    let good = |release: &&SavedRelease| ctx.records.denial_of(release, ctx.now.wall).is_none();
    let abandoned = ctx.facts.loader().abandoned;
    abandoned
        .and_then(|root| ctx.records.known_by_root(&root))
        .filter(good)
        .or_else(|| {
            ctx.records
                .known_by_root(&ctx.facts.system().root_hash)
                .filter(good)
        })
        .cloned()
}

/// Signed bytes are verified again before a block is written.
pub(super) fn start_repair(ctx: &Ctx<'_>, saved: SavedRelease) -> Transition {
    let detail = alloc::format!(
        "slot {} is to be written again",
        ctx.facts.inactive().name()
    );
    let noted = saved.clone();
    ctx.go(Phase::Checking {
        purpose: Purpose::Resume {
            saved: saved.clone(),
            at: Resume::Repairing,
        },
    })
    .note("repair", Some(noted), detail.to_string())
    .then(Effect::Reverify(saved))
}
