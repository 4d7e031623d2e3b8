//! What the program says on a command line: help, errors, JSON, exit codes. A change here is a
//! change for every script that calls it, so the texts are kept as snapshots.
#![allow(clippy::unwrap_used)]
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is started as a person starts it"
)]

use std::process::{Command, Output};

fn twinroot(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinroot"));
    // The width of help texts must not depend on the terminal of whoever runs the tests.
    command.env("COLUMNS", "100").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_first_screen_names_every_command() {
    let output = twinroot(&["--help"]);
    assert!(output.status.success());
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for verb in [
        "status",
        "check",
        "plan",
        "stage",
        "activate",
        "reboot",
        "apply",
        "rollback",
        "repair",
        "deny",
        "undeny",
        "pin",
        "pause",
        "resume",
        "history",
        "why",
        "health",
        "diagnose",
        "verify",
        "agent",
        "man",
        "completions",
    ] {
        let output = twinroot(&[verb, "--help"]);
        assert!(output.status.success(), "{verb}");
        let help = text(&output.stdout);
        assert!(help.contains("Examples:"), "{verb}: {help}");
    }
    insta::assert_snapshot!("apply", text(&twinroot(&["apply", "--help"]).stdout));
    insta::assert_snapshot!(
        "repo_fetch",
        text(&twinroot(&["repo", "fetch", "--help"]).stdout)
    );
}

#[test]
fn without_a_machine_the_refusal_names_thing_cause_remedy_and_code() {
    let output = twinroot(&["--machine", "/nowhere", "status"]);
    assert_eq!(output.status.code(), Some(4), "environment");
    assert_eq!(text(&output.stdout), "");
    insta::assert_snapshot!(text(&output.stderr));
}

#[test]
fn with_json_an_error_is_one_document_on_standard_output() {
    let output = twinroot(&["--json", "--machine", "/nowhere", "status"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stderr), "");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["error"]["code"], "machine-invalid");
    assert_eq!(answer["exit-code"], 4);
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_two() {
    for args in [
        &["apply", "--version"][..],
        &["no-such-command"],
        &["pin", "1.0", "--clear"],
    ] {
        assert_eq!(twinroot(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(twinroot(&["--version"]).status.code(), Some(0));
}

#[test]
fn repo_knows_success_and_refusal_only() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = dir.path().join("store");
    let args = [
        "repo",
        "refresh",
        "--metadata-url",
        "ftp://x/",
        "--store",
        store.to_str().unwrap(),
    ];
    let output = twinroot(&args);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.ends_with("[url-invalid]\n") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn manual_pages_and_completions_cover_every_command() {
    let dir = tempfile::TempDir::new().unwrap();
    assert!(
        twinroot(&["man", dir.path().to_str().unwrap()])
            .status
            .success()
    );
    for page in ["twinroot.1", "twinroot-apply.1", "twinroot-repo-fetch.1"] {
        let page = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(page.contains(".SH NAME"));
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = twinroot(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("rollback"), "{shell}");
    }
}
