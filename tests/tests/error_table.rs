//! One vocabulary of failures: every code of the lower rooms is a row of the table in `core`.

use twinroot_core::error::Code;

fn unlisted(codes: &[&str]) -> Vec<String> {
    codes
        .iter()
        .filter(|code| code.parse::<Code>().is_err())
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_code_of_trust_is_a_row_of_the_table() {
    let codes = twinroot_trust::error::codes();
    assert!(codes.len() >= 20, "the list has shrunk to {}", codes.len());
    assert_eq!(unlisted(codes), Vec::<String>::new());
}

#[test]
fn every_code_of_payload_is_a_row_of_the_table() {
    let codes = twinroot_payload::error::codes();
    assert!(codes.len() >= 15, "the list has shrunk to {}", codes.len());
    assert_eq!(unlisted(codes), Vec::<String>::new());
}

#[test]
fn a_code_that_is_no_row_is_seen() {
    assert_eq!(unlisted(&["no-such-code"]), ["no-such-code"]);
}
