//! Commands that look on. They need no lock, so they answer while an update runs; what stands and what it
//! waits for is asked of the agent where one runs.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use twinroot_agent::{Quiet, report};
use twinroot_core::config::Origin;
use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::{ConfigShow, DriftReport, History, Schema, Setting, Status, Why};
use twinroot_ports::Outcome;

use crate::client::Client;
use crate::machine::{Access, Node};
use crate::print;
use crate::screen::Screen;

/// What a command is about, and where it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The machine in files, or nothing for this host.
    pub(crate) machine: Option<&'a Path>,
    /// Where answers go.
    pub(crate) screen: &'a Screen,
}

/// How long the agent may take to say what it knows already; one that is just starting takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the running agent answers to a look, since it alone knows what it waits for; nothing where none
/// answers: then the records say what they can.
fn of_agent<T: DeserializeOwned>(target: &Target<'_>, path: &str) -> Option<T> {
    let client = Client::to_look(target.machine).ok().flatten()?;
    client.within(PATIENCE).ok()?.look(path).ok()
}

/// `twinroot status`.
pub(super) fn status(target: &Target<'_>) -> Outcome<()> {
    if let Some(status) = of_agent::<Status>(target, "/v1/status") {
        return target.screen.answer(&status, print::status);
    }
    let node = Node::open(target.machine, Access::Look)?;
    let agent = node.agent(Access::Look, &Quiet)?;
    let status = report::status(&agent, node.settings())?;
    target.screen.answer(&status, print::status)
}

/// `twinroot why`.
pub(super) fn why(target: &Target<'_>) -> Outcome<()> {
    if let Some(why) = of_agent::<Why>(target, "/v1/why") {
        return target.screen.answer(&why, print::why);
    }
    let node = Node::open(target.machine, Access::Look)?;
    let agent = node.agent(Access::Look, &Quiet)?;
    let why = report::why(&agent)?;
    target.screen.answer(&why, print::why)
}

/// `twinroot verify`; the exit code says what was found. In JSON the report alone is the answer.
pub(super) fn verify(target: &Target<'_>) -> Outcome<u8> {
    let node = Node::open(target.machine, Access::Look)?;
    let agent = node.agent(Access::Look, &Quiet)?;
    let report = report::verify(&agent)?;
    target.screen.answer(&report, print::verify)?;
    if report.all_good {
        return Ok(0);
    }
    let bad = report.slots.iter().filter(|slot| !slot.good);
    let names: Vec<_> = bad.map(|slot| slot.slot.to_string()).collect();
    let failure = Failure::new(
        Code::RootHashMismatch,
        format!("slot {}", names.join(" and ")),
        "it was not proven to be what was signed",
    )
    .with_remedy("see the report; `twinroot repair` writes the other slot again");
    if !target.screen.json {
        target.screen.failure(&failure);
    }
    Ok(failure.exit_code())
}

/// `twinroot verify --drift`.
pub(super) fn drift(target: &Target<'_>) -> Outcome<()> {
    if let Some(machine) = target.machine {
        let cause = "a machine in files has no /etc that a person could change";
        return Err(Failure::new(
            Code::BadRequest,
            machine.display().to_string(),
            cause,
        ));
    }
    let report = DriftReport {
        schema: Schema,
        differences: twinroot_host::drift::of_etc()?,
    };
    target.screen.answer(&report, print::drift)
}

/// `twinroot history`.
pub(super) fn history(target: &Target<'_>, export: bool) -> Outcome<()> {
    let node = Node::open(target.machine, Access::Look)?;
    if export {
        return target.screen.print(&history_lines(&node)?);
    }
    let lines = twinroot_agent::history::history(node.ports().store)?;
    let history = History {
        schema: Schema,
        lines,
    };
    target
        .screen
        .answer(&history, |history| print::history(&history.lines))
}

/// The history with one JSON document a line, oldest first.
pub(super) fn history_lines(node: &Node) -> Outcome<String> {
    let mut text = String::new();
    for line in twinroot_agent::history::history(node.ports().store)? {
        let json = serde_json::to_string(&line)
            .map_err(|e| Failure::new(Code::Internal, "history", e.to_string()))?;
        text.push_str(&json);
        text.push('\n');
    }
    Ok(text)
}

/// `twinroot config show`.
pub(super) fn config(target: &Target<'_>, origin: bool) -> Outcome<()> {
    let node = Node::open(target.machine, Access::Look)?;
    target
        .screen
        .answer(&settings_of(&node), |show| print::config(show, origin))
}

/// Every setting with the file that set it.
pub(super) fn settings_of(node: &Node) -> ConfigShow {
    let origins = node.origins();
    let setting = |(key, value): (String, String)| Setting {
        origin: match origins.get(&key) {
            Some(Origin::File(path)) => Some(path.clone()),
            Some(Origin::Default) | None => None,
        },
        key,
        value,
    };
    ConfigShow {
        schema: Schema,
        settings: node.settings().listing().into_iter().map(setting).collect(),
    }
}
