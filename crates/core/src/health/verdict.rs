//! What results over time add up to.
//!
//! A slot on probation is good when every required check has passed its number of times in a row and
//! has then held for the whole probation. It is bad when a check of this machine that had come up
//! fails again, when a check says that it will not recover, or when the deadline passes without a
//! verdict: silence is a 'no'. Two things are not held against a release: what was ill before it
//! came, and what lies beyond this machine. A remote check that does not pass while everything here
//! has held stretches the deadline; then one that answered wrongly and was well before counts as
//! failed, and one that nobody reaches, or that was ill before, is left to the owner's rule
//! ([`RemoteLoss`]): an outage elsewhere must not roll a fleet back.

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

/// What becomes of a new slot whose remote checks are lost, where everything on this machine is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteLoss {
    /// It is kept: what nobody reaches says nothing of the release.
    KeepNewSlot,
    /// The node goes back.
    RollBack,
}

/// The rules of a probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long everything required must hold without a break.
    pub probation: Seconds,
    /// Time since boot by which there must be a verdict.
    pub deadline: Seconds,
    /// By how much the deadline moves if nothing but remote checks is missing.
    pub remote_extension: Seconds,
    /// What follows when it has moved in vain.
    pub on_remote_loss: RemoteLoss,
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
    /// Everything on this machine is good, and by the owner's rule the loss of these remote checks
    /// does not count.
    Kept {
        /// Their names.
        lost: Vec<String>,
    },
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
    not_passing_since: Option<BootTime>,
}

/// Collects results and gives the verdict.
#[derive(Debug, Clone)]
pub struct Judge {
    checks: Vec<Check>,
    ill_before: Vec<String>,
    rules: Rules,
    courses: BTreeMap<String, Course>,
    /// Since when every required check has passed.
    all_up_since: Option<BootTime>,
    /// Since when every required check of this machine has.
    here_up_since: Option<BootTime>,
    bad: Option<(String, String)>,
}

impl Judge {
    /// Starts with nothing known. Of the checks named in `ill_before`, which were failing before the
    /// update, those of this machine are still run and reported, but nothing is blamed on the
    /// release for them; remote ones count, as lost.
    #[must_use]
    pub fn new(checks: &[Check], ill_before: &[String], rules: Rules) -> Self {
        let blamed = |c: &&Check| c.required && (c.remote || !ill_before.contains(&c.name));
        let checks: Vec<Check> = checks.iter().filter(blamed).cloned().collect();
        let courses = checks
            .iter()
            .map(|c| (c.name.clone(), Course::default()))
            .collect();
        Self {
            checks,
            ill_before: ill_before.to_vec(),
            rules,
            courses,
            all_up_since: None,
            here_up_since: None,
            bad: None,
        }
    }

    /// Takes the results of runs that ended now: each check has a period of its own, so that a round
    /// need not have one of every check. One that was to run and could not is a result that says so.
    /// Results of checks that are not required change nothing.
    pub fn observe(&mut self, results: &[CheckResult], at: BootTime) {
        for check in &self.checks {
            let result = results.iter().find(|result| result.check == check.name);
            let (Some(result), Some(course)) = (result, self.courses.get_mut(&check.name)) else {
                continue;
            };
            if let Some(detail) = course.take(check, result, at) {
                self.bad.get_or_insert((check.name.clone(), detail));
            }
        }
        let all = self.checks.iter().all(|check| self.passed(check));
        let mut local = self.checks.iter().filter(|check| !check.remote);
        let here = local.all(|check| self.passed(check));
        self.all_up_since = all.then(|| self.all_up_since.unwrap_or(at));
        self.here_up_since = here.then(|| self.here_up_since.unwrap_or(at));
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
        let missing: Vec<&Check> = self.checks.iter().filter(|c| !self.passed(c)).collect();
        if missing.is_empty() && self.held(self.all_up_since, at) {
            return Verdict::Good;
        }
        if seconds(at) < self.deadline(at) {
            let waiting_for = missing.iter().map(|check| check.name.clone()).collect();
            return Verdict::Pending { waiting_for };
        }
        if self.held(self.here_up_since, at) && missing.iter().all(|check| check.remote) {
            self.without_remote(&missing, at)
        } else {
            let local = missing.iter().find(|check| !check.remote);
            self.late(local.or(missing.first()).copied(), at)
        }
    }

    /// Time since boot by which there must be a verdict, as things stand: later where all that this
    /// machine answers for has held its probation.
    #[must_use]
    pub fn deadline(&self, at: BootTime) -> Seconds {
        let here = self.held(self.here_up_since, at);
        let extension = if here {
            self.rules.remote_extension.0
        } else {
            0
        };
        Seconds(self.rules.deadline.0.saturating_add(extension))
    }

    /// When the slot is good if everything goes on to hold; nothing while something is missing.
    #[must_use]
    pub fn good_from(&self) -> Option<BootTime> {
        let probation = self.rules.probation.0.saturating_mul(1000);
        let since = self.all_up_since?;
        Some(BootTime(since.0.saturating_add(probation)))
    }

    fn held(&self, since: Option<BootTime>, at: BootTime) -> bool {
        since.is_some_and(|since| elapsed(since, at) >= self.rules.probation)
    }

    /// The extended deadline has passed, and nothing but these remote checks is missing. One that
    /// came back at last is none of them.
    fn without_remote(&self, missing: &[&Check], at: BootTime) -> Verdict {
        // One that has passed again, though not yet often enough, is on its way back.
        let lost = |check: &Check| {
            let course = &self.courses[&check.name];
            self.ill_before.contains(&check.name) || course.unreachable || course.in_a_row > 0
        };
        if let Some(blamed) = missing.iter().find(|check| !lost(check)) {
            return self.late(Some(blamed), at);
        }
        match (self.rules.on_remote_loss, missing.first()) {
            (_, None) => Verdict::Good,
            (RemoteLoss::KeepNewSlot, Some(_)) => Verdict::Kept {
                lost: missing.iter().map(|check| check.name.clone()).collect(),
            },
            (RemoteLoss::RollBack, first) => self.late(first.copied(), at),
        }
    }

    /// There is no verdict, and that is one.
    fn late(&self, check: Option<&Check>, at: BootTime) -> Verdict {
        let course = check.map(|check| (check, &self.courses[&check.name]));
        let (check, detail) = match course {
            None => ("probation".to_string(), "it had not ended".to_string()),
            Some((check, course)) if course.detail.is_empty() => {
                (check.name.clone(), "it gave no result".to_string())
            }
            Some((check, course)) => {
                let since = course.not_passing_since.map_or_else(String::new, |since| {
                    format!("not passing since {} after the start: ", seconds(since))
                });
                (check.name.clone(), format!("{since}{}", course.detail))
            }
        };
        let late = format!("no verdict after {}; last: {detail}", self.deadline(at));
        Verdict::Bad {
            check,
            detail: late,
        }
    }

    /// Whether a check has passed often enough in a row.
    fn passed(&self, check: &Check) -> bool {
        self.courses
            .get(&check.name)
            .is_some_and(|course| course.in_a_row >= check.successes)
    }
}

impl Course {
    /// Takes one result; returns the evidence if it settles that the release is bad.
    fn take(&mut self, check: &Check, result: &CheckResult, at: BootTime) -> Option<String> {
        self.detail.clone_from(&result.detail);
        self.unreachable = result.outcome == Outcome::Unreachable;
        if result.outcome == Outcome::Passed {
            self.not_passing_since = None;
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.came_up |= self.in_a_row >= check.successes;
            return None;
        }
        self.not_passing_since.get_or_insert(at);
        self.in_a_row = 0;
        let ran = result.outcome != Outcome::NotRun;
        let for_good = result.outcome == Outcome::FailedForGood;
        if check.remote || !(for_good || self.came_up && ran) {
            return None;
        }
        let when = seconds(at);
        Some(if self.came_up {
            format!(
                "it held, and failed {when} after the start: {}",
                self.detail
            )
        } else {
            format!("it failed for good {when} after the start: {}", self.detail)
        })
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
