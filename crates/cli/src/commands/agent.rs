//! `twinroot agent`: one round in the foreground, or the service.

use twinroot_agent::{Agent, report};
use twinroot_core::error::Failure;
use twinroot_core::update::Event;
use twinroot_ports::Outcome;

use super::act::acting;
use super::look::Target;
use super::service;
use crate::machine::{Access, Node};
use crate::observe::Watcher;
use crate::print;
use crate::signals::Stop;

/// Runs it.
pub(super) fn run(target: &Target<'_>, once: bool) -> Outcome<()> {
    if !once {
        return service::run(target);
    }
    acting(target, by_strategy, |agent, node| {
        let stop = Stop::listen()?;
        if let Some(failure) = round(agent, &stop)? {
            return Err(failure);
        }
        let status = report::status(agent, node.settings())?;
        let totals = agent.totals();
        target
            .screen
            .answer(&status, |status| print::done(status, &totals))
    })
}

fn by_strategy<'a>(node: &'a Node, watcher: &'a Watcher) -> Outcome<Agent<'a>> {
    node.agent(Access::Act, watcher)
}

/// One round: finish what is under way, look, act as far as the strategy says.
fn round(agent: &mut Agent<'_>, stop: &Stop) -> Outcome<Option<Failure>> {
    let mut wait = |time| stop.wait(time);
    let finished = agent.settle(&mut wait)?;
    if agent.rebooting() || stop.asked() {
        return Ok(finished);
    }
    let looked = agent.handle(Event::CheckDue)?;
    let settled = agent.settle(&mut wait)?;
    let failure = settled.or(looked);
    report::remember(agent, failure.as_ref())?;
    if let Err(failure) = agent.send_reports() {
        tracing::warn!(code = %failure.code, "reports wait: {failure}");
    }
    Ok(failure)
}
