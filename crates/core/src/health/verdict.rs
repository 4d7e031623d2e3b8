//! What results over time add up to.
//!
//! A slot on probation is good when every required check has passed its number of times in a row and
//! has then held for the whole probation. It is bad when a check that had come up fails again, when
//! a check says that it will not recover, or when the deadline passes without a verdict: silence is
//! a 'no'. Two things are not held against a release: what was ill before it came, and a remote
//! endpoint that cannot be reached, which stretches the deadline once instead.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::time::Seconds;

use super::definition::Check;
use crate::facts::BootTime;

/// How one run of a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold, or not yet.
    Failed,
    /// It does not hold and will not by waiting (a unit in state 'failed').
    FailedForGood,
    /// Nobody answered where the check looks: for a remote check perhaps not this node's fault.
    Unreachable,
    /// It could not be run. Never a pass.
    NotRun,
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckResult {
    /// The check's name.
    pub check: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The evidence, in one line.
    pub detail: String,
}

/// The times of a probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long everything required must hold without a break.
    pub probation: Seconds,
    /// Time since boot by which there must be a verdict.
    pub deadline: Seconds,
    /// By how much the deadline moves, once, if nothing but unreachable remote endpoints is missing.
    pub remote_extension: Seconds,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Not decided.
    Pending {
        /// The required checks that have not passed; empty while probation runs.
        waiting_for: Vec<String>,
    },
    /// Good.
    Good,
    /// Bad.
    Bad {
        /// The check.
        check: String,
        /// Its evidence.
        detail: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Course {
    in_a_row: u32,
    came_up: bool,
    unreachable: bool,
    detail: String,
}

/// Collects results and gives the verdict.
#[derive(Debug, Clone)]
pub struct Judge {
    checks: Vec<Check>,
    rules: Rules,
    courses: BTreeMap<String, Course>,
    all_up_since: Option<BootTime>,
    bad: Option<(String, String)>,
}

impl Judge {
    /// Starts with nothing known. Checks named in `ill_before` were failing before the update: they
    /// are still run and reported, but nothing is blamed on the release for them.
    #[must_use]
    pub fn new(checks: &[Check], ill_before: &[String], rules: Rules) -> Self {
        let blamed = |check: &&Check| check.required && !ill_before.contains(&check.name);
        let checks: Vec<Check> = checks.iter().filter(blamed).cloned().collect();
        let courses = checks
            .iter()
            .map(|c| (c.name.clone(), Course::default()))
            .collect();
        Self {
            checks,
            rules,
            courses,
            all_up_since: None,
            bad: None,
        }
    }

    /// Takes the results of one round. Results of checks that are not required change nothing.
    pub fn observe(&mut self, results: &[CheckResult], at: BootTime) {
        for check in &self.checks {
            let Some(course) = self.courses.get_mut(&check.name) else {
                continue;
            };
            // No result in a round in which others had one is a check that could not be run.
            let result = results.iter().find(|result| result.check == check.name);
            let outcome = result.map_or(Outcome::NotRun, |result| result.outcome);
            let detail = result.map_or("it gave no result", |result| result.detail.as_str());
            if let Some(detail) = course.take(check, outcome, detail) {
                self.bad.get_or_insert((check.name.clone(), detail));
            }
        }
        let all_up = self.checks.iter().all(|check| self.passed(check));
        self.all_up_since = if all_up {
            self.all_up_since.or(Some(at))
        } else {
            None
        };
    }

    /// The verdict at a time since boot.
    #[must_use]
    pub fn verdict(&self, at: BootTime) -> Verdict {
        if let Some((check, detail)) = &self.bad {
            return Verdict::Bad {
                check: check.clone(),
                detail: detail.clone(),
            };
        }
        if self
            .all_up_since
            .is_some_and(|since| elapsed(since, at) >= self.rules.probation)
        {
            return Verdict::Good;
        }
        let waiting_for: Vec<&Check> = self.checks.iter().filter(|c| !self.passed(c)).collect();
        if seconds(at) < self.deadline() {
            let waiting_for = waiting_for.iter().map(|check| check.name.clone()).collect();
            return Verdict::Pending { waiting_for };
        }
        let (check, detail) = match waiting_for.first() {
            Some(check) => (check.name.clone(), self.courses[&check.name].detail.clone()),
            None => ("probation".to_string(), "it had not ended".to_string()),
        };
        let detail = match detail.as_str() {
            "" => "it gave no result".to_string(),
            _ => detail,
        };
        let late = format!("no verdict after {}; last: {detail}", self.deadline());
        Verdict::Bad {
            check,
            detail: late,
        }
    }

    /// Time since boot by which there must be a verdict, as things stand.
    #[must_use]
    pub fn deadline(&self) -> Seconds {
        let missing = |check: &&Check| !self.passed(check);
        let excused = |check: &Check| check.remote && self.courses[&check.name].unreachable;
        let mut open = self.checks.iter().filter(missing).peekable();
        let extended = open.peek().is_some() && open.all(excused);
        let extension = if extended {
            self.rules.remote_extension
        } else {
            Seconds(0)
        };
        Seconds(self.rules.deadline.0.saturating_add(extension.0))
    }

    fn passed(&self, check: &Check) -> bool {
        self.courses
            .get(&check.name)
            .is_some_and(|course| course.in_a_row >= check.successes)
    }
}

impl Course {
    /// Takes one outcome; returns the evidence if it settles that the release is bad.
    fn take(&mut self, check: &Check, outcome: Outcome, detail: &str) -> Option<String> {
        self.detail = detail.to_string();
        self.unreachable = outcome == Outcome::Unreachable;
        let excused = check.remote && self.unreachable;
        match outcome {
            Outcome::Passed => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                self.came_up |= self.in_a_row >= check.successes;
                None
            }
            Outcome::FailedForGood => Some(self.detail.clone()),
            Outcome::Failed | Outcome::Unreachable if self.came_up && !excused => {
                Some(format!("it held and then failed: {detail}"))
            }
            Outcome::Failed | Outcome::Unreachable | Outcome::NotRun => {
                self.in_a_row = 0;
                None
            }
        }
    }
}

const fn seconds(at: BootTime) -> Seconds {
    Seconds(at.0 / 1000)
}

const fn elapsed(since: BootTime, at: BootTime) -> Seconds {
    Seconds(at.0.saturating_sub(since.0) / 1000)
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
