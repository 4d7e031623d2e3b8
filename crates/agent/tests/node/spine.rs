//! The product's spine on a simulated machine: install, update, commit, and back again.

use crate::common::{Node, apply};
use twinroot_core::update::Command;
use twinroot_sim::world::Behaviour;

#[test]
fn a_first_boot_is_a_trial_that_ends_blessed() {
    let node = Node::new();
    assert_eq!(node.run(None), None);
    assert_eq!(node.running(), "1.0");
    assert!(
        node.history().iter().any(|l| l.starts_with("committed")),
        "{:?}",
        node.history()
    );
}

#[test]
fn a_signed_release_is_staged_tried_and_committed() {
    let mut node = Node::new();
    node.run(None);
    node.publish("1.1", 3, Behaviour::Good);
    assert_eq!(node.run(Some(apply())), None, "{:?}", node.history());
    assert_eq!(node.running(), "1.1", "{:?}", node.history());
    let words: Vec<_> = node
        .history()
        .iter()
        .map(|l| l.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(words, ["committed", "staged", "activated", "committed"]);
}

#[test]
fn an_unhealthy_release_goes_back_by_itself_and_is_not_taken_again() {
    let mut node = Node::new();
    node.run(None);
    node.publish("1.1", 3, Behaviour::Unhealthy);
    node.run(Some(apply()));
    assert_eq!(node.running(), "1.0", "{:?}", node.history());
    node.run(Some(apply()));
    assert_eq!(node.running(), "1.0", "{:?}", node.history());
    node.publish("1.2", 4, Behaviour::Good);
    node.run(Some(apply()));
    assert_eq!(node.running(), "1.2", "{:?}", node.history());
}

#[test]
fn a_release_that_never_comes_up_is_given_up_by_the_loader_and_denied() {
    for behaviour in [Behaviour::Panics, Behaviour::Hangs] {
        let mut node = Node::new();
        node.run(None);
        node.publish("1.1", 3, behaviour);
        node.run(Some(apply()));
        assert_eq!(node.running(), "1.0", "{:?}", node.history());
        assert!(
            node.history().iter().any(|l| l.starts_with("denied")),
            "{:?}",
            node.history()
        );
    }
}

#[test]
fn a_person_goes_back_and_the_release_left_is_not_taken_again() {
    let mut node = Node::new();
    node.run(None);
    node.publish("1.1", 3, Behaviour::Good);
    node.run(Some(apply()));
    node.run(Some(Command::Rollback {
        reason: "too slow".into(),
        reboot: true,
    }));
    assert_eq!(node.running(), "1.0", "{:?}", node.history());
    node.run(Some(apply()));
    assert_eq!(node.running(), "1.0", "{:?}", node.history());
    node.publish("1.2", 4, Behaviour::Good);
    node.run(Some(apply()));
    assert_eq!(node.running(), "1.2", "{:?}", node.history());
}
