use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::health::{Author, Kind};

const RULES: Rules = Rules {
    probation: Seconds(300),
    deadline: Seconds(900),
    remote_extension: Seconds(3600),
    on_remote_loss: RemoteLoss::KeepNewSlot,
};

fn check(name: &str, required: bool, remote: bool) -> Check {
    Check {
        name: name.into(),
        by: Author::Publisher,
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
            detail: "it failed for good 5s after the start: evidence".into()
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
fn a_run_that_could_not_be_had_starts_probation_again_and_a_round_without_it_does_not() {
    let a = [check("a", true, false)];
    let not_run: &[(&str, Outcome)] = &[("a", Outcome::NotRun)];
    let broken = [(10, OK), (20, OK), (30, not_run), (40, OK), (50, OK)];
    let mut more = broken.to_vec();
    more.push((349, OK));
    assert!(matches!(after(&a, &more), Verdict::Pending { .. }));
    more.push((350, OK));
    assert_eq!(after(&a, &more), Verdict::Good);
    // Its period is its own: other checks have rounds in between.
    let rounds = [(10, OK), (20, OK), (30, &[][..]), (320, &[][..])];
    assert_eq!(after(&a, &rounds), Verdict::Good);
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

/// The verdict after every round, as the loop asks for it: the first that decides ends it.
fn first_verdict(
    checks: &[Check],
    ill_before: &[String],
    rules: Rules,
    mut outcome: impl FnMut(&str, u64) -> Outcome,
) -> (u64, Verdict) {
    let mut judge = Judge::new(checks, ill_before, rules);
    for second in (10..=6000).step_by(10) {
        let results: Vec<CheckResult> = checks
            .iter()
            .map(|check| CheckResult {
                check: check.name.clone(),
                outcome: outcome(&check.name, second),
                detail: "evidence".into(),
            })
            .collect();
        judge.observe(&results, at(second));
        let verdict = judge.verdict(at(second));
        if !matches!(verdict, Verdict::Pending { .. }) {
            return (second, verdict);
        }
    }
    panic!("no verdict at all");
}

/// A workload on this machine and a registry elsewhere, both required.
fn here_and_there() -> [Check; 2] {
    [check("here", true, false), check("there", true, true)]
}

fn there(outcome: Outcome) -> impl FnMut(&str, u64) -> Outcome {
    move |name, _| match name {
        "there" => outcome,
        _ => Outcome::Passed,
    }
}

#[test]
fn a_remote_endpoint_that_nobody_reaches_stretches_the_deadline_and_the_slot_is_kept() {
    let lost = there(Outcome::Unreachable);
    let (second, verdict) = first_verdict(&here_and_there(), &[], RULES, lost);
    assert_eq!(second, 4500, "deadline and extension");
    assert_eq!(
        verdict,
        Verdict::Kept {
            lost: vec!["there".into()]
        }
    );
}

#[test]
fn an_owner_may_want_to_go_back_where_a_remote_endpoint_is_lost() {
    let rules = Rules {
        on_remote_loss: RemoteLoss::RollBack,
        ..RULES
    };
    let lost = there(Outcome::Unreachable);
    let (second, verdict) = first_verdict(&here_and_there(), &[], rules, lost);
    assert_eq!(second, 4500);
    assert!(matches!(verdict, Verdict::Bad { check, .. } if check == "there"));
}

#[test]
fn a_remote_endpoint_that_answers_wrongly_counts_unless_it_did_so_before() {
    let wrong = || there(Outcome::Failed);
    let (second, verdict) = first_verdict(&here_and_there(), &[], RULES, wrong());
    assert_eq!(second, 4500, "nothing remote is blamed at once");
    assert!(matches!(verdict, Verdict::Bad { check, .. } if check == "there"));
    let ill = ["there".to_string()];
    let (second, verdict) = first_verdict(&here_and_there(), &ill, RULES, wrong());
    assert_eq!(second, 4500);
    assert!(matches!(verdict, Verdict::Kept { lost } if lost == ["there"]));
}

#[test]
fn a_remote_endpoint_that_comes_back_in_the_last_round_is_not_held_against_the_release() {
    let back = |name: &str, second| match name {
        // Once: it would have to pass twice in a row.
        "there" if second < 4500 => Outcome::Failed,
        _ => Outcome::Passed,
    };
    let (second, verdict) = first_verdict(&here_and_there(), &[], RULES, back);
    assert_eq!(second, 4500);
    assert!(matches!(verdict, Verdict::Kept { lost } if lost == ["there"]));
}

#[test]
fn a_remote_outage_of_an_hour_rolls_nobody_back_wherever_in_the_probation_it_begins() {
    for begin in [0, 20, 200, 310] {
        for outcome in [Outcome::Unreachable, Outcome::Failed] {
            let outage = |name: &str, second| match name {
                "there" if (begin..begin + 3600).contains(&second) => outcome,
                _ => Outcome::Passed,
            };
            let (_, verdict) = first_verdict(&here_and_there(), &[], RULES, outage);
            assert_eq!(verdict, Verdict::Good, "{outcome:?} from {begin} s on");
        }
    }
}

#[test]
fn an_endpoint_that_comes_back_after_the_deadline_has_time_to_hold() {
    let back = |name: &str, second| match name {
        "there" if second < 1000 => Outcome::Unreachable,
        _ => Outcome::Passed,
    };
    let (second, verdict) = first_verdict(&here_and_there(), &[], RULES, back);
    assert_eq!((second, verdict), (1310, Verdict::Good));
}

#[test]
fn a_workload_here_that_fails_during_a_remote_outage_is_bad_at_once() {
    let both = |name: &str, second| match name {
        "there" => Outcome::Unreachable,
        _ if second < 2000 => Outcome::Passed,
        _ => Outcome::Failed,
    };
    let (second, verdict) = first_verdict(&here_and_there(), &[], RULES, both);
    assert_eq!(second, 2000);
    assert!(
        matches!(verdict, Verdict::Bad { check, detail } if check == "here"
        && detail == "it held, and failed 2000s after the start: evidence")
    );
}

#[test]
fn a_local_check_is_never_excused_as_unreachable() {
    let local = [check("a", true, false)];
    let lost: &[(&str, Outcome)] = &[("a", Outcome::Unreachable)];
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
fn a_check_that_flips_is_bad_by_the_deadline_even_if_it_never_held() {
    let a = [check("a", true, false)];
    let flips = |_: &str, second: u64| match second / 10 % 2 {
        0 => Outcome::Passed,
        _ => Outcome::Failed,
    };
    let (second, verdict) = first_verdict(&a, &[], RULES, flips);
    assert_eq!(second, 900);
    assert!(matches!(verdict, Verdict::Bad { .. }));
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
        let a = [check("a", true, false)];
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
