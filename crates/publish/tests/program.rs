//! The program as a person or a script meets it: words, JSON, exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail by panicking, start the program, and write files that need not survive a crash"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use twinroot_publish::fake;

/// A time inside all periods of what the tests draft.
const NOW: &str = "2026-11-01T00:00:00Z";

struct Place {
    dir: TempDir,
}

impl Place {
    /// A directory with a published repository, `R`, and its keys, `K`.
    fn new() -> Self {
        let place = Self {
            dir: TempDir::new().unwrap(),
        };
        place.json(&[
            "init",
            "R",
            "--product",
            "container-host",
            "--channel",
            "stable:2of3",
            "--channel",
            "edge:1of1",
            "--create-keys",
            "--no-passphrase",
        ]);
        place.json(&["sign", "all"]);
        place.json(&["release"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_twinroot-publish"))
            .args(["-C", "R", "--keys", "K", "--now", NOW])
            .args(arguments)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed and gives back its JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{arguments:?}: {why}: {text}"))
    }

    /// Runs a command that must be refused; gives back exit code and standard error.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} must be refused");
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    fn add(&self, channel: &str, version: &str, seed: u64, more: &[&str]) -> Value {
        let image = fake::image(seed, 32);
        std::fs::write(self.path("root.img"), &image).unwrap();
        let uki = fake::uki(&version.parse().unwrap(), &fake::root_hash(&image));
        std::fs::write(self.path("uki.efi"), uki).unwrap();
        let salt: String = fake::SALT
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let base = [
            "add",
            "--channel",
            channel,
            "--version",
            version,
            "--root",
            "root.img",
            "--uki",
            "uki.efi",
            "--salt",
            &salt,
            "--level",
            "1",
        ];
        self.json(&[&base[..], more].concat())
    }
}

#[test]
fn a_release_goes_from_key_to_rollout_by_the_commands_of_the_page() {
    let place = Place::new();
    let added = place.add(
        "stable",
        "1.0",
        1,
        &[
            "--wave",
            "1:1h",
            "--wave",
            "100",
            "--health",
            "5m",
            "--severity",
            "security",
            "--component",
            "kernel=6.1",
        ],
    );
    assert_eq!(added["draft"], "channel-stable");
    place.json(&["sign", "channel-stable", "--key", "stable-1"]);
    let (code, words) = place.refused(&["release"]);
    assert_eq!(code, 5, "a missing signature is a matter of trust: {words}");
    assert!(
        words.contains("[threshold-not-met]") && words.contains("stable-2, stable-3"),
        "{words}"
    );
    place.json(&["draft", "export", "channel-stable", "draft.json"]);
    let key = place.path("K/stable-3.key").display().to_string();
    place.json(&["sign", "--file", "draft.json", "--key", &key]);
    place.json(&["draft", "import", "channel-stable", "draft.json"]);
    place.json(&["release"]);
    let offered = place.json(&["rollout", "--channel", "stable", "--offer", "1.0"]);
    assert_eq!(offered["published"], true);
    let (code, words) = place.refused(&[
        "rollout",
        "--channel",
        "stable",
        "--offer",
        "1.0",
        "--wave",
        "100",
    ]);
    assert_eq!(code, 5);
    assert!(words.contains("100 %"), "{words}");
    assert_eq!(
        place.json(&["pause", "--channel", "stable", "--reason", "night"])["policy"]["paused"],
        true
    );
    assert_eq!(
        place.json(&["resume", "--channel", "stable"])["policy"]["paused"],
        false
    );
    place.json(&["withdraw", "1.0", "--channel", "stable", "--reason", "bad"]);
    place.json(&["refresh"]);
    let status = place.json(&["status"]);
    assert_eq!(
        status["channels"][0]["releases"][0]["withdrawn"], true,
        "{status}"
    );
    assert_eq!(status["drafts"], serde_json::json!([]));
    let problems = place.json(&["check"]);
    let faults = problems["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["weight"] == "fault");
    assert_eq!(faults.count(), 0, "{problems}");
    let journal = std::fs::read_to_string(place.path("R/work/journal.jsonl")).unwrap();
    assert!(journal.contains("\"reason\":\"bad\""), "{journal}");
}

#[test]
fn a_wave_that_was_signed_in_the_manifest_is_read_back_from_it() {
    let place = Place::new();
    place.add(
        "edge",
        "1.0",
        1,
        &[
            "--wave",
            "5:2h",
            "--wave",
            "50:1d",
            "--wave",
            "100",
            "--earliest",
            "2026-11-02T00:00:00Z",
        ],
    );
    place.json(&["sign", "channel-edge"]);
    place.json(&["release"]);
    let offered = place.json(&["rollout", "--channel", "edge", "--offer", "1.0"]);
    assert_eq!(
        offered["policy"]["start"], "2026-11-02T00:00:00Z",
        "not before the manifest allows"
    );
    assert_eq!(
        offered["policy"]["waves"],
        serde_json::json!([[5, "2h"], [50, "1d"], [100, "0s"]])
    );
}

#[test]
fn refusals_are_one_line_with_code_and_remedy_and_json_where_asked() {
    let place = Place::new();
    for (arguments, code, text) in [
        (
            &["promote", "--from", "edge", "--to", "stable", "7.7"][..],
            5,
            "[target-not-found]",
        ),
        (&["sign", "targets"], 2, "[draft-missing]"),
        (
            &["rollout", "--channel", "nightly", "--offer", "1.0"],
            2,
            "[channel-unknown]",
        ),
        (
            &["init", "R", "--product", "x", "--channel", "stable:1of1"],
            2,
            "[repository-exists]",
        ),
        (
            &["key", "new", "stable-1", "--no-passphrase"],
            2,
            "[key-exists]",
        ),
        (&["key", "new", "another"], 2, "[bad-request]"),
    ] {
        let (found, words) = place.refused(arguments);
        assert!(words.contains(text), "{arguments:?}: {words}");
        assert_eq!(found, code, "{arguments:?}: {words}");
        assert_eq!(words.lines().count(), 1, "{arguments:?}: {words}");
    }
    std::fs::rename(place.path("R"), place.path("elsewhere")).unwrap();
    let (code, words) = place.refused(&["status"]);
    assert!(
        code == 2 && words.contains("[repository-missing]"),
        "{code}: {words}"
    );
    std::fs::rename(place.path("elsewhere"), place.path("R")).unwrap();
    let output = place.run(&["--json", "sign", "targets"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["error"]["code"], "draft-missing");
    assert!(
        answer["error"]["remedy"]
            .as_str()
            .unwrap()
            .contains("status")
    );
}

#[test]
fn check_ends_with_a_failure_when_nodes_are_hurt() {
    let place = Place::new();
    std::fs::write(place.path("R/repo/metadata/timestamp.json"), "{}").unwrap();
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stdout).contains("[refused-by-nodes]"));
}

#[test]
fn encrypted_keys_need_their_passphrase_on_every_use() {
    let place = Place {
        dir: TempDir::new().unwrap(),
    };
    std::fs::write(place.path("pass"), "correct horse\n").unwrap();
    let with = ["--passphrase-file", "pass"];
    place.json(
        &[
            &[
                "init",
                "R",
                "--product",
                "p",
                "--channel",
                "edge:1of1",
                "--role",
                "root:1of1",
                "--role",
                "targets:1of1",
                "--create-keys",
            ],
            &with[..],
        ]
        .concat(),
    );
    let (_, words) = place.refused(&["sign", "root"]);
    assert!(
        words.contains("[key-unreadable]") && words.contains("passphrase"),
        "{words}"
    );
    place.json(&[&["sign", "all"], &with[..]].concat());
    place.json(&[&["release"], &with[..]].concat());
}

#[test]
fn a_signer_command_takes_the_place_of_a_key_file() {
    let place = Place::new();
    place.add("edge", "1.0", 1, &[]);
    let draft = std::fs::read(place.path("R/work/drafts/channel-edge.json")).unwrap();
    let message = twinroot_publish::documents::Envelope::parse(&draft)
        .unwrap()
        .message();
    let pem = std::fs::read_to_string(place.path("K/edge-1.key")).unwrap();
    let secret = twinroot_publish::keys::SecretKey::from_pem(&pem, None).unwrap();
    let answer: String = secret
        .sign(&message)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    std::fs::write(place.path("answer"), answer).unwrap();
    std::fs::remove_file(place.path("K/edge-1.key")).unwrap();
    let (_, words) = place.refused(&["sign", "channel-edge"]);
    assert!(words.contains("no key at hand"), "{words}");
    let command = ["sign", "channel-edge", "--signer-command", "cat", "answer"];
    let signed = place.json(&command);
    assert_eq!(signed["signed"][0][1], "edge-1");
    place.json(&["release"]);
}

#[test]
fn manual_pages_and_completions_are_written() {
    let place = Place {
        dir: TempDir::new().unwrap(),
    };
    let pages = place.json(&["man", "pages"]);
    let names: Vec<&str> = pages["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    for name in [
        "twinroot-publish.1",
        "twinroot-publish-add.1",
        "twinroot-publish-key-rotate.1",
    ] {
        assert!(names.contains(&name), "{names:?}");
        assert!(size(&place.path("pages").join(name)) > 200);
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = place.run(&["completions", shell]);
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("rollout"),
            "{shell}"
        );
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}
