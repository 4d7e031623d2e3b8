use alloc::collections::BTreeSet;
use alloc::string::ToString;

use super::*;

#[test]
fn every_code_has_one_name_in_kebab_case_that_reads_back() {
    let mut seen = BTreeSet::new();
    for code in Code::ALL {
        let name = code.as_str();
        assert!(seen.insert(name), "{name} stands twice in the table");
        assert!(
            !name.starts_with('-') && !name.ends_with('-') && !name.contains("--"),
            "{name}"
        );
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "{name}"
        );
        assert_eq!(name.parse::<Code>(), Ok(*code));
    }
}

#[test]
fn exit_codes_are_distinct_and_leave_zero_and_one_alone() {
    let codes: BTreeSet<u8> = Category::ALL.iter().map(|c| c.exit_code()).collect();
    assert_eq!(codes.len(), Category::ALL.len());
    assert!(!codes.contains(&0) && !codes.contains(&1));
}

#[test]
fn exit_codes_stay_what_scripts_know() {
    let known = [
        ("bad-request", 2),
        ("config-syntax", 3),
        ("lock-held", 4),
        ("threshold-not-met", 5),
        ("unreachable", 6),
        ("disk-full", 7),
        ("esp-read-only", 8),
        ("health-failed", 9),
        ("internal", 10),
    ];
    for (name, exit) in known {
        let code: Code = name.parse().expect("a code of the table");
        assert_eq!(code.exit_code(), exit, "{name}");
    }
}

#[test]
fn a_failure_is_one_line_with_subject_cause_remedy_and_code() {
    let failure = Failure::new(
        Code::SlotTooSmall,
        "root-b",
        "it has 100 MiB, 400 MiB are needed",
    );
    assert_eq!(
        failure.to_string(),
        "root-b: it has 100 MiB, 400 MiB are needed; install anew with larger slots, or publish \
         a smaller image [slot-too-small]"
    );
    let own = failure.with_remedy("use --slot-size");
    assert!(
        own.to_string()
            .ends_with("; use --slot-size [slot-too-small]")
    );
}

#[test]
fn every_remedy_is_one_line() {
    for code in Code::ALL {
        let remedy = code.remedy();
        assert!(
            !remedy.is_empty() && !remedy.contains('\n') && !remedy.ends_with('.'),
            "{code}"
        );
    }
}

#[test]
fn a_code_nobody_listed_is_a_fault_of_ours_and_keeps_its_name() {
    let failure = Failure::from_code("no-such-code", "x", "broke");
    assert_eq!(failure.code, Code::Internal);
    assert!(failure.cause.contains("no-such-code"));
}

#[test]
fn a_record_of_a_newer_version_stays_readable() {
    let text = r#"{"code":"invented-next-year","subject":"root-a","cause":"c","remedy":"r"}"#;
    let failure: Failure = serde_json::from_str(text).expect("the record reads");
    assert_eq!(failure.code, Code::Unrecognised);
}

#[test]
fn a_failure_survives_json() {
    let failure = Failure::new(
        Code::WrongRange,
        "https://example.org/p",
        "asked 0-9, got 5-9",
    );
    let text = serde_json::to_string(&failure).expect("plain data");
    assert!(text.contains("\"wrong-range\""));
    let back: Failure = serde_json::from_str(&text).expect("it reads back");
    assert_eq!(back, failure);
}
