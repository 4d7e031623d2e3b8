//! What each check said last, and since when: which are due again, and the evidence that goes into
//! history and API beside a verdict.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::time::UnixTime;

use super::definition::{Author, Check};
use super::verdict::{CheckResult, Outcome};
use crate::facts::{BootTime, Now};
use crate::text::tail;

/// How much of a check's evidence is kept: the end of what a program said before it failed.
const EVIDENCE: usize = 4096;

/// One check with what it said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckState {
    /// The check's name.
    pub check: String,
    /// Who wants it.
    pub by: Author,
    /// It must pass; another is only reported.
    pub required: bool,
    /// It looks beyond this machine.
    pub remote: bool,
    /// How its last run ended.
    pub outcome: Outcome,
    /// Since when every run has ended so, by the system clock.
    pub since: UnixTime,
    /// The evidence: at most the last 4 KiB of what was said.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    result: CheckResult,
    since: UnixTime,
    at: BootTime,
}

/// The last result of every check.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    seen: BTreeMap<String, Seen>,
}

impl Journal {
    /// The checks whose period has passed since their last run ended.
    #[must_use]
    pub fn due(&self, checks: &[Check], now: BootTime) -> Vec<Check> {
        let due = |check: &&Check| {
            self.seen.get(&check.name).is_none_or(|seen| {
                let period = check.period.0.saturating_mul(1000);
                now.0 >= seen.at.0.saturating_add(period)
            })
        };
        checks.iter().filter(due).cloned().collect()
    }

    /// Takes the results of runs that ended now.
    pub fn take(&mut self, results: &[CheckResult], now: Now) {
        for result in results {
            let before = self.seen.get(&result.check);
            let since = before
                .filter(|seen| seen.result.outcome == result.outcome)
                .map_or(now.wall, |seen| seen.since);
            let result = CheckResult {
                detail: String::from(tail(&result.detail, EVIDENCE)),
                ..result.clone()
            };
            let seen = Seen {
                since,
                at: now.boot,
                result,
            };
            self.seen.insert(seen.result.check.clone(), seen);
        }
    }

    /// What is known of these checks, in their order; one that has not run yet is left out.
    #[must_use]
    pub fn states(&self, checks: &[Check]) -> Vec<CheckState> {
        let state = |check: &Check| {
            let seen = self.seen.get(&check.name)?;
            Some(CheckState {
                check: check.name.clone(),
                by: check.by,
                required: check.required,
                remote: check.remote,
                outcome: seen.result.outcome,
                since: seen.since,
                detail: seen.result.detail.clone(),
            })
        };
        checks.iter().filter_map(state).collect()
    }

    /// Whether everything required that this machine alone answers for holds.
    #[must_use]
    pub fn holds(&self, checks: &[Check]) -> bool {
        let passed = |check: &Check| {
            let seen = self.seen.get(&check.name);
            seen.is_some_and(|seen| seen.result.outcome == Outcome::Passed)
        };
        let mut counted = checks.iter().filter(|c| c.required && !c.remote);
        counted.all(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Kind, read_checks};

    fn checks() -> Vec<Check> {
        let text = "[[check]]\nname = \"fast\"\nkind = \"kubelet\"\nperiod = \"10s\"\n\
                    [[check]]\nname = \"slow\"\nkind = \"kubelet\"\nperiod = \"1m\"\n";
        read_checks(Author::Owner, "x.toml", text).expect("they read")
    }

    fn at(second: u64) -> Now {
        Now {
            wall: UnixTime(1000 + second as i64),
            boot: BootTime(second * 1000),
        }
    }

    fn result(check: &str, outcome: Outcome) -> CheckResult {
        CheckResult {
            check: check.into(),
            outcome,
            detail: "evidence".into(),
        }
    }

    #[test]
    fn each_check_runs_by_its_own_period() {
        let mut journal = Journal::default();
        let due = |journal: &Journal, second| -> Vec<String> {
            let due = journal.due(&checks(), at(second).boot);
            due.into_iter().map(|check| check.name).collect()
        };
        assert_eq!(due(&journal, 0), ["fast", "slow"]);
        let both = ["fast", "slow"].map(|name| result(name, Outcome::Passed));
        journal.take(&both, at(0));
        assert_eq!(due(&journal, 9), [""; 0]);
        assert_eq!(due(&journal, 10), ["fast"]);
        journal.take(&both[..1], at(10));
        assert_eq!(due(&journal, 60), ["fast", "slow"]);
    }

    #[test]
    fn evidence_says_since_when_and_keeps_the_end_of_what_was_said() {
        let mut journal = Journal::default();
        journal.take(&[result("fast", Outcome::Passed)], at(0));
        journal.take(&[result("fast", Outcome::Failed)], at(10));
        let mut long = result("fast", Outcome::Failed);
        long.detail = "x".repeat(10_000) + "the end";
        journal.take(&[long], at(20));
        let states = journal.states(&checks());
        assert_eq!(states.len(), 1, "what has not run is not made up");
        assert_eq!(states[0].since, UnixTime(1010));
        assert_eq!(states[0].detail.len(), EVIDENCE);
        assert!(states[0].detail.ends_with("the end"));
        assert!(!journal.holds(&checks()), "one fails and one has not run");
        assert!(matches!(checks()[0].kind, Kind::Kubelet { .. }));
    }
}
