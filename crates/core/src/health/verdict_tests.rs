use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::health::Kind;

const RULES: Rules = Rules {
    probation: Seconds(300),
    deadline: Seconds(900),
    remote_extension: Seconds(3600),
};

fn check(name: &str, required: bool, remote: bool) -> Check {
    Check {
        name: name.into(),
        kind: Kind::Unit {
            unit: "x.service".into(),
        },
        required,
        remote,
        timeout: Seconds(5),
        period: Seconds(10),
        successes: 2,
    }
}

fn at(second: u64) -> BootTime {
    BootTime(second * 1000)
}

/// Runs rounds of (second, results) and says the verdict after the last.
fn after(checks: &[Check], rounds: &[(u64, &[(&str, Outcome)])]) -> Verdict {
    let mut judge = Judge::new(checks, &[], RULES);
    let mut last = 0;
    for (second, results) in rounds {
        let results: Vec<CheckResult> = results
            .iter()
            .map(|(check, outcome)| CheckResult {
                check: (*check).into(),
                outcome: *outcome,
                detail: "evidence".into(),
            })
            .collect();
        judge.observe(&results, at(*second));
        last = *second;
    }
    judge.verdict(at(last))
}

const OK: &[(&str, Outcome)] = &[("a", Outcome::Passed)];
const BAD: &[(&str, Outcome)] = &[("a", Outcome::Failed)];

#[test]
fn good_needs_successes_in_a_row_and_then_the_whole_probation() {
    let a = [check("a", true, false)];
    assert!(
        matches!(after(&a, &[(10, OK)]), Verdict::Pending { waiting_for } if waiting_for == ["a"])
    );
    let pending = after(&a, &[(10, OK), (20, OK), (319, OK)]);
    assert_eq!(
        pending,
        Verdict::Pending {
            waiting_for: vec![]
        }
    );
    assert_eq!(after(&a, &[(10, OK), (20, OK), (320, OK)]), Verdict::Good);
}

#[test]
fn a_service_that_is_slow_to_come_up_is_not_bad() {
    let a = [check("a", true, false)];
    let rounds = [
        (10, BAD),
        (20, OK),
        (30, BAD),
        (200, OK),
        (210, OK),
        (510, OK),
    ];
    assert_eq!(after(&a, &rounds), Verdict::Good);
}

#[test]
fn what_came_up_and_failed_again_is_bad_for_good() {
    let a = [check("a", true, false)];
    let verdict = after(
        &a,
        &[(10, OK), (20, OK), (30, BAD), (40, OK), (50, OK), (400, OK)],
    );
    assert!(matches!(verdict, Verdict::Bad { check, .. } if check == "a"));
}

#[test]
fn a_check_that_will_not_recover_is_bad_at_once() {
    let a = [check("a", true, false)];
    let verdict = after(&a, &[(5, &[("a", Outcome::FailedForGood)])]);
    assert_eq!(
        verdict,
        Verdict::Bad {
            check: "a".into(),
            detail: "evidence".into()
        }
    );
}

#[test]
fn silence_until_the_deadline_is_a_no() {
    let a = [check("a", true, false)];
    assert!(matches!(after(&a, &[(899, &[])]), Verdict::Pending { .. }));
    assert!(matches!(after(&a, &[(900, &[])]), Verdict::Bad { .. }));
    let judge = Judge::new(&a, &[], RULES);
    assert!(matches!(judge.verdict(at(900)), Verdict::Bad { check, .. } if check == "a"));
}

#[test]
fn a_check_that_could_not_be_run_never_counts_as_passed() {
    let a = [check("a", true, false)];
    let not_run: &[(&str, Outcome)] = &[("a", Outcome::NotRun)];
    assert!(matches!(
        after(&a, &[(10, OK), (20, not_run), (30, OK)]),
        Verdict::Pending { .. }
    ));
    assert!(matches!(
        after(&a, &[(10, not_run), (899, not_run)]),
        Verdict::Pending { .. }
    ));
    assert!(matches!(
        after(&a, &[(10, not_run), (900, not_run)]),
        Verdict::Bad { .. }
    ));
}

#[test]
fn a_break_in_the_results_starts_probation_again() {
    let a = [check("a", true, false)];
    let rounds = [(10, OK), (20, OK), (30, &[][..]), (40, OK), (50, OK)];
    let mut more = rounds.to_vec();
    more.push((349, OK));
    assert!(matches!(after(&a, &more), Verdict::Pending { .. }));
    more.push((350, OK));
    assert_eq!(after(&a, &more), Verdict::Good);
}

#[test]
fn wanted_checks_never_decide() {
    let checks = [check("a", true, false), check("b", false, false)];
    let both: &[(&str, Outcome)] = &[("a", Outcome::Passed), ("b", Outcome::FailedForGood)];
    assert_eq!(
        after(&checks, &[(10, both), (20, both), (320, both)]),
        Verdict::Good
    );
}

#[test]
fn what_was_ill_before_is_not_blamed_on_the_release() {
    let checks = [check("a", true, false), check("b", true, false)];
    let mut judge = Judge::new(&checks, &["b".into()], RULES);
    for second in [10, 20, 320] {
        let result = |check: &str, outcome| CheckResult {
            check: check.into(),
            outcome,
            detail: "e".into(),
        };
        judge.observe(
            &[result("a", Outcome::Passed), result("b", Outcome::Failed)],
            at(second),
        );
    }
    assert_eq!(judge.verdict(at(320)), Verdict::Good);
}

#[test]
fn a_remote_endpoint_that_nobody_reaches_stretches_the_deadline() {
    let lost: &[(&str, Outcome)] = &[("a", Outcome::Unreachable)];
    let remote = [check("a", true, true)];
    assert!(matches!(
        after(&remote, &[(10, lost), (900, lost)]),
        Verdict::Pending { .. }
    ));
    assert!(matches!(
        after(&remote, &[(10, lost), (4500, lost)]),
        Verdict::Bad { .. }
    ));
    let back = [(10, lost), (1000, OK), (1010, OK), (1310, OK)];
    assert_eq!(after(&remote, &back), Verdict::Good);
    // After it had come up, losing it is no verdict either; a local check in its place is bad.
    assert!(matches!(
        after(&remote, &[(10, OK), (20, OK), (30, lost)]),
        Verdict::Pending { .. }
    ));
    let local = [check("a", true, false)];
    assert!(matches!(
        after(&local, &[(10, OK), (20, OK), (30, lost)]),
        Verdict::Bad { .. }
    ));
    assert!(matches!(
        after(&local, &[(10, lost), (900, lost)]),
        Verdict::Bad { .. }
    ));
}

#[test]
fn a_local_failure_is_not_hidden_behind_a_remote_one() {
    let checks = [check("a", true, false), check("b", true, true)];
    let both: &[(&str, Outcome)] = &[("a", Outcome::Failed), ("b", Outcome::Unreachable)];
    assert!(
        matches!(after(&checks, &[(10, both), (900, both)]), Verdict::Bad { check, .. } if check == "a")
    );
}

proptest! {
    #[test]
    fn good_is_never_said_before_the_probation_is_over(outcomes in proptest::collection::vec(0u8..5, 1..60)) {
        let a = [check("a", true, true)];
        let mut judge = Judge::new(&a, &[], RULES);
        let mut was_bad = false;
        for (round, outcome) in outcomes.iter().enumerate() {
            let outcome = [Outcome::Passed, Outcome::Failed, Outcome::FailedForGood,
                Outcome::Unreachable, Outcome::NotRun][usize::from(*outcome)];
            let second = (round as u64 + 1) * 20;
            judge.observe(&[CheckResult { check: "a".into(), outcome, detail: "d".into() }], at(second));
            let verdict = judge.verdict(at(second));
            prop_assert!(verdict != Verdict::Good || second >= RULES.probation.0);
            prop_assert!(!was_bad || verdict != Verdict::Good);
            was_bad |= outcome == Outcome::FailedForGood;
        }
    }
}
