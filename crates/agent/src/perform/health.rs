//! Health: runs the checks and lets `core`'s judge say what the results add up to.

use twinroot_core::health::{Check, CheckResult, Judge, Outcome as CheckOutcome, Rules};
use twinroot_core::update::{Candidate, Event, HealthPurpose, HealthVerdict};
use twinroot_ports::Outcome;

use crate::agent::Agent;

/// One round. On trial each check runs by its own period, and the results of all rounds of this run
/// of the program add up; before an activation and after an ordinary start all run once, and that
/// says it all.
pub(super) fn run(
    agent: &mut Agent<'_>,
    purpose: HealthPurpose,
    candidate: Option<&Candidate>,
) -> Outcome<Event> {
    let checks = agent.ports.health.checks()?;
    let begin = agent.ports.clock.now().boot;
    let due = match purpose {
        HealthPurpose::Trial => agent.health.due(&checks, begin),
        HealthPurpose::Steady | HealthPurpose::Before => checks.clone(),
    };
    let mut results = match due.is_empty() {
        true => Vec::new(),
        false => agent.ports.health.run(&due, &|| agent.observer.alive())?,
    };
    complete(&due, &mut results);
    let now = agent.ports.clock.now();
    agent.health.take(&results, now);
    let verdict = match purpose {
        HealthPurpose::Trial => {
            let rules = rules(agent.options.health, candidate);
            let ill_before = &agent.state.ill_before;
            let judge = agent
                .judge
                .get_or_insert_with(|| Judge::new(&checks, ill_before, rules));
            judge.observe(&results, now.boot);
            judge.verdict(now.boot).into()
        }
        HealthPurpose::Before if agent.state.wish.force => HealthVerdict::Kept {
            lost: not_passed(&checks, &results),
        },
        HealthPurpose::Steady | HealthPurpose::Before => at_once(&checks, &results),
    };
    agent.checks = checks;
    agent.observer.health(purpose, &verdict);
    Ok(Event::Health(purpose, verdict))
}

/// A check that was to run and gave no result could not be run.
fn complete(due: &[Check], results: &mut Vec<CheckResult>) {
    for check in due {
        if !results.iter().any(|result| result.check == check.name) {
            results.push(CheckResult {
                check: check.name.clone(),
                outcome: CheckOutcome::NotRun,
                detail: String::from("it gave no result"),
            });
        }
    }
}

/// The publisher may ask for a longer probation than the owner, never for a shorter one. Then there
/// is as much more time until the deadline.
fn rules(own: Rules, candidate: Option<&Candidate>) -> Rules {
    let asked = candidate.and_then(|c| c.manifest().probation);
    let probation = asked.map_or(own.probation, |p| p.max(own.probation));
    let more = probation.0.saturating_sub(own.probation.0);
    Rules {
        probation,
        deadline: twinroot_trust::time::Seconds(own.deadline.0.saturating_add(more)),
        ..own
    }
}

fn outcome_of<'a>(check: &Check, results: &'a [CheckResult]) -> Option<&'a CheckResult> {
    results.iter().find(|result| result.check == check.name)
}

/// Names of the required checks that do not pass.
fn not_passed(checks: &[Check], results: &[CheckResult]) -> Vec<String> {
    let passed = |check: &Check| {
        outcome_of(check, results).is_some_and(|result| result.outcome == CheckOutcome::Passed)
    };
    let ill = checks
        .iter()
        .filter(|check| check.required && !passed(check));
    ill.map(|check| check.name.clone()).collect()
}

/// What one round says: everything required on this machine passes, or the first that does not. What
/// lies beyond it is named, and is no reason to call this node ill.
fn at_once(checks: &[Check], results: &[CheckResult]) -> HealthVerdict {
    let ill = not_passed(checks, results);
    let here = |check: &&Check| !check.remote && ill.contains(&check.name);
    if let Some(check) = checks.iter().find(here) {
        let result = outcome_of(check, results);
        return HealthVerdict::Bad {
            check: check.name.clone(),
            detail: result.map_or_else(String::new, |result| result.detail.clone()),
        };
    }
    match ill.is_empty() {
        true => HealthVerdict::Good,
        false => HealthVerdict::Kept { lost: ill },
    }
}
