//! Bad input: each refusal has its code and remedy, changes neither the running slot nor the default
//! entry nor the floor, and the next good update succeeds.

use twinroot_publish::serve::faults::Kind;

use crate::support::{BLOCKS, Node};

/// Seconds of a year.
const YEAR: i64 = 31_556_952;

/// After a refusal the node still updates.
fn still_updates(node: &mut Node) {
    node.heal();
    node.publish("1.9", 9);
    node.update();
    assert_eq!(node.running(), "1.9");
}

#[test]
fn a_payload_that_was_changed_is_refused() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.plant("payload", Kind::Corrupt(2000));
    node.run(&["apply"]);
    let before = node.untouched();
    let answer = node.run(&["apply"]);
    assert_eq!(answer.0.status.code(), Some(5), "{}", answer.said());
    assert_eq!(node.untouched(), before);
    still_updates(&mut node);
}

#[test]
fn truncated_missing_and_wrongly_ranged_payloads_are_refused() {
    for (kind, code) in [
        (Kind::Truncated(100), "truncated"),
        (Kind::Status(404), "not-on-server"),
        (Kind::Status(503), "http-status"),
        (Kind::WrongRange, "wrong-range"),
        (
            Kind::Redirect("file:///etc/passwd".into()),
            "redirect-refused",
        ),
    ] {
        let mut node = Node::new();
        node.publish("1.1", 3);
        node.plant("payload", kind);
        node.refuses(&["apply"], code);
        still_updates(&mut node);
    }
}

/// A proxy that strips ranges would else strand every node behind it; what is cut out of the whole file still has
/// to be what was signed. How much may be thrown away is bounded, which the tests of `host::fetch` hold.
#[test]
fn a_server_that_ignores_ranges_is_put_up_with() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.plant("payload", Kind::IgnoreRange);
    node.update();
    assert_eq!(node.running(), "1.1");
}

#[test]
fn metadata_that_is_changed_endless_or_gone_is_refused() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    for (path, kind, code) in [
        ("timestamp.json", Kind::Endless, "endless-data"),
        ("timestamp.json", Kind::Status(404), "metadata-unavailable"),
        ("snapshot.json", Kind::Truncated(50), "truncated"),
        ("manifest.toml", Kind::Corrupt(5), "wrong-digest"),
    ] {
        node.plant(path, kind);
        node.refuses(&["apply"], code);
    }
    still_updates(&mut node);
}

#[test]
fn an_expired_repository_is_a_reason_to_wait_and_not_to_forget() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    let before = node.untouched();
    let month = YEAR / 12;
    node.run_at(month, &["apply"])
        .is_refused("metadata-expired");
    assert_eq!(node.untouched(), before);
    still_updates(&mut node);
}

#[test]
fn a_release_of_another_channel_is_not_seen() {
    let mut node = Node::new();
    let image = twinroot_publish::fake::image(9, BLOCKS);
    node.repo.release("edge", "2.0", &image);
    node.refuses(&["apply", "--version", "2.0"], "unknown-release");
    still_updates(&mut node);
}

#[test]
fn a_release_larger_than_the_slot_is_refused_before_anything_is_given_up() {
    let mut node = Node::sized(1 << 20);
    let image = twinroot_publish::fake::image(9, 512);
    node.repo.release("stable", "1.1", &image);
    node.refuses(&["apply"], "slot-too-small");
    still_updates(&mut node);
}

#[test]
fn damaged_state_is_recovered_from_the_world() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run(&["stage"]).is_good();
    for copy in ["state.0.json", "state.1.json"] {
        std::fs::write(
            node.machine().join("state").join(copy),
            b"{ nothing of ours",
        )
        .unwrap();
    }
    assert_eq!(node.status()["phase"], "idle");
    still_updates(&mut node);
}

#[test]
fn records_of_which_one_copy_is_damaged_lose_nothing_and_both_stop_the_node() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.update();
    let records = |copy: &str| node.machine().join("state").join(copy);
    let good = std::fs::read(records("records.0.json")).unwrap();
    std::fs::write(records("records.0.json"), b"x").unwrap();
    assert_eq!(node.status()["floor"], "1.0");
    let other = std::fs::read(records("records.1.json")).unwrap();
    std::fs::write(records("records.1.json"), b"x").unwrap();
    node.run(&["apply"]).is_refused("state-damaged");
    std::fs::write(records("records.0.json"), good).unwrap();
    std::fs::write(records("records.1.json"), other).unwrap();
    still_updates(&mut node);
}

#[test]
fn two_who_act_at_once_are_told_apart() {
    let node = Node::new();
    let held = twinroot_host::machine::Machine::open(&node.machine()).unwrap();
    let answer = node.run(&["apply"]);
    answer.is_refused("lock-held");
    assert!(
        answer.said().contains(&std::process::id().to_string()),
        "{}",
        answer.said()
    );
    node.run(&["status"]).is_good();
    drop(held);
    node.run(&["check"]).is_good();
}

#[test]
fn requests_that_make_no_sense_now_are_refused() {
    let node = Node::new();
    node.refuses(&["activate"], "nothing-staged");
    node.refuses(&["reboot"], "not-now");
    node.refuses(&["rollback"], "no-fallback");
    node.refuses(&["deny", "7.7"], "unknown-release");
    node.refuses(&["undeny", "7.7"], "unknown-release");
    node.refuses(&["apply", "--version", "7.7"], "unknown-release");
    node.refuses(&["apply", "--version", "1.0"], "not-newer");
}

#[test]
fn a_clock_at_1970_or_2099_installs_nothing_and_harms_nothing() {
    for off in [-56 * YEAR, 73 * YEAR] {
        let mut node = Node::new();
        node.publish("1.1", 3);
        let before = node.untouched();
        let answer = node.run_at(off, &["apply"]);
        assert!(!answer.0.status.success(), "{}", answer.said());
        assert_eq!(node.untouched(), before);
        still_updates(&mut node);
    }
}

#[test]
fn a_release_behind_a_barrier_or_for_another_machine_is_refused() {
    let mut node = Node::new();
    node.publish_with("1.5", 5, |plan| {
        plan.requires.from = Some("1.4".parse().unwrap())
    });
    node.refuses(&["apply"], "barrier-required");
    node.publish_with("1.6", 6, |plan| {
        plan.requires.cpu = Some("riscv-v9".parse().unwrap())
    });
    node.refuses(&["apply"], "requirement-missing");
    still_updates(&mut node);
}
