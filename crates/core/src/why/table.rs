//! Every reason to wait as a table for people, printed from the code so that it cannot age.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;

use twinroot_trust::time::{Seconds, UnixTime};

use super::WaitReason;

/// A time that reads well in examples.
const THEN: UnixTime = UnixTime(1_795_435_200);

impl WaitReason {
    /// One example of each reason (two where the sentence has two forms), in the order of the enum.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let mut all = ways_to_wait();
        all.extend(things_in_the_way());
        all
    }
}

/// Waiting for a time, a person or a gate.
fn ways_to_wait() -> Vec<WaitReason> {
    let v = || "2026.11.2".to_string();
    vec![
        WaitReason::NoNewerRelease { running: v() },
        WaitReason::NextCheckAt { at: THEN },
        WaitReason::NotOffered { version: v() },
        WaitReason::WaveOpensAt {
            version: v(),
            at: THEN,
        },
        WaitReason::RolloutPaused { version: v() },
        WaitReason::Withdrawn { version: v() },
        WaitReason::PausedLocally { since: THEN },
        WaitReason::Pinned { version: v() },
        WaitReason::StagedOnly { version: v() },
        WaitReason::ManualStrategy { version: v() },
        WaitReason::GateHeld {
            gate: "/run/hold".into(),
            holder: "backup".into(),
        },
        WaitReason::WindowOpensAt { at: THEN },
        WaitReason::NoWindow { version: v() },
        WaitReason::StagesAt {
            version: v(),
            at: THEN,
        },
        WaitReason::Held {
            since: THEN,
            until: None,
            reason: "a demo".into(),
        },
        WaitReason::Held {
            since: THEN,
            until: Some(THEN.plus(Seconds(3600))),
            reason: "a demo".into(),
        },
        WaitReason::RollbackNeedsReboot { from: v() },
    ]
}

/// What stands in the way of a release.
fn things_in_the_way() -> Vec<WaitReason> {
    let v = || "2026.11.2".to_string();
    vec![
        WaitReason::Denied {
            version: v(),
            since: THEN,
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
            cause: "timestamp metadata expired at 2026-11-23T12:00:00Z".into(),
        },
        WaitReason::MetadataTooOld {
            age: Seconds(100_000),
            allowed: Seconds(86_400),
        },
        WaitReason::ClockUntrusted { clock: UnixTime(0) },
        WaitReason::Offline {
            next_try: THEN,
            cause: "no route".into(),
        },
        WaitReason::BackingOff {
            next_try: THEN,
            cause: "status 503".into(),
        },
        WaitReason::UnhealthyBefore {
            check: "kubelet".into(),
        },
        WaitReason::OnProbation {
            version: v(),
            until: THEN,
        },
        WaitReason::FallbackUnproven { slot: "B".into() },
        WaitReason::RebootNeeded { version: v() },
        WaitReason::OperatorNeeded {
            failure: "esp-full".into(),
            detail: "/efi: no space".into(),
        },
    ]
}

/// The table.
#[must_use]
pub fn markdown() -> String {
    let mut text =
        String::from("| code | the node says, for example | a person can |\n|---|---|---|\n");
    let mut seen = BTreeSet::new();
    for reason in WaitReason::examples() {
        if seen.insert(reason.code()) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| `{}` | {} | {} |",
                reason.code(),
                reason.sentence(),
                reason.remedy()
            );
        }
    }
    text
}
