//! The update state machine: where an update stands, what has happened, what is to be done next.
//!
//! [`step`] and [`recover()`] are pure and total. One file per phase; no phase is matched by a
//! wildcard. `agent::perform` carries out the effects, in order, and answers with events. Two rules
//! hold for every transition (checked by [`invariants`]): [`Effect::Persist`] stands before any
//! effect that changes disk or bootloader, and there is at most one such effect.

pub mod candidate;
pub mod effect;
pub mod event;
pub mod invariants;
pub mod judge;
pub mod pace;
pub mod policy;
pub mod recover;
pub mod saved;
pub mod state;
pub mod table;

mod activated;
mod available;
mod blocked;
mod checking;
mod commands;
mod denying;
mod idle;
mod own_look;
mod rolling_back;
mod staged;
mod staging;
mod trial;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub use candidate::{Candidate, Proven, SavedRelease};
pub use effect::{ArmMode, Effect, EffectKind, Note};
pub use event::{Checked, Command, Event, Goal, HealthPurpose, HealthVerdict, Listed};
pub use policy::Policy;
pub use recover::recover;
pub use saved::{Saved, SavedPhase};
pub use state::{Cause, Phase, PhaseName, State, Wish};

use crate::error::Failure;
use crate::facts::{EntryObserved, Facts, Now};
use crate::records::Records;
use crate::why::WaitReason;
use state::Attempts;

/// What a step decides.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The new state.
    pub next: State,
    /// What to do, in order.
    pub effects: Vec<Effect>,
    /// Why a request was refused, for whoever made it.
    pub refused: Option<Failure>,
}

/// Everything a phase may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ctx<'a> {
    pub(crate) state: &'a State,
    pub(crate) records: &'a Records,
    pub(crate) facts: &'a Facts,
    pub(crate) now: Now,
    pub(crate) policy: &'a Policy,
}

/// Decides what follows from an event.
#[must_use]
pub fn step(
    state: &State,
    records: &Records,
    facts: &Facts,
    event: Event,
    now: Now,
    policy: &Policy,
) -> Transition {
    let ctx = Ctx {
        state,
        records,
        facts,
        now,
        policy,
    };
    let event = match event {
        Event::Command(command) => match commands::anywhere(&ctx, &command) {
            Some(transition) => return transition,
            None => Event::Command(command),
        },
        other => other,
    };
    let forced = forced(&ctx, &event);
    let mut transition = by_phase(&ctx, event);
    // What goes against memory or schedule leaves a trace, even if the next step fails.
    if let (Some(note), None) = (forced, &transition.refused) {
        transition.effects.insert(0, Effect::Note(note));
    }
    transition
}

/// The line of history for a request with force.
fn forced(ctx: &Ctx<'_>, event: &Event) -> Option<Note> {
    let Event::Command(Command::Update {
        force: true,
        version,
        ..
    }) = event
    else {
        return None;
    };
    let what = match version {
        Some(version) => format!("{version} was asked for with force"),
        None => String::from("an update was asked for with force"),
    };
    Some(Note {
        what: "forced",
        release: recover::under_way(&ctx.state.phase),
        detail: what,
    })
}

fn by_phase(ctx: &Ctx<'_>, event: Event) -> Transition {
    match &ctx.state.phase {
        Phase::Idle { .. } => idle::on(ctx, event),
        Phase::Checking { purpose } => checking::on(ctx, purpose, event),
        Phase::Available { candidate, .. } => available::on(ctx, candidate, event),
        Phase::Staging { candidate, step } => staging::on(ctx, candidate, *step, event),
        Phase::Repairing { candidate, step } => staging::on_repair(ctx, candidate, *step, event),
        Phase::Staged { proven, .. } => staged::on(ctx, proven, event),
        Phase::Activated { proven, step, .. } => activated::on(ctx, proven, *step, event),
        Phase::Rebooting { .. } => ctx.rest(event),
        Phase::Trial {
            trial,
            candidate,
            look,
        } => trial::on(ctx, trial, candidate.as_ref(), look, event),
        Phase::Blessing {
            trial,
            candidate,
            step,
        } => trial::on_blessing(ctx, trial, candidate.as_ref(), *step, event),
        Phase::Committing {
            trial,
            candidate,
            step,
        } => trial::on_committing(ctx, trial, candidate.as_ref(), *step, event),
        Phase::RollingBack { from, cause, step } => {
            rolling_back::on(ctx, from, cause, *step, event)
        }
        Phase::Denying {
            release,
            failure,
            step,
        } => denying::on(ctx, release, failure, *step, event),
        Phase::Blocked { .. } => blocked::on(ctx, event),
    }
}

impl Ctx<'_> {
    /// The same state in another phase, with nothing to do yet.
    fn go(&self, phase: Phase) -> Transition {
        Transition {
            next: State {
                phase,
                ..self.state.clone()
            },
            effects: Vec::new(),
            refused: None,
        }
    }

    /// Back to rest, with the node's own wish instead of the request that ended.
    fn idle(&self, reason: WaitReason) -> Transition {
        let mut transition = self.go(Phase::Idle { reason });
        transition.next.wish = self.policy.standing_wish();
        transition.next.ill_before = Vec::new();
        transition
    }

    /// Nothing changes.
    fn stay(&self) -> Transition {
        self.go(self.state.phase.clone())
    }

    /// An event that makes no sense here is recorded and ignored (DESIGN section 5); the passing of
    /// time and the end of a change that any phase may ask for are no events worth a record.
    fn rest(&self, event: Event) -> Transition {
        match event {
            Event::Tick
            | Event::CheckDue
            | Event::Health(..)
            | Event::Done(EffectKind::SaveRecords | EffectKind::Retire | EffectKind::Reboot) => {
                self.stay()
            }
            Event::Command(_) => self.refuse_now(),
            other => {
                let detail = format!(
                    "{} in phase {}",
                    event_name(&other),
                    self.state.phase.name().as_str()
                );
                self.stay().then(Effect::Note(Note {
                    what: "ignored",
                    release: None,
                    detail,
                }))
            }
        }
    }

    /// A request that does not fit the phase.
    fn refuse_now(&self) -> Transition {
        let phase = self.state.phase.name().as_str();
        self.stay().refuse(Failure::new(
            crate::error::Code::NotNow,
            format!("the update in phase {phase}"),
            "the request does not fit this phase",
        ))
    }

    /// A try that failed: counted, unless it made progress.
    fn failed_try(&self, release: twinroot_trust::digest::Digest, progress: u64) -> Attempts {
        let before = match self.state.attempts.release {
            Some(same) if same == release && progress == 0 => self.state.attempts.count,
            _ => 0,
        };
        Attempts {
            release: Some(release),
            count: before + 1,
        }
    }

    /// The entry that boots `root`, unless that is the root that runs: the entry of the running
    /// system is never taken away by what follows from another release.
    fn removable(&self, root: &twinroot_trust::digest::Digest) -> Option<&EntryObserved> {
        self.facts
            .other_entries()
            .find(|entry| entry.root_hash == *root)
    }

    fn running(&self) -> String {
        use alloc::string::ToString;
        self.facts.system().version.to_string()
    }

    fn nothing_newer(&self) -> WaitReason {
        WaitReason::NoNewerRelease {
            running: self.running(),
        }
    }
}

impl Transition {
    /// Appends an effect.
    fn then(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Appends writing down the new state; stands before any effect that changes the machine.
    fn persist(self, ctx: &Ctx<'_>) -> Self {
        let saved = Saved::of(&self.next, &ctx.facts.system().boot_id);
        self.then(Effect::Persist(saved))
    }

    fn refuse(mut self, failure: Failure) -> Self {
        self.refused = Some(failure);
        self
    }

    fn note(self, what: &'static str, release: Option<SavedRelease>, detail: String) -> Self {
        self.then(Effect::Note(Note {
            what,
            release,
            detail,
        }))
    }
}

/// A word for an event, for records.
fn event_name(event: &Event) -> String {
    match event {
        Event::CheckDue => "check-due".into(),
        Event::Tick => "tick".into(),
        Event::Command(_) => "command".into(),
        Event::Checked(_) => "checked".into(),
        Event::Reverified(_) => "reverified".into(),
        Event::Written { .. } => "written".into(),
        Event::Proven { .. } => "proven".into(),
        Event::Health(..) => "health".into(),
        Event::Gate { .. } => "gate".into(),
        Event::Done(kind) => format!("done {kind:?}"),
        Event::Failed {
            effect, failure, ..
        } => format!("failed {effect:?}: {failure}"),
    }
}
