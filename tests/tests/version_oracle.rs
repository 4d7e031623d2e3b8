//! Versions are ordered as `systemd-analyze compare-versions` orders them, for random versions and
//! for the cases that the UAPI version format names.

use std::cmp::Ordering;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use twinroot_core::version::Version;

/// Random pairs: each starts one process of a few milliseconds.
const PAIRS: u32 = 200;

/// Pairs with their meaning in the specification: separators, `~`, `^`, `-`, leading zeros, letters
/// against digits, and ends of strings.
const NAMED: [(&str, &str); 27] = [
    ("1.02", "1.9"),
    ("2026.09.0", "2026.9.0"),
    ("1.0a01", "1.0a1"),
    ("1", "2"),
    ("1.0", "1.00"),
    ("1.9", "1.10"),
    ("2026.9.0", "2026.11.2"),
    ("1.0~rc1", "1.0"),
    ("1.0", "1.0^1"),
    ("1.0^1", "1.0.1"),
    ("1.0-1", "1.0"),
    ("1.0-1", "1.0-2"),
    ("1.0", "1.0.0"),
    ("1.0a", "1.0"),
    ("1.0a", "1.0.1"),
    ("a", "A"),
    ("a1", "1a"),
    ("007", "7"),
    ("1~~", "1~"),
    ("1^^", "1^"),
    ("1-", "1"),
    ("1.", "1"),
    ("1..2", "1.2"),
    ("99999999999999999999", "100000000000000000000"),
    ("0", "00"),
    ("1.0~rc1", "1.0~rc1^2"),
    ("1~1-1", "1-1~1"),
];

/// `None` where the tool is missing.
fn oracle(a: &str, b: &str) -> Option<Ordering> {
    let output = Command::new("systemd-analyze")
        .args(["compare-versions", a, b])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("systemd-analyze does not run: {error}"),
    };
    // systemd-analyze(1): exit status 0 equal, 11 the first is newer, 12 the second is.
    match output.status.code() {
        Some(0) => Some(Ordering::Equal),
        Some(11) => Some(Ordering::Greater),
        Some(12) => Some(Ordering::Less),
        status => panic!("systemd-analyze compare-versions {a} {b} ended with {status:?}"),
    }
}

fn version(text: &str) -> Version {
    text.parse()
        .expect("a version within the allowed characters")
}

#[test]
fn versions_are_ordered_as_systemd_orders_them() {
    if oracle("1", "1").is_none() {
        println!("SKIP systemd-analyze is not installed, so no order was compared");
        return;
    }
    for (a, b) in NAMED {
        assert_eq!(Some(version(a).cmp(&version(b))), oracle(a, b), "{a} {b}");
        assert_eq!(Some(version(b).cmp(&version(a))), oracle(b, a), "{b} {a}");
    }
    let part = "[0-9a-zA-Z]{1,3}|[.~^-]|0{1,3}|rc|[0-9]{1,12}";
    let text = proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat());
    let text = ("[0-9a-zA-Z]", text).prop_map(|(first, rest)| format!("{first}{rest}"));
    // Pairs that differ in one place meet more of the rules than independent ones.
    let near = (text.clone(), "[0-9a-z.~^-]{0,3}").prop_map(|(a, end)| (a.clone(), a + &end));
    let pair = prop_oneof![(text.clone(), text), near];
    let mut runner = TestRunner::new(Config {
        cases: PAIRS,
        ..Config::default()
    });
    runner
        .run(&pair, |(a, b)| {
            let ours = version(&a).cmp(&version(&b));
            prop_assert_eq!(Some(ours), oracle(&a, &b), "{} {}", a, b);
            Ok(())
        })
        .expect("the same order");
    println!(
        "compared {} named and {PAIRS} random pairs with systemd-analyze",
        NAMED.len()
    );
}
