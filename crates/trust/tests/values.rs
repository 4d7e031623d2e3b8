//! Promise: digests, versions, names and times have one text form, read strictly.
#![allow(clippy::unwrap_used)] // a helper that cannot go on panics, as its test would

use core::cmp::Ordering;

use proptest::prelude::*;
use twinroot_trust::digest::Digest;
use twinroot_trust::name::Name;
use twinroot_trust::time::{Day, Seconds, UnixTime};
use twinroot_trust::version::Version;

#[test]
fn digest_of_nothing_and_of_abc_are_the_published_ones() {
    // FIPS 180-2, appendix B.1, and the well-known digest of the empty input.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Digest::of(b"abc").to_string(), abc);
    assert_eq!(Digest::of(b"").to_string(), empty);
    assert_eq!(abc.parse(), Ok(Digest::of(b"abc")));
}

#[test]
fn digests_of_another_form_are_refused() {
    let good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for bad in [
        "",
        &good[1..],
        &good[2..],
        &good.to_uppercase(),
        &format!("{good}00"),
        &good.replace('b', "g"),
    ] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
}

#[test]
fn versions_order_as_the_uapi_specification_lists_them() {
    // The example list of the UAPI version format specification, oldest first.
    let ordered = [
        "122.1",
        "123~rc1-1",
        "123",
        "123-a",
        "123-a.1",
        "123-1",
        "123-1.1",
        "123^post1",
        "123.a-1",
        "123.1-1",
        "123a-1",
        "124-1",
    ];
    for (at, older) in ordered.iter().enumerate() {
        for newer in &ordered[at + 1..] {
            let (a, b): (Version, Version) = (older.parse().unwrap(), newer.parse().unwrap());
            let orders = (a.cmp(&b), b.cmp(&a));
            assert_eq!(
                orders,
                (Ordering::Less, Ordering::Greater),
                "{older} must come before {newer}"
            );
        }
    }
}

#[test]
fn leading_zeros_of_a_number_do_not_count() {
    // Each line as `systemd-analyze compare-versions` (252) judges it.
    let equal = [
        ("2026.11.02", "2026.11.2"),
        ("1.0", "1.00"),
        ("007", "7"),
        ("1.010", "1.10"),
        ("a01b", "a1b"),
    ];
    for (a, b) in equal {
        assert_eq!(
            a.parse::<Version>().unwrap(),
            b.parse::<Version>().unwrap(),
            "{a} and {b}"
        );
    }
    let rising = [
        ("1.02", "1.9"),
        ("1.0", "1.01"),
        ("1.a", "1.0"),
        ("1.0", "1.00a"),
        ("1.", "1.0"),
        ("2026.08", "2026.10"),
    ];
    for (older, newer) in rising {
        assert!(
            older.parse::<Version>().unwrap() < newer.parse().unwrap(),
            "{older} before {newer}"
        );
    }
}

#[test]
fn versions_that_compare_equal_are_equal() {
    let (a, b): (Version, Version) = ("1.0".parse().unwrap(), "1.00".parse().unwrap());
    assert_eq!(a, b);
    assert_ne!(a.as_str(), b.as_str());
}

#[test]
fn versions_and_names_that_could_leave_a_path_or_a_boot_entry_name_are_refused() {
    let long = "1".repeat(65);
    for bad in [
        "", ".", "..", "../1", "1/2", "1+3", "1_2", "-1", "~1", "1 ", "1\n", "1\0", "é", "1%2f",
        &long,
    ] {
        assert!(bad.parse::<Version>().is_err(), "version {bad:?}");
    }
    let long = "n".repeat(49);
    for bad in [
        "", ".", "..", "a/b", "A", "a b", "a*", "a?", "[a]", "-a", "_a", "a\\b", "a\0", "é", &long,
    ] {
        assert!(bad.parse::<Name>().is_err(), "name {bad:?}");
    }
    assert!("x86-64".parse::<Name>().is_ok());
}

#[test]
fn times_are_read_strictly() {
    let known = [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T12:34:56Z", 951_827_696),
        ("2026-11-23T10:00:00Z", 1_795_428_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ];
    for (text, seconds) in known {
        assert_eq!(text.parse(), Ok(UnixTime(seconds)));
        assert_eq!(UnixTime(seconds).to_string(), text);
    }
    let leap: UnixTime = "2016-12-31T23:59:60Z".parse().unwrap();
    assert_eq!(
        leap.to_string(),
        "2016-12-31T23:59:59Z",
        "a leap second is clamped"
    );
    for bad in [
        "",
        "2026-11-23",
        "2026-11-23T10:00:00",
        "2026-11-23t10:00:00z",
        "2026-11-23 10:00:00Z",
        "2026-11-23T10:00:00.0Z",
        "2026-11-23T10:00:00+00:00",
        "2026-1-23T10:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "1969-12-31T23:59:59Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Zé",
        "２026-01-01T00:00Z",
    ] {
        assert!(bad.parse::<UnixTime>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_day_ends_where_the_next_begins() {
    let (day, next): (Day, Day) = ("2028-02-29".parse().unwrap(), "2028-03-01".parse().unwrap());
    assert_eq!(day.end(), next.start());
    assert_eq!(day.end().to_string(), "2028-03-01T00:00:00Z");
}

#[test]
fn durations_are_a_number_and_a_unit() {
    for (text, seconds) in [
        ("0s", 0),
        ("90s", 90),
        ("5m", 300),
        ("1h", 3600),
        ("12h", 43_200),
        ("30d", 2_592_000),
    ] {
        assert_eq!(text.parse(), Ok(Seconds(seconds)));
        assert_eq!(Seconds(seconds).to_string(), text);
    }
    for bad in [
        "",
        "5",
        "m",
        "-5m",
        "+5m",
        "5 m",
        "5M",
        "1.5h",
        "1w",
        "1001d",
        "99999999999999999999d",
        "5é",
    ] {
        assert!(bad.parse::<Seconds>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn every_time_reads_back_as_written(seconds in 0i64..253_402_300_800) {
        prop_assert_eq!(UnixTime(seconds).to_string().parse(), Ok(UnixTime(seconds)));
    }

    #[test]
    fn later_times_have_later_text(a in 0i64..253_402_300_800, b in 0i64..253_402_300_800) {
        prop_assert_eq!(a.cmp(&b), UnixTime(a).to_string().cmp(&UnixTime(b).to_string()));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,24}") {
        let _ = (text.parse::<UnixTime>(), text.parse::<Day>(), text.parse::<Seconds>());
        let _ = (text.parse::<Digest>(), text.parse::<Version>(), text.parse::<Name>());
    }
}
