//! Requests of people and programs, the same from the command line and over the local API: what is
//! asked for becomes a command, the loop carries it out, and an answer that did not reach what was
//! asked for is a failure with its reason's code.

mod outcome;

use std::time::Duration;

use twinroot_core::error::{Code, Failure};
use twinroot_core::update::{Command, Event, Goal, Phase};
use twinroot_core::wire::{ActBody, Action};
use twinroot_ports::Outcome;

use crate::agent::Agent;
use crate::report;

/// Longest text that a person may leave as a reason: a few lines of `why`.
const REASON: usize = 500;
/// Longest name of a release: a hex SHA-256 has 64 characters, versions are shorter.
const RELEASE: usize = 128;

/// Carries out a request to its end and writes down how it ended. `wait` waits for the time it is
/// given and answers whether to go on.
///
/// # Errors
/// What was refused, what failed, or why the request did not get where it wanted.
///
/// `by` is who asks; it stands in every line of history that follows from the request.
pub fn carry_out(
    agent: &mut Agent<'_>,
    action: Action,
    body: &ActBody,
    by: &str,
    wait: &mut dyn FnMut(Duration) -> bool,
) -> Outcome<()> {
    agent.by = Some(by.to_owned());
    let done = to_its_end(agent, action, body, wait);
    agent.by = None;
    done
}

fn to_its_end(
    agent: &mut Agent<'_>,
    action: Action,
    body: &ActBody,
    wait: &mut dyn FnMut(Duration) -> bool,
) -> Outcome<()> {
    let command = command(agent, action, body)?;
    // The restart that a rollback wants may be under way since the program was opened.
    if action == Action::Reboot && agent.rebooting() {
        return Ok(());
    }
    fits_now(agent, action)?;
    // Written down first: what a request did can be traced to it even where the power fails.
    if action != Action::Check {
        agent.note_request(&in_words(action, body))?;
    }
    let refused = agent.handle(Event::Command(command.clone()))?;
    let settled = match agent.on_trial() {
        // A trial takes its time and is the loop's to judge; a request does not wait for it.
        true => None,
        false => agent.settle(wait)?,
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
const fn is_look(command: &Command) -> bool {
    matches!(command, Command::Update { .. } | Command::Repair)
}

/// What an action means to the state machine.
///
/// # Errors
/// `bad-request` for keys that the action does not take, or texts that are too long.
pub fn command(agent: &Agent<'_>, action: Action, body: &ActBody) -> Outcome<Command> {
    well_formed(action, body)?;
    let update = |goal| Command::Update {
        goal,
        version: body.version.clone(),
        force: body.force,
    };
    let reason = || {
        body.reason
            .clone()
            .unwrap_or_else(|| String::from("asked for without a reason"))
    };
    Ok(match action {
        Action::Check => update(Goal::Check),
        Action::Stage => update(Goal::Stage),
        Action::Activate => update(Goal::Activate),
        Action::Reboot => update(Goal::Reboot),
        Action::Apply if body.no_reboot => update(Goal::Activate),
        Action::Apply => update(Goal::Reboot),
        Action::Rollback => Command::Rollback {
            reason: reason(),
            reboot: !body.no_reboot,
        },
        Action::Repair => Command::Repair,
        Action::Pause => Command::Pause,
        Action::Resume => Command::Resume,
        Action::Pin => Command::Pin {
            version: match (&body.version, body.clear) {
                (_, true) => None,
                (Some(version), false) => Some(version.clone()),
                (None, false) => Some(agent.facts().system().version.clone()),
            },
        },
        Action::Hold if body.clear => Command::Release,
        Action::Hold => Command::Hold {
            until: body.until,
            reason: reason(),
        },
        Action::Deny => Command::Deny {
            release: named(body)?,
            reason: reason(),
            until: body.until,
        },
        Action::Undeny => Command::Undeny {
            release: named(body)?,
        },
    })
}

/// A request in one clause, for the history.
fn in_words(action: Action, body: &ActBody) -> String {
    let mut words = String::from(action.as_str());
    let named = body.release.clone();
    if let Some(name) = named.or_else(|| body.version.as_ref().map(ToString::to_string)) {
        words.push(' ');
        words.push_str(&name);
    }
    for (set, word) in [
        (body.clear, "--clear"),
        (body.force, "--force"),
        (body.no_reboot, "--no-reboot"),
    ] {
        if set {
            words.push(' ');
            words.push_str(word);
        }
    }
    if let Some(until) = body.until {
        words.push_str(&format!(" until {until}"));
    }
    if let Some(reason) = &body.reason {
        words.push_str(&format!(": {reason}"));
    }
    words
}

fn well_formed(action: Action, body: &ActBody) -> Outcome<()> {
    let refuse = |cause: String| {
        let subject = format!("the request {}", action.as_str());
        Err(Failure::new(Code::BadRequest, subject, cause))
    };
    if let Some(key) = body.keys().find(|key| !action.takes().contains(key)) {
        return refuse(format!("it does not take the key {key}"));
    }
    if body.clear && (body.version.is_some() || body.until.is_some()) {
        return refuse(String::from("it cannot lift and set at once"));
    }
    let long = |text: &Option<String>, most| text.as_ref().is_some_and(|t| t.len() > most);
    if long(&body.reason, REASON) || long(&body.release, RELEASE) {
        return refuse(format!(
            "a reason has at most {REASON} bytes, the name of a release {RELEASE}"
        ));
    }
    Ok(())
}

fn named(body: &ActBody) -> Outcome<String> {
    body.release.clone().ok_or_else(|| {
        let cause = "the key release is missing";
        Failure::new(Code::BadRequest, "the request", cause)
            .with_remedy("name a release by version, root hash or digest of its boot image")
    })
}

/// Activating is of what is staged, restarting into what is activated or chosen: neither starts with
/// something else by itself.
fn fits_now(agent: &Agent<'_>, action: Action) -> Outcome<()> {
    let phase = &agent.state().phase;
    match (action, phase) {
        (Action::Activate, Phase::Staged { .. } | Phase::Activated { .. }) => Ok(()),
        (Action::Activate, _) => {
            let cause = "no release lies in it, staged and proven";
            Err(Failure::new(Code::NothingStaged, "the other slot", cause))
        }
        (
            Action::Reboot,
            Phase::Activated { .. } | Phase::RollingBack { .. } | Phase::Rebooting { .. },
        ) => Ok(()),
        (Action::Reboot, _) => {
            let cause = "no release is activated and no rollback is under way";
            Err(Failure::new(Code::NotNow, "the restart", cause)
                .with_remedy("activate a release first: `twinroot apply`, or `twinroot activate`"))
        }
        _ => Ok(()),
    }
}
