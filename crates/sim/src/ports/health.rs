//! Health of the simulated workload: whatever the running release does by its script.

use twinroot_core::health::{Author, Check, CheckResult, Kind, Outcome as Result};
use twinroot_ports::{Health, Outcome};
use twinroot_trust::time::Seconds;

use crate::plant::Plant;
use crate::world::{Behaviour, World};

/// The one check that every simulated node has.
const WORKLOAD: &str = "workload";

impl Health for World {
    fn run(&self, checks: &[Check], _alive: &dyn Fn()) -> Outcome<Vec<CheckResult>> {
        self.effect("health: run", |m| {
            m.health_runs += 1;
            let image = m
                .running
                .as_ref()
                .and_then(|running| m.images.get(&running.root));
            let truth = match image.map(|image| image.behaviour) {
                Some(Behaviour::Good) => Result::Passed,
                Some(Behaviour::Unhealthy) => Result::FailedForGood,
                // Passes once, then fails, and so on.
                Some(Behaviour::Flaky) if m.health_runs % 2 == 1 => Result::Passed,
                Some(Behaviour::Flaky) => Result::Failed,
                // A system that never came up cannot run a check.
                Some(Behaviour::Panics | Behaviour::Hangs) | None => Result::NotRun,
            };
            m.watch.healthy_runs = match truth {
                Result::Passed => m.watch.healthy_runs + 1,
                _ => 0,
            };
            let open = m.planted(Plant::HealthFailsOpen);
            let outcome = if open { Result::Passed } else { truth };
            let result = |check: &Check| CheckResult {
                check: check.name.clone(),
                outcome,
                detail: format!("scripted: {outcome:?}"),
            };
            Ok(checks.iter().map(result).collect())
        })
    }

    fn checks(&self) -> Outcome<Vec<Check>> {
        Ok(vec![Check {
            name: WORKLOAD.to_owned(),
            by: Author::Publisher,
            kind: Kind::Unit {
                unit: "workload.service".to_owned(),
            },
            required: true,
            remote: false,
            timeout: Seconds(1),
            period: Seconds(1),
            successes: 2,
        }])
    }
}
