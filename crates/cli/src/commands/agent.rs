//! `twinroot agent`: the loop in the foreground.

use std::time::Duration;

use twinroot_agent::{Agent, report};
use twinroot_core::config::Polling;
use twinroot_core::error::{Code, Failure};
use twinroot_core::update::Event;
use twinroot_ports::Outcome;

use super::act::acting;
use super::look::Target;
use crate::print;
use crate::signals::Stop;

/// Time between two looks at what is waited for (a gate, a wave, a deadline). Each may refresh
/// metadata, and once a minute is what a static file server of a fleet bears.
const TICK: Duration = Duration::from_secs(60);

/// Runs it.
pub(super) fn run(target: &Target<'_>, once: bool) -> Outcome<()> {
    acting(target, |agent, node| {
        let stop = Stop::listen()?;
        loop {
            let failure = round(agent, &stop)?;
            if once {
                let status = report::status(agent, node.settings())?;
                let totals = agent.totals();
                if let Some(failure) = failure {
                    return Err(failure);
                }
                return target
                    .screen
                    .answer(&status, |status| print::done(status, &totals));
            }
            if let Some(failure) = &failure {
                target.screen.say(&format!("{failure}"));
            }
            if agent.rebooting() || stop.asked() || !pause(agent, &stop, node.settings().polling)? {
                return Ok(());
            }
        }
    })
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
    Ok(failure)
}

/// Waits for the next round, and ticks meanwhile; false where the program is to end.
fn pause(agent: &mut Agent<'_>, stop: &Stop, polling: Polling) -> Outcome<bool> {
    let mut left = Duration::from_secs(polling.interval.0) + jitter(polling)?;
    while !left.is_zero() {
        let step = left.min(TICK);
        if !stop.wait(step) {
            return Ok(false);
        }
        left -= step;
        agent.handle(Event::Tick)?;
        agent.settle(&mut |time| stop.wait(time))?;
        if agent.rebooting() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Spreads a fleet that started together.
fn jitter(polling: Polling) -> Outcome<Duration> {
    let random = getrandom::u64()
        .map_err(|e| Failure::new(Code::Internal, "the system's random numbers", e.to_string()))?;
    // The bias of the remainder is 2^-40 for any jitter that makes sense; nothing depends on it.
    Ok(Duration::from_secs(random % (polling.jitter.0 + 1)))
}
