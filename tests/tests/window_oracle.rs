//! Windows against an oracle written elsewhere: `systemd-analyze calendar` names the starts of a
//! calendar expression in a zone, daylight saving included; so does the schedule.

use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use twinroot_core::schedule::{Opening, Schedule};
use twinroot_host::zone;
use twinroot_tests::skip;
use twinroot_trust::manifest::Severity;
use twinroot_trust::time::UnixTime;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Zones whose rules differ: the north, the south, half hours, a day that was left out, no rules.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Santiago",
    "Africa/Casablanca",
    "Pacific/Auckland",
];
/// Starts compared in each case.
const STARTS: usize = 12;
/// Cases; each asks a process.
const CASES: u32 = 150;

/// The next starts after `now`, by systemd.
fn oracle(now: i64, days: &str, hour: u8, minute: u8, zone: &str) -> Option<Vec<i64>> {
    let output = Command::new("systemd-analyze")
        .args(["calendar", &format!("--iterations={STARTS}")])
        .arg(format!("--base-time=@{now}"))
        .arg(format!("{days} *-*-* {hour:02}:{minute:02}:00 {zone}"))
        .env("TZ", "UTC")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let time = |line: &str| {
        // `    Next elapse: Mon 2026-03-30 00:30:00 UTC`
        let at = line.split_once(": ")?.1;
        let words: Vec<&str> = at.split_whitespace().collect();
        let [_, date, clock, "UTC"] = words.as_slice() else {
            return None;
        };
        let time: UnixTime = format!("{date}T{clock}Z").parse().ok()?;
        Some(time.0)
    };
    let starts = text
        .lines()
        .filter(|l| l.contains("Next elapse") || l.contains("Iter. #"));
    let starts: Vec<i64> = starts.filter_map(time).collect();
    (starts.len() == STARTS).then_some(starts)
}

/// The same by the schedule.
fn ours(now: i64, days: &str, hour: u8, minute: u8, zone: &str) -> Vec<i64> {
    // A window of one minute: nothing but its start counts here.
    let text = format!("{days} {hour:02}:{minute:02} 1m");
    let schedule = Schedule {
        zone: zone::read(zone).expect("a zone of the time zone database"),
        windows: vec![text.parse().expect("a window of this test")],
        ..Schedule::always()
    };
    let mut starts = Vec::new();
    // systemd names starts after the base time; a window that starts at it is open already.
    let mut at = UnixTime(now);
    while starts.len() < STARTS {
        at = match schedule.opening(at, Severity::Routine) {
            Opening::At(start) => {
                starts.push(start.0);
                start
            }
            Opening::Open { until } => until.expect("a minute ends"),
            Opening::Never => panic!("a weekly window opens"),
        };
    }
    starts
}

#[test]
fn windows_start_when_systemds_calendar_says() {
    if oracle(1_800_000_000, "mon", 2, 30, "UTC").is_none() {
        return skip("systemd-analyze is not installed or cannot name times");
    }
    if zone::read("Europe/Berlin").is_err() {
        return skip("there is no time zone database");
    }
    // 2024 to 2037, the whole hours around midnight and the changes of daylight saving more often.
    let case = (
        1_704_067_200i64..2_114_380_800,
        prop::collection::vec(0usize..7, 1..4),
        prop_oneof![3 => 0u8..5, 1 => 0u8..24],
        prop_oneof![Just(0u8), Just(30), 0u8..60],
        0usize..ZONES.len(),
    );
    let mut runner = TestRunner::new(Config::with_cases(CASES));
    runner
        .run(&case, |(now, days, hour, minute, zone)| {
            let days: Vec<&str> = days.iter().map(|day| DAYS[*day]).collect();
            let (days, zone) = (days.join(","), ZONES[zone]);
            let expected = oracle(now, &days, hour, minute, zone)
                .ok_or_else(|| TestCaseError::fail("the oracle gave no answer"))?;
            prop_assert_eq!(ours(now, &days, hour, minute, zone), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_start_that_a_night_lacks_is_skipped_and_one_that_it_has_twice_comes_once() {
    if oracle(1_800_000_000, "mon", 2, 30, "UTC").is_none() || zone::read("Europe/Berlin").is_err()
    {
        return skip("systemd-analyze or the time zone database is missing");
    }
    // The days before the changes of 2026 in Berlin.
    for now in ["2026-03-27T12:00:00Z", "2026-10-23T12:00:00Z"] {
        let now: UnixTime = now.parse().unwrap();
        let daily = DAYS.join(",");
        let expected = oracle(now.0, &daily, 2, 30, "Europe/Berlin").unwrap();
        assert_eq!(ours(now.0, &daily, 2, 30, "Europe/Berlin"), expected);
    }
}
