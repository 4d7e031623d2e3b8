//! Commands that act: they hold the machine's lock, run the loop in-process, and say where the
//! update stands afterwards.

use twinroot_agent::{Agent, report};
use twinroot_core::error::{Code, Failure};
use twinroot_core::update::{Command, Event, Goal, Phase};
use twinroot_ports::Outcome;

use super::look::Target;
use super::outcome;
use crate::args::{Choice, Pin, Rollback};
use crate::machine::{Access, Node};
use crate::observe::Watcher;
use crate::print;
use crate::signals::Stop;

/// `twinroot check`.
pub(super) fn check(target: &Target<'_>) -> Outcome<()> {
    let command = Command::Update {
        goal: Goal::Check,
        version: None,
        force: false,
    };
    acting(target, |agent, _| {
        ask(agent, command)?;
        let report = report::check(agent)?;
        target.screen.answer(&report, print::check)
    })
}

/// `twinroot plan`.
pub(super) fn plan(target: &Target<'_>, choice: &Choice) -> Outcome<()> {
    acting(target, |agent, _| {
        let plan = report::plan(agent, choice.version.clone(), choice.force);
        report::remember(agent, plan.as_ref().err())?;
        target.screen.answer(&plan?, print::plan)
    })
}

/// `twinroot stage`, `apply`, `repair`.
pub(super) fn update(target: &Target<'_>, command: Command) -> Outcome<()> {
    acting(target, |agent, node| {
        ask(agent, command)?;
        done(target, agent, node)
    })
}

/// `twinroot activate`: of what is staged, not of something that would have to be staged first.
pub(super) fn activate(target: &Target<'_>) -> Outcome<()> {
    acting(target, |agent, node| {
        if !matches!(
            agent.state().phase,
            Phase::Staged { .. } | Phase::Activated { .. }
        ) {
            let cause = "no release lies in it, staged and proven";
            return Err(Failure::new(Code::NothingStaged, "the other slot", cause));
        }
        ask(agent, go_on(Goal::Activate))?;
        done(target, agent, node)
    })
}

/// `twinroot reboot`: into what is activated, or into the slot that a rollback has chosen.
pub(super) fn reboot(target: &Target<'_>) -> Outcome<()> {
    acting(target, |agent, node| {
        if agent.rebooting() {
            return done(target, agent, node);
        }
        if !matches!(
            agent.state().phase,
            Phase::Activated { .. } | Phase::RollingBack { .. }
        ) {
            let cause = "no release is activated and no rollback is under way";
            return Err(
                Failure::new(Code::NotNow, "the restart", cause).with_remedy(
                    "activate a release first: `twinroot apply`, or `twinroot activate`",
                ),
            );
        }
        ask(agent, go_on(Goal::Reboot))?;
        done(target, agent, node)
    })
}

fn go_on(goal: Goal) -> Command {
    Command::Update {
        goal,
        version: None,
        force: false,
    }
}

/// `twinroot rollback`.
pub(super) fn rollback(target: &Target<'_>, rollback: &Rollback) -> Outcome<()> {
    let command = Command::Rollback {
        reason: rollback.reason.clone(),
        reboot: !rollback.no_reboot,
    };
    update(target, command)
}

/// `twinroot pin`.
pub(super) fn pin(target: &Target<'_>, pin: &Pin) -> Outcome<()> {
    acting(target, |agent, node| {
        let running = &agent.facts().system().version;
        let version = match (&pin.version, pin.clear) {
            (_, true) => None,
            (Some(version), false) => Some(version.clone()),
            (None, false) => Some(running.clone()),
        };
        ask(agent, Command::Pin { version })?;
        done(target, agent, node)
    })
}

/// `twinroot deny`, `undeny`, `pause`, `resume`: changes of what is remembered.
pub(super) fn remember(target: &Target<'_>, command: Command) -> Outcome<()> {
    acting(target, |agent, node| {
        ask(agent, command)?;
        done(target, agent, node)
    })
}

/// Opens the machine with its lock and the loop over it.
pub(super) fn acting(
    target: &Target<'_>,
    work: impl FnOnce(&mut Agent<'_>, &Node) -> Outcome<()>,
) -> Outcome<()> {
    let node = Node::open(target.machine, Access::Act)?;
    let watcher = Watcher::new(*target.screen);
    let mut agent = node.agent(Access::Act, &watcher)?;
    let outcome = work(&mut agent, &node);
    watcher.finish();
    outcome
}

/// Has the loop carry out a request to its end. An answer that did not reach what was asked for is
/// a failure with the reason's code.
fn ask(agent: &mut Agent<'_>, command: Command) -> Outcome<()> {
    let stop = Stop::listen()?;
    let refused = agent.handle(Event::Command(command.clone()))?;
    let settled = match agent.on_trial() {
        // A trial takes its time and is the loop's to judge; a request does not wait for it.
        true => None,
        false => agent.settle(&mut |time| stop.wait(time))?,
    };
    let failure = settled
        .or(refused)
        .or_else(|| outcome::not_taken(agent, &command));
    if is_look(&command) || failure.is_some() {
        report::remember(agent, failure.as_ref())?;
    }
    failure.map_or(Ok(()), Err)
}

/// Requests that end with a look at the repository.
fn is_look(command: &Command) -> bool {
    matches!(command, Command::Update { .. } | Command::Repair)
}

/// Where it stands now.
fn done(target: &Target<'_>, agent: &Agent<'_>, node: &Node) -> Outcome<()> {
    let status = report::status(agent, node.settings())?;
    let totals = agent.totals();
    target
        .screen
        .answer(&status, |status| print::done(status, &totals))
}
