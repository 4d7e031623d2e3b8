use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

fn every_reason() -> Vec<WaitReason> {
    let v = || "2026.11.2".to_string();
    vec![
        WaitReason::NoNewerRelease { running: v() },
        WaitReason::NextCheckAt { at: UnixTime(1) },
        WaitReason::NotOffered { version: v() },
        WaitReason::WaveOpensAt {
            version: v(),
            at: UnixTime(1_795_435_200),
        },
        WaitReason::RolloutPaused { version: v() },
        WaitReason::Withdrawn { version: v() },
        WaitReason::PausedLocally { since: UnixTime(1) },
        WaitReason::Pinned { version: v() },
        WaitReason::StagedOnly { version: v() },
        WaitReason::ManualStrategy { version: v() },
        WaitReason::GateHeld {
            gate: "/run/hold".into(),
            holder: "backup".into(),
        },
        WaitReason::WindowOpensAt { at: UnixTime(1) },
        WaitReason::Denied {
            version: v(),
            since: UnixTime(1),
            reason: "its trial failed".into(),
        },
        WaitReason::Barrier {
            version: v(),
            first: "2026.9.0".into(),
        },
        WaitReason::BelowFloor {
            version: v(),
            floor: "2026.12.0".into(),
        },
        WaitReason::RequirementMissing {
            version: v(),
            requirement: "cpu x86-64-v3".into(),
        },
        WaitReason::ClientTooOld {
            version: v(),
            first: Some("2026.9.0".into()),
        },
        WaitReason::ClientTooOld {
            version: v(),
            first: None,
        },
        WaitReason::SpaceShort {
            place: "root-b".into(),
            by: 1 << 20,
        },
        WaitReason::MetadataExpired {
            role: "timestamp".into(),
            since: UnixTime(1),
        },
        WaitReason::MetadataTooOld {
            age: Seconds(100_000),
            allowed: Seconds(86_400),
        },
        WaitReason::ClockUntrusted { clock: UnixTime(0) },
        WaitReason::Offline {
            next_try: UnixTime(1),
            cause: "no route".into(),
        },
        WaitReason::BackingOff {
            next_try: UnixTime(1),
            cause: "status 503".into(),
        },
        WaitReason::UnhealthyBefore {
            check: "kubelet".into(),
        },
        WaitReason::OnProbation {
            version: v(),
            until: UnixTime(1),
        },
        WaitReason::FallbackUnproven { slot: "B".into() },
        WaitReason::RebootNeeded { version: v() },
        WaitReason::OperatorNeeded {
            failure: "esp-full".into(),
            detail: "/efi: no space".into(),
        },
    ]
}

#[test]
fn every_reason_has_a_sentence_and_a_remedy_of_its_own() {
    let mut sentences = BTreeSet::new();
    for reason in every_reason() {
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
    for reason in every_reason() {
        let json = serde_json::to_value(&reason).expect("plain data");
        assert_eq!(json["code"], reason.code());
        let back: WaitReason = serde_json::from_value(json).expect("it reads back");
        assert_eq!(back, reason);
    }
}
