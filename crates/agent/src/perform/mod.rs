//! Carries out effects: the only caller of ports that change anything. One file a kind of work; each
//! effect can be repeated, and none decides.

mod boot;
pub(crate) mod boot_delta;
mod crew;
pub(crate) mod delta;
mod health;
mod index;
pub mod metadata;
mod prove;
pub mod signed;
pub(crate) mod stage;
pub(crate) mod uki;

use twinroot_core::facts::Facts;
use twinroot_core::update::{Effect, EffectKind, Event};
use twinroot_ports::{Failure, Outcome};

use crate::agent::Agent;
use crate::history;

/// A failed effect, and what it had put on the disk before it failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) progress: u64,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            progress: 0,
        }
    }
}

/// Carries out one effect. The answer is the event that follows, if one does.
pub(crate) fn perform(
    agent: &mut Agent<'_>,
    effect: Effect,
    facts: &Facts,
) -> Result<Option<Event>, Failed> {
    let kind = effect.kind();
    match effect {
        Effect::Persist(saved) => {
            agent.keep_signed_bytes()?;
            agent.save_state(&saved)?;
            Ok(None)
        }
        Effect::SaveRecords(change) => {
            agent.change_records(&change)?;
            done(kind)
        }
        Effect::TrustTime(time) => {
            agent.trust_time(time)?;
            Ok(None)
        }
        Effect::Refresh => Ok(Some(Event::Checked(metadata::refresh(agent, facts)?))),
        Effect::Reverify(saved) => Ok(Some(Event::Reverified(signed::reverify(
            agent.ports,
            &agent.options,
            &saved,
        )?))),
        Effect::Write { slot, candidate } => stage::write(agent, facts, &slot, &candidate),
        Effect::Prove { slot, candidate } => prove::prove(agent, &slot, &candidate),
        Effect::Disarm(stems) => {
            boot::remove(agent.ports, &stems)?;
            done(kind)
        }
        Effect::Retire(stem) => {
            boot::remove(agent.ports, &[stem])?;
            done(kind)
        }
        Effect::Arm { proven, mode } => {
            boot::arm(agent.ports, &proven, mode)?;
            done(kind)
        }
        Effect::Pin(stem) => {
            agent.ports.bootloader.pin(stem.as_deref())?;
            done(kind)
        }
        Effect::Bless(stem) => {
            agent.ports.bootloader.bless(&stem)?;
            done(kind)
        }
        Effect::ClearAttempts => {
            agent.ports.bootloader.clear_attempts()?;
            done(kind)
        }
        Effect::AskGate => Ok(Some(boot::ask_gate(agent.ports)?)),
        Effect::Reboot { reason } => {
            agent.reboot(&reason)?;
            done(kind)
        }
        Effect::RunHealth { purpose, candidate } => {
            Ok(Some(health::run(agent, purpose, candidate.as_ref())?))
        }
        Effect::Note(note) => {
            agent.observer.note(&note);
            history::append(agent, &note, facts)?;
            Ok(None)
        }
        Effect::Sweep(keep) => {
            sweep(agent, &keep)?;
            Ok(None)
        }
    }
}

fn done(kind: EffectKind) -> Result<Option<Event>, Failed> {
    debug_assert!(
        kind.answers_done(),
        "{kind:?} answers with an event of its own"
    );
    Ok(Some(Event::Done(kind)))
}

/// Removes what belongs to no release that is known or under way.
fn sweep(agent: &Agent<'_>, keep: &[twinroot_trust::digest::Digest]) -> Outcome<()> {
    let phase = &agent.state.phase;
    let known = twinroot_core::update::recover::kept_releases(phase, &agent.records);
    signed::sweep(agent.ports, &known)?;
    let under_way = twinroot_core::update::recover::under_way(phase);
    let mut ukis: Vec<_> = agent
        .records
        .known
        .iter()
        .map(|release| release.uki)
        .collect();
    ukis.extend(under_way.map(|release| release.uki));
    ukis.extend(keep);
    agent.ports.bootloader.sweep(&ukis)
}
