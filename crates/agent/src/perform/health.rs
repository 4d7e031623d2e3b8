//! Health: runs the checks once and lets `core`'s judge say what the results add up to.

use twinroot_core::health::{Check, Judge, Outcome as CheckOutcome, Rules, Verdict};
use twinroot_core::update::{Candidate, Event, HealthPurpose, HealthVerdict};
use twinroot_ports::Outcome;

use crate::agent::Agent;

/// One round. On trial the results of all rounds of this run of the program add up; before an
/// activation and after an ordinary start one round says it all.
pub(super) fn run(
    agent: &mut Agent<'_>,
    purpose: HealthPurpose,
    candidate: Option<&Candidate>,
) -> Outcome<Event> {
    let checks = agent.ports.health.local_checks()?;
    let results = agent.ports.health.run(&checks)?;
    let at = agent.ports.clock.now().boot;
    let verdict = match purpose {
        HealthPurpose::Trial => {
            let rules = rules(agent.options.health, candidate);
            let judge = agent
                .judge
                .get_or_insert_with(|| Judge::new(&checks, &[], rules));
            judge.observe(&results, at);
            words(judge.verdict(at))
        }
        HealthPurpose::Steady | HealthPurpose::Before => now(&checks, &results),
    };
    agent.results = results;
    agent.shortest_period = checks.iter().map(|c| c.period.0.saturating_mul(1000)).min();
    agent.observer.health(purpose, &verdict);
    Ok(Event::Health(purpose, verdict))
}

/// The publisher may ask for a longer probation than the owner, never for a shorter one.
fn rules(own: Rules, candidate: Option<&Candidate>) -> Rules {
    let asked = candidate.and_then(|c| c.manifest().probation);
    Rules {
        probation: asked.map_or(own.probation, |p| p.max(own.probation)),
        ..own
    }
}

/// What one round says: everything required passes, or the first that does not. A remote endpoint
/// that nobody answers at is no reason to call this node ill.
fn now(checks: &[Check], results: &[twinroot_core::health::CheckResult]) -> HealthVerdict {
    for check in checks.iter().filter(|check| check.required) {
        let result = results.iter().find(|result| result.check == check.name);
        let outcome = result.map_or(CheckOutcome::NotRun, |r| r.outcome);
        match outcome {
            CheckOutcome::Passed => {}
            CheckOutcome::Unreachable if check.remote => {}
            CheckOutcome::Failed
            | CheckOutcome::FailedForGood
            | CheckOutcome::Unreachable
            | CheckOutcome::NotRun => {
                let detail = result.map_or("it gave no result", |r| r.detail.as_str());
                return HealthVerdict::Bad {
                    check: check.name.clone(),
                    detail: detail.to_owned(),
                };
            }
        }
    }
    HealthVerdict::Good
}

fn words(verdict: Verdict) -> HealthVerdict {
    match verdict {
        Verdict::Pending { .. } => HealthVerdict::Pending,
        Verdict::Good => HealthVerdict::Good,
        Verdict::Bad { check, detail } => HealthVerdict::Bad { check, detail },
    }
}
