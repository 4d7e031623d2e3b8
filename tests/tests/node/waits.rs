//! Every reason to wait, met on a node: `why` names its code, and a sentence with the thing and the number
//! that a person needs. What takes an agent that runs is in `tests/daemon`.

use serde_json::Value;
use twinroot_core::why::WaitReason;
use twinroot_publish::fake::{self, STABLE};
use twinroot_publish::serve::faults::Kind;

use crate::support::Node;

/// Seconds of a month, in which the fake repository's timestamp expires.
const MONTH: i64 = 31_556_952 / 12;

/// The sentence with which `why` gives this code.
fn sentence_of(why: &Value, code: &str) -> String {
    let reasons = why["reasons"].as_array().unwrap();
    let reason = reasons.iter().find(|reason| reason["code"] == code);
    let reason = reason.unwrap_or_else(|| panic!("not for {code}: {why}"));
    assert!(!reason["remedy"].as_str().unwrap().is_empty());
    reason["sentence"].as_str().unwrap().to_owned()
}

/// Does this (whose exit code tells the same) and says why nothing comes of it.
fn waits(node: &Node, act: &[&str], code: &str) -> String {
    node.run(act);
    sentence_of(&node.run(&["why", "--json"]).json(), code)
}

fn configure(node: &Node, text: &str) {
    std::fs::write(node.machine().join("config.d/50-test.toml"), text).unwrap();
}

#[test]
fn a_rollout_that_has_not_begun_is_paused_or_was_withdrawn() {
    let mut node = Node::new();
    let image = fake::changed(node.image(), 3, [3, 17, 40]);
    node.repo.add(STABLE, "1.1", &image, |_| ()).unwrap();
    node.repo.sign_all().unwrap();
    node.repo.publish().unwrap();
    let said = waits(&node, &["check"], "not-offered");
    assert!(said.contains("1.1"), "{said}");

    let mut node = Node::new();
    let release = node.publish("1.1", 3);
    node.repo.set_paused(STABLE, true);
    let said = waits(&node, &["check"], "rollout-paused");
    assert!(said.contains("1.1"), "{said}");
    node.repo.set_paused(STABLE, false);
    node.repo.withdraw(STABLE, &release.id);
    let said = waits(&node, &["check"], "withdrawn");
    assert!(said.contains("1.1"), "{said}");
}

#[test]
fn a_pin_and_windows_that_are_for_others() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run(&["pin", "1.0"]).is_good();
    let said = waits(&node, &["check"], "pinned");
    assert!(said.contains("1.0"), "{said}");
    node.run(&["pin", "--clear"]).is_good();

    let windowed =
        "[update]\nstrategy = \"windowed\"\n[reboot]\nwindows = [\"daily 04:00 1h critical\"]\n";
    configure(&node, windowed);
    let said = waits(&node, &["agent", "--once"], "no-window");
    assert!(said.contains("1.1"), "{said}");
}

#[test]
fn a_release_that_this_node_cannot_have() {
    let mut node = Node::new();
    node.publish_with("1.5", 3, |plan| {
        plan.requires.from = Some("1.4".parse().unwrap());
    });
    let said = waits(&node, &["check"], "barrier");
    assert!(said.contains("1.5") && said.contains("1.4"), "{said}");

    let mut node = Node::new();
    node.publish_with("1.1", 3, |plan| {
        plan.requires.cpu = Some("riscv-v9".parse().unwrap());
    });
    let said = waits(&node, &["check"], "requirement-missing");
    assert!(said.contains("cpu riscv-v9"), "{said}");

    let mut node = Node::new();
    // The slot has a MiB: 256 blocks of 4 KiB.
    let large = fake::image(9, 256 + 16);
    node.repo.release(STABLE, "1.1", &large);
    let said = waits(&node, &["check"], "space-short");
    assert!(said.contains("64.0 KiB"), "{said}");
}

#[test]
fn a_release_that_was_left_behind_for_good() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.update();
    node.publish_with("1.2", 4, |plan| {
        plan.revokes_below = Some("1.2".parse().unwrap());
    });
    node.update();
    let back = ["apply", "--version", "1.1", "--force"];
    let said = waits(&node, &back, "below-floor");
    assert!(said.contains("1.1") && said.contains("1.2"), "{said}");
}

#[test]
fn a_denied_release() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run(&["stage"]).is_good();
    let deny = ["deny", "1.1", "--reason", "it ate the logs"];
    node.run(&deny).is_good();
    let said = waits(&node, &["check"], "denied");
    assert!(
        said.contains("1.1") && said.contains("it ate the logs"),
        "{said}"
    );
}

#[test]
fn a_repository_that_is_away_or_stale() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run_at(MONTH, &["check"])
        .is_refused("metadata-expired");
    let why = node.run_at(MONTH, &["why", "--json"]).json();
    let said = sentence_of(&why, "metadata-expired");
    assert!(said.contains("timestamp metadata expired at"), "{said}");

    node.plant("timestamp.json", Kind::Status(503));
    let said = waits(&node, &["check"], "offline");
    assert!(said.contains("503"), "{said}");
    node.heal();

    node.plant("payload", Kind::Status(503));
    let said = waits(&node, &["stage"], "backing-off");
    assert!(said.contains("503"), "{said}");
}

#[test]
fn what_only_a_person_starts() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    let said = waits(&node, &["check"], "manual-strategy");
    assert!(said.contains("1.1"), "{said}");
    let said = waits(&node, &["apply", "--no-reboot"], "reboot-needed");
    assert!(said.contains("1.1"), "{said}");

    let mut node = Node::new();
    node.publish("1.1", 3);
    configure(&node, "[update]\nstrategy = \"staged-only\"\n");
    let said = waits(&node, &["agent", "--once"], "staged-only");
    assert!(said.contains("1.1"), "{said}");
}

/// Reads the tests: a reason that no test meets is one that perhaps nobody can meet.
#[test]
fn every_reason_to_wait_is_met_by_a_test_on_a_node() {
    let mut text = String::new();
    for folder in ["tests/node", "tests/daemon"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in std::fs::read_dir(folder).unwrap() {
            text.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
        }
    }
    // A manifest that this program is too old for cannot be made by it: `agent`'s tests say so.
    let elsewhere = ["client-too-old"];
    let codes = WaitReason::examples()
        .into_iter()
        .map(|reason| reason.code());
    let unmet: Vec<&str> = codes
        .filter(|code| !elsewhere.contains(code) && !text.contains(&format!("\"{code}\"")))
        .collect();
    assert_eq!(unmet, [""; 0]);
}
