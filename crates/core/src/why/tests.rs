use alloc::collections::BTreeSet;

use super::*;

#[test]
fn every_reason_has_a_sentence_and_a_remedy_of_its_own() {
    let mut sentences = BTreeSet::new();
    for reason in WaitReason::examples() {
        let sentence = reason.sentence();
        assert!(sentence.contains(' '), "{} has no sentence", reason.code());
        assert!(
            !sentence.ends_with('.') && !sentence.contains('\n'),
            "{sentence}"
        );
        assert!(!reason.remedy().is_empty());
        assert!(sentences.insert(sentence));
    }
}

#[test]
fn a_sentence_says_the_thing_and_the_time() {
    let wave = WaitReason::WaveOpensAt {
        version: "2.0".into(),
        at: UnixTime(1_795_435_200),
    };
    assert_eq!(
        wave.sentence(),
        "the rollout of 2.0 reaches this node at 2026-11-23T12:00:00Z"
    );
    let gate = WaitReason::GateHeld {
        gate: "/run/hold".into(),
        holder: "backup".into(),
    };
    assert_eq!(
        gate.sentence(),
        "the reboot is postponed by backup through /run/hold"
    );
}

#[test]
fn the_json_carries_the_same_code() {
    for reason in WaitReason::examples() {
        let json = serde_json::to_value(&reason).expect("plain data");
        assert_eq!(json["code"], reason.code());
        let back: WaitReason = serde_json::from_value(json).expect("it reads back");
        assert_eq!(back, reason);
    }
}
