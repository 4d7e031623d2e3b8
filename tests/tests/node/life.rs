//! What a node goes through in its life.

use twinroot_host::machine::BootFault;

use crate::support::Node;

#[test]
fn an_update_is_staged_proven_tried_and_committed() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    let plan = node.run(&["plan", "--json"]).json();
    assert_eq!(plan["release"]["version"], "1.1");
    let fetch = plan["fetch"].as_u64().unwrap();
    node.server.forget();
    node.run(&["apply"]).is_good();
    let sent: u64 = node
        .server
        .log()
        .iter()
        .filter(|s| s.path.contains("payload"))
        .map(|s| s.bytes)
        .sum();
    assert!(sent <= fetch, "planned {fetch}, and {sent} came");
    node.boot(BootFault::None);
    node.run(&["agent", "--once"]).is_good();
    assert_eq!(node.running(), "1.1");
    let status = node.status();
    assert_eq!(status["fallback"], "proven");
    assert_eq!(status["floor"], "1.0");
    let verified = node.run(&["verify", "--json"]).json();
    assert_eq!(verified["all-good"], true, "{verified}");
    assert_eq!(verified["slots"].as_array().unwrap().len(), 2, "{verified}");
}

#[test]
fn what_an_update_fetches_is_what_changed() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    let plan = node.run(&["plan", "--json"]).json();
    let (fetch, reuse) = (
        plan["fetch"].as_u64().unwrap(),
        plan["reuse"].as_u64().unwrap(),
    );
    assert_eq!(reuse, (crate::support::BLOCKS - 3) * 4096, "{plan}");
    assert!(fetch < crate::support::BLOCKS * 4096 / 2, "{plan}");
}

#[test]
fn a_release_that_fails_health_is_left_remembered_and_not_taken_again() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run(&["apply"]).is_good();
    node.boot(BootFault::Health);
    node.run(&["agent", "--once"]);
    assert_eq!(node.boot(BootFault::None).as_deref(), Some("1.0"));
    node.run(&["agent", "--once"]).is_good();
    assert_eq!(node.running(), "1.0");
    assert_eq!(node.status()["denied"][0]["automatic"], true);
    node.refuses(&["apply"], "release-denied");
    node.refuses(&["apply", "--version", "1.1"], "release-denied");
    node.publish("1.2", 4);
    node.update();
    assert_eq!(node.running(), "1.2");
}

#[test]
fn a_kernel_that_never_comes_up_is_given_up_after_its_tries() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run(&["apply"]).is_good();
    assert_eq!(node.boot(BootFault::Kernel).as_deref(), Some("1.0"));
    node.run(&["agent", "--once"]).is_good();
    node.refuses(&["apply"], "release-denied");
    node.publish("1.2", 4);
    node.update();
    assert_eq!(node.running(), "1.2");
}

/// A node that was updated to 1.1, that a person then sent back, and that has come to rest on 1.0.
fn gone_back() -> Node {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.update();
    node.run(&["rollback", "--reason", "too slow"]).is_good();
    assert_eq!(node.boot(BootFault::None).as_deref(), Some("1.0"));
    node.run(&["agent", "--once"]).is_good();
    node
}

#[test]
fn a_person_goes_back_stays_there_and_takes_the_next_release() {
    let mut node = gone_back();
    assert_eq!(
        node.boot(BootFault::None).as_deref(),
        Some("1.0"),
        "it stays"
    );
    node.refuses(&["apply"], "release-denied");
    node.publish("1.2", 4);
    node.update();
    assert_eq!(node.running(), "1.2");
}

#[test]
fn a_pin_holds_a_node_until_it_is_lifted() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run(&["pin"]).is_good();
    node.refuses(&["apply"], "not-now");
    assert!(node.run(&["why"]).said().contains("pin"));
    node.run(&["pin", "--clear"]).is_good();
    node.update();
    assert_eq!(node.running(), "1.1");
}

#[test]
fn a_staged_release_that_is_denied_is_not_activated() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.run(&["stage"]).is_good();
    node.run(&["deny", "1.1", "--reason", "known to be bad"])
        .is_good();
    node.refuses(&["apply"], "release-denied");
    node.run(&["undeny", "1.1"]).is_good();
    node.update();
    assert_eq!(node.running(), "1.1");
}

#[test]
fn keys_of_every_role_may_be_replaced() {
    let mut node = Node::new();
    for (role, old, new) in [
        ("root", "root-1", "root-9"),
        ("timestamp", "timestamp-1", "timestamp-9"),
        ("stable", "stable-1", "stable-9"),
    ] {
        node.repo.rotate(role, old, new);
    }
    node.publish("1.1", 3);
    node.update();
    assert_eq!(node.running(), "1.1");
}

#[test]
fn a_slot_that_rotted_is_found_and_repaired() {
    let mut node = Node::new();
    node.publish("1.1", 3);
    node.update();
    node.publish("1.2", 4);
    node.update();
    let other = node.status()["other"]["slot"].as_str().unwrap().to_owned();
    rot(&node, &other, 17);
    let verified = node.run(&["verify", "--json"]);
    assert_eq!(verified.0.status.code(), Some(5), "{}", verified.said());
    node.run(&["repair"]).is_good();
    assert_eq!(node.running(), "1.2");
}

#[test]
fn what_is_left_of_a_denied_release_is_to_be_written_over_and_not_applied_again() {
    let node = gone_back();
    let verified = node.run(&["verify"]);
    assert_eq!(verified.0.status.code(), Some(5), "{}", verified.said());
    let said = verified.said();
    assert!(said.contains("denied") && !said.contains("apply"), "{said}");
    node.run(&["repair"]).is_good();
    node.run(&["verify"]).is_good();
}

/// Changes a byte of this block of a slot's data, behind everybody's back. The slots must differ in
/// the block.
pub fn rot(node: &Node, slot: &str, number: u64) {
    use std::os::unix::fs::FileExt;
    let held = block_of(node, slot, number);
    let disk = node.machine().join("disk.img");
    let bytes = std::fs::read(&disk).unwrap();
    let at = bytes
        .windows(4096)
        .step_by(4096)
        .position(|block| block == held)
        .unwrap()
        * 4096;
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    file.write_all_at(&[held[100] ^ 1], at as u64 + 100)
        .unwrap();
}

fn block_of(node: &Node, slot: &str, number: u64) -> Vec<u8> {
    let machine = twinroot_host::machine::Machine::look(&node.machine()).unwrap();
    let name = if slot == "a" {
        twinroot_core::slot::SlotName::A
    } else {
        twinroot_core::slot::SlotName::B
    };
    let reader = machine
        .ports()
        .disk
        .reader(name, twinroot_core::slot::Part::Data)
        .unwrap();
    let mut block = vec![0; 4096];
    reader.read_at(number * 4096, &mut block).unwrap();
    block
}

#[test]
fn a_release_withdrawn_while_it_is_activated_is_not_started() {
    let mut node = Node::new();
    let bad = node.publish("1.1", 3);
    node.run(&["apply", "--no-reboot"]).is_good();
    node.repo.withdraw("stable", &bad.id);
    node.refuses(&["reboot"], "release-withdrawn");
    assert_eq!(node.boot(BootFault::None).as_deref(), Some("1.0"));
    node.run(&["agent", "--once"]);
    node.publish("1.2", 4);
    node.update();
    assert_eq!(node.running(), "1.2");
}
