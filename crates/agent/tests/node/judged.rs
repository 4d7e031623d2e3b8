//! What a node makes of what it found, at the very bounds of the rules: the version that is the floor, the
//! number of tries, a release for a newer updater.

use crate::any_order::stage;
use crate::common::Node;
use twinroot_agent::{Agent, Quiet};
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::Facts;
use twinroot_core::records::Records;
use twinroot_core::rollout::Offer;
use twinroot_core::update::{
    Checked, Command, Event, Goal, Listed, Phase, Saved, SavedPhase, recover, step,
};
use twinroot_sim::world::Behaviour;

/// Where a look ends that has found this, on a node that has saved and kept that.
fn after_a_look(saved: Option<&Saved>, records: &Records, found: Checked) -> Phase {
    let stage = stage();
    let facts = Facts::establish(stage.observed.clone()).unwrap();
    let begun = recover(saved, records, &facts, stage.now, &stage.policy).next;
    let on = |state, event| step(state, records, &facts, event, stage.now, &stage.policy).next;
    let looking = on(&begun, Event::CheckDue);
    on(&looking, Event::Checked(found)).phase
}

/// What a look finds where the repository offers 1.1 to this node, which runs 1.0.
fn offered() -> Checked {
    let listed = Listed {
        candidate: stage().candidate.clone(),
        offer: Offer::Now,
    };
    Checked {
        listed: vec![listed],
        unreadable: Vec::new(),
        evidence: stage().now.wall,
    }
}

fn offered_above(floor: &str) -> Phase {
    let records = Records {
        floor: Some(floor.parse().unwrap()),
        ..Records::default()
    };
    after_a_look(None, &records, offered())
}

/// DESIGN section 5: what lies below the floor is refused; the floor itself is the oldest that is allowed.
#[test]
fn the_floor_itself_may_be_taken_and_nothing_below_it() {
    for floor in ["1.0", "1.1"] {
        let phase = offered_above(floor);
        assert!(
            matches!(phase, Phase::Available { .. }),
            "floor {floor}: {phase:?}"
        );
    }
    let phase = offered_above("1.1.1");
    let reason = phase.reason().expect("it waits");
    assert_eq!(reason.code(), "below-floor");
}

/// The node starts no further try by itself once as many as the policy allows have ended without progress.
#[test]
fn a_release_is_tried_as_often_as_the_policy_says_and_no_more() {
    let after = |attempts| {
        let saved = Saved {
            phase: SavedPhase::Idle,
            boot_id: stage().observed.system.boot_id.clone(),
            attempted: Some(stage().candidate.id()),
            attempts,
            ill_before: Vec::new(),
        };
        after_a_look(Some(&saved), &Records::default(), offered())
    };
    let most = stage().policy.max_attempts;
    let phase = after(most - 1);
    assert!(matches!(phase, Phase::Available { .. }), "{phase:?}");
    let phase = after(most);
    let reason = phase.reason().expect("it waits");
    assert_eq!(reason.code(), "operator-needed");
    assert!(reason.sentence().contains("1.1"), "{}", reason.sentence());
}

#[test]
fn a_release_for_a_newer_updater_is_a_reason_to_wait_with_a_name() {
    let too_new = Failure::new(Code::ClientTooOld, "2.0", "the key boot.magic is not known");
    let found = Checked {
        listed: Vec::new(),
        unreadable: vec![("2.0".to_owned(), too_new)],
        evidence: stage().now.wall,
    };
    let phase = after_a_look(None, &Records::default(), found);
    let reason = phase.reason().expect("it waits");
    assert_eq!(reason.code(), "client-too-old");
    assert!(reason.sentence().contains("2.0"), "{}", reason.sentence());
}

/// The loader starts with as many tries as the policy says, up to the most that it grants. A policy of as many
/// as it grants could not tell one more from enough.
#[test]
fn a_trial_gets_as_many_tries_as_the_policy_says() {
    for tries in [1, 2, 3] {
        let mut node = Node::new();
        node.run(None);
        node.publish("1.1", 3, Behaviour::Good);
        let mut options = node.options();
        options.policy.tries = tries;
        let ports = node.world.ports();
        let mut agent = Agent::open(ports, options, &Quiet).unwrap();
        let activate = Command::Update {
            goal: Goal::Activate,
            version: None,
            force: false,
        };
        assert_eq!(agent.handle(Event::Command(activate)).unwrap(), None);
        let loader = ports.bootloader.observe().unwrap();
        let armed: Vec<_> = loader.entries.iter().filter_map(|e| e.tries).collect();
        assert_eq!(armed.len(), 1, "{:?}", loader.entries);
        assert_eq!((armed[0].left, armed[0].done), (tries, 0));
    }
}
