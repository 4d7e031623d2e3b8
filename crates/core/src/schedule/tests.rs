use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> UnixTime {
    text.parse().expect("a time")
}

fn schedule(windows: &[&str], freezes: &[&str]) -> Schedule {
    Schedule {
        windows: windows
            .iter()
            .map(|w| w.parse().expect("a window"))
            .collect(),
        freezes: freezes
            .iter()
            .map(|f| f.parse().expect("a freeze"))
            .collect(),
        stage_lead: Seconds(86_400),
        ..Schedule::always()
    }
}

#[test]
fn without_windows_and_freezes_it_is_always_open() {
    let open = Schedule::always().opening(at("2026-11-23T12:00:00Z"), Severity::Routine);
    assert_eq!(open, Opening::Open { until: None });
}

#[test]
fn a_window_over_midnight_is_open_on_both_sides_of_it() {
    // 2026-11-28 is a Saturday.
    let nights = schedule(&["sat 23:00 2h"], &[]);
    for (now, expected) in [
        (
            "2026-11-28T22:59:59Z",
            Opening::At(at("2026-11-28T23:00:00Z")),
        ),
        (
            "2026-11-28T23:00:00Z",
            Opening::Open {
                until: Some(at("2026-11-29T01:00:00Z")),
            },
        ),
        (
            "2026-11-29T00:59:59Z",
            Opening::Open {
                until: Some(at("2026-11-29T01:00:00Z")),
            },
        ),
        (
            "2026-11-29T01:00:00Z",
            Opening::At(at("2026-12-05T23:00:00Z")),
        ),
    ] {
        assert_eq!(
            nights.opening(at(now), Severity::Routine),
            expected,
            "{now}"
        );
    }
}

#[test]
fn a_window_for_severe_releases_is_closed_to_others() {
    let wide = schedule(&["sun 02:00 1h", "daily 04:00 1h critical"], &[]);
    let monday = at("2026-11-23T04:30:00Z");
    assert_eq!(
        wide.opening(monday, Severity::Critical),
        Opening::Open {
            until: Some(at("2026-11-23T05:00:00Z"))
        }
    );
    assert_eq!(
        wide.opening(monday, Severity::Security),
        Opening::At(at("2026-11-29T02:00:00Z"))
    );
}

#[test]
fn a_freeze_hides_windows_except_for_whom_it_lets_through() {
    let frozen = schedule(
        &["daily 02:00 1h"],
        &["2026-12-20/2027-01-06 except critical"],
    );
    let before = at("2026-12-19T02:30:00Z");
    assert!(matches!(
        frozen.opening(before, Severity::Routine),
        Opening::Open { .. }
    ));
    let christmas = at("2026-12-24T02:30:00Z");
    assert_eq!(
        frozen.opening(christmas, Severity::Security),
        Opening::At(at("2027-01-07T02:00:00Z"))
    );
    assert!(matches!(
        frozen.opening(christmas, Severity::Critical),
        Opening::Open { .. }
    ));
    let for_ever = schedule(&["daily 02:00 1h"], &["2026-12-20/2028-12-31"]);
    assert_eq!(
        for_ever.opening(christmas, Severity::Critical),
        Opening::Never
    );
}

#[test]
fn a_freeze_without_windows_closes_its_days_alone() {
    let frozen = schedule(&[], &["2026-12-24/2026-12-24"]);
    let open = frozen.opening(at("2026-12-23T12:00:00Z"), Severity::Routine);
    assert_eq!(
        open,
        Opening::Open {
            until: Some(at("2026-12-24T00:00:00Z"))
        }
    );
    let closed = frozen.opening(at("2026-12-24T12:00:00Z"), Severity::Routine);
    assert_eq!(closed, Opening::At(at("2026-12-25T00:00:00Z")));
}

#[test]
fn the_fallback_slot_is_kept_until_the_lead_before_the_window() {
    let weekly = schedule(&["sun 02:00 1h"], &[]);
    assert_eq!(
        weekly.staging(at("2026-11-23T12:00:00Z"), Severity::Routine),
        Opening::At(at("2026-11-28T02:00:00Z"))
    );
    assert!(matches!(
        weekly.staging(at("2026-11-28T02:00:00Z"), Severity::Routine),
        Opening::Open { .. }
    ));
}

#[test]
fn texts_read_back_and_nonsense_is_refused() {
    for text in [
        "daily 02:00 3h",
        "sat,sun 23:30 1d security",
        "mon 00:00 7d critical",
    ] {
        assert_eq!(text.parse::<Window>().expect(text).to_string(), text);
    }
    let range: Window = "fri-mon 02:00 1h".parse().expect("a range over Sunday");
    assert_eq!(range.days.to_string(), "mon,fri,sat,sun");
    for text in [
        "",
        "02:00 1h",
        "sat 2:00 1h",
        "sat 24:00 1h",
        "sat 02:60 1h",
        "sat 02:00 0s",
        "sat 02:00 8d",
        "sat 02:00 1h urgent",
        "sat 02:00 1h critical now",
        "caturday 02:00 1h",
    ] {
        assert!(text.parse::<Window>().is_err(), "{text}");
    }
    for text in [
        "2026-12-20",
        "2027-01-06/2026-12-20",
        "2026-13-01/2026-13-02",
        "2026-12-20/2026-12-21 critical",
    ] {
        assert!(text.parse::<Freeze>().is_err(), "{text}");
    }
}

#[test]
fn zone_names_cannot_leave_their_folder() {
    for name in [
        "UTC",
        "Europe/Berlin",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+5",
    ] {
        assert!(Zone::is_name(name), "{name}");
    }
    for name in [
        "",
        "/etc/passwd",
        "../localtime",
        "Europe//Berlin",
        "Europe/",
        "a b",
    ] {
        assert!(!Zone::is_name(name), "{name}");
    }
}

proptest! {
    /// Wherever the schedule says that it opens next, it is open, and a second earlier it is not.
    #[test]
    fn what_it_answers_holds_at_the_time_it_names(
        now in 1_700_000_000i64..1_900_000_000,
        day in 0usize..7, hour in 0u8..24, minutes in 1u64..10_000,
        severity in 0usize..3,
    ) {
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let window = alloc::format!("{} {hour:02}:00 {minutes}m", names[day]);
        let schedule = schedule(&[&window], &["2026-12-20/2027-01-06 except security"]);
        let severity = Severity::ALL[severity];
        match schedule.opening(UnixTime(now), severity) {
            Opening::At(at) => {
                let open = schedule.opening(at, severity);
                prop_assert!(matches!(open, Opening::Open { .. }), "{:?}", open);
                prop_assert_eq!(schedule.opening(UnixTime(at.0 - 1), severity), Opening::At(at));
            }
            Opening::Open { until: Some(until) } => {
                prop_assert!(until > UnixTime(now));
                let last = schedule.opening(UnixTime(until.0 - 1), severity);
                prop_assert!(matches!(last, Opening::Open { .. }), "{:?}", last);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// More windows never close a moment, more freezes never open one.
    #[test]
    fn windows_only_widen_and_freezes_only_narrow(now in 1_700_000_000i64..1_900_000_000) {
        let open = |s: &Schedule| {
            matches!(s.opening(UnixTime(now), Severity::Routine), Opening::Open { .. })
        };
        let one = schedule(&["sat 02:00 5h"], &[]);
        let two = schedule(&["sat 02:00 5h", "wed 12:00 1h"], &[]);
        let frozen = schedule(&["sat 02:00 5h", "wed 12:00 1h"], &["2026-01-01/2026-06-30"]);
        prop_assert!(!open(&one) || open(&two));
        prop_assert!(!open(&frozen) || open(&two));
    }
}

#[test]
fn an_empty_list_of_windows_is_not_a_list_of_closed_ones() {
    let none = Schedule {
        windows: vec![],
        ..schedule(&["sat 02:00 5h"], &[])
    };
    assert!(matches!(
        none.opening(UnixTime(0), Severity::Routine),
        Opening::Open { .. }
    ));
}
