//! Commands that act. Where the agent runs it is asked over its control socket; else this process
//! takes the machine's lock and runs the loop itself, for this one request.

use twinroot_agent::{Agent, report, request};
use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::{ActBody, Action, CheckReport, Plan, Status};
use twinroot_ports::Outcome;
use twinroot_trust::time::UnixTime;

use super::look::Target;
use crate::args::{Choice, Deny, Hold};
use crate::client::Client;
use crate::machine::{Access, Node};
use crate::observe::Watcher;
use crate::print;
use crate::signals::Stop;

/// `twinroot check`.
pub(super) fn check(target: &Target<'_>) -> Outcome<()> {
    let body = ActBody::default();
    let report = match Client::of_agent(target.machine)? {
        Some(agent) => agent.act::<CheckReport>(Action::Check, &body)?,
        None => in_process(target, |agent| {
            ask(agent, Action::Check, &body)?;
            report::check(agent)
        })?,
    };
    target.screen.answer(&report, print::check)
}

/// `twinroot plan`. The agent plans what it would take by itself; another release is planned here.
pub(super) fn plan(target: &Target<'_>, choice: &Choice) -> Outcome<()> {
    let plain = choice.version.is_none() && !choice.force;
    let client = Client::of_agent(target.machine)?.filter(|_| plain);
    let plan = match client {
        Some(agent) => agent.look::<Plan>("/v1/plan")?,
        None => in_process(target, |agent| {
            let plan = report::plan(agent, choice.version.clone(), choice.force);
            report::remember(agent, plan.as_ref().err())?;
            plan
        })?,
    };
    target.screen.answer(&plan, print::plan)
}

/// The end of a span from now on, by the machine's clock.
fn end_of(target: &Target<'_>, span: Option<&String>) -> Outcome<Option<UnixTime>> {
    let Some(text) = span else { return Ok(None) };
    let span = text.parse().map_err(|_| {
        let cause = format!("{text:?} is no span such as 30m, 2h or 1d");
        Failure::new(Code::BadRequest, "--for", cause)
    })?;
    let node = Node::open(target.machine, Access::Look)?;
    Ok(Some(node.ports().clock.now().wall.plus(span)))
}

/// `twinroot deny`.
pub(super) fn deny(target: &Target<'_>, deny: &Deny) -> Outcome<()> {
    let body = ActBody {
        release: Some(deny.release.clone()),
        reason: Some(deny.reason.clone()),
        until: end_of(target, deny.span.as_ref())?,
        ..ActBody::default()
    };
    act(target, Action::Deny, body)
}

/// `twinroot hold`.
pub(super) fn hold(target: &Target<'_>, hold: &Hold) -> Outcome<()> {
    let body = ActBody {
        reason: (!hold.clear).then(|| hold.reason.clone()),
        until: end_of(target, hold.span.as_ref())?,
        clear: hold.clear,
        ..ActBody::default()
    };
    act(target, Action::Hold, body)
}

/// Every other request: its answer is where the update stands afterwards.
pub(super) fn act(target: &Target<'_>, action: Action, body: ActBody) -> Outcome<()> {
    if let Some(agent) = Client::of_agent(target.machine)? {
        let status = agent.act::<Status>(action, &body)?;
        return target.screen.answer(&status, print::status);
    }
    acting(target, Node::agent_for_request, |agent, node| {
        ask(agent, action, &body)?;
        let status = report::status(agent, node.settings())?;
        let totals = agent.totals();
        target
            .screen
            .answer(&status, |status| print::done(status, &totals))
    })
}

fn in_process<T>(
    target: &Target<'_>,
    work: impl FnOnce(&mut Agent<'_>) -> Outcome<T>,
) -> Outcome<T> {
    acting(target, Node::agent_for_request, |agent, _| work(agent))
}

/// Opens the machine with its lock and the loop over it.
pub(super) fn acting<T>(
    target: &Target<'_>,
    open: impl for<'a> FnOnce(&'a Node, &'a Watcher) -> Outcome<Agent<'a>>,
    work: impl FnOnce(&mut Agent<'_>, &Node) -> Outcome<T>,
) -> Outcome<T> {
    let node = Node::open(target.machine, Access::Act)?;
    let watcher = Watcher::new(*target.screen);
    let mut agent = open(&node, &watcher)?;
    let outcome = work(&mut agent, &node);
    watcher.finish();
    outcome
}

fn ask(agent: &mut Agent<'_>, action: Action, body: &ActBody) -> Outcome<()> {
    let stop = Stop::listen()?;
    let by = twinroot_host::peer::this_process();
    request::carry_out(agent, action, body, &by, &mut |time| stop.wait(time))
}
