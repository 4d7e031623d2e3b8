//! What the node must not forget, apart from the saved phase: the floor, the deny list, a person's
//! pin and pause, the releases that were put into slots, and the last trusted time. Damage to the
//! saved phase never touches these, and they only change through [`RecordChange`].

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::max;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use crate::error::Code;
use crate::update::candidate::SavedRelease;

/// Releases remembered at the most: both slots, the staged one, and one that was left.
const KNOWN_RELEASES: usize = 4;

/// Who denied a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeniedBy {
    /// The node, after a failed trial. Does not expire.
    Node,
    /// A person.
    Person,
}

/// A release remembered as bad, by the digests of what boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Its version, for people; the digests decide.
    pub version: Version,
    /// Root hash that must not run again.
    pub root_hash: Digest,
    /// UKI that must not run again.
    pub uki: Digest,
    /// One sentence.
    pub reason: String,
    /// Stable code of the failure, where the node denied it.
    pub code: Option<Code>,
    /// Who.
    pub by: DeniedBy,
    /// When first.
    pub first_seen: UnixTime,
    /// When last: a release that fails again after being forced.
    pub last_seen: UnixTime,
}

impl Denial {
    /// Whether it is about this release. A rebuilt UKI around a root that failed is denied too, and
    /// so is a failed UKI around another root.
    #[must_use]
    pub fn concerns(&self, release: &SavedRelease) -> bool {
        self.root_hash == release.root_hash || self.uki == release.uki
    }

    fn is_named(&self, name: &str) -> bool {
        use alloc::string::ToString;
        self.version.to_string() == name
            || self.root_hash.to_string() == name
            || self.uki.to_string() == name
    }
}

/// A person holds the restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hold {
    /// Since when.
    pub since: UnixTime,
    /// Until then; without it until it is lifted.
    pub until: Option<UnixTime>,
    /// Why.
    pub reason: String,
}

impl Hold {
    /// Whether it still holds.
    #[must_use]
    pub fn holds(&self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Records {
    /// Lowest version that may run again; the booted image's stamp counts beside it.
    pub floor: Option<Version>,
    /// Releases remembered as bad.
    pub denied: Vec<Denial>,
    /// A person paused updates at this time.
    pub paused: Option<UnixTime>,
    /// A person pinned the node to this version.
    pub pinned: Option<Version>,
    /// A person holds the restart. Left out while nobody does, so that older agents see no change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Hold>,
    /// Releases that were put into a slot; their signed bytes lie beside the records.
    pub known: Vec<SavedRelease>,
    /// Latest time proven by authenticated evidence.
    pub trusted_time: Option<UnixTime>,
    /// Fields of a later version of these records: kept, so that an older agent loses nothing.
    #[serde(flatten)]
    pub extra: alloc::collections::BTreeMap<String, serde_json::Value>,
}

/// One change of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordChange {
    /// The floor rises to this version, if it is not there yet.
    RaiseFloor(Version),
    /// Remember as bad.
    Deny(Denial),
    /// Forget the denials of this version, root hash or UKI digest.
    Undeny(String),
    /// Remember that this release was put into a slot.
    Know(SavedRelease),
    /// Pin or unpin.
    Pin(Option<Version>),
    /// Pause since then, or go on.
    Pause(Option<UnixTime>),
    /// Hold the restart, or let it go.
    Hold(Option<Hold>),
    /// Trusted time rises.
    TrustTime(UnixTime),
}

impl Records {
    /// The floor: what is recorded or what the booted image has stamped into it, the higher.
    #[must_use]
    pub fn floor<'a>(&'a self, stamped: Option<&'a Version>) -> Option<&'a Version> {
        max(self.floor.as_ref(), stamped)
    }

    /// The denial of a release, if there is one.
    #[must_use]
    pub fn denial_of(&self, release: &SavedRelease) -> Option<&Denial> {
        self.denied.iter().find(|d| d.concerns(release))
    }

    /// Whether something that boots this root is denied.
    #[must_use]
    pub fn denies_root(&self, root: &Digest) -> Option<&Denial> {
        self.denied.iter().find(|d| d.root_hash == *root)
    }

    /// The release that has this root hash.
    #[must_use]
    pub fn known_by_root(&self, root: &Digest) -> Option<&SavedRelease> {
        self.known.iter().find(|r| r.root_hash == *root)
    }

    /// The records after a change. Pure and repeatable: the same change twice is the same as once.
    #[must_use]
    pub fn with(mut self, change: &RecordChange) -> Self {
        match change {
            RecordChange::RaiseFloor(version) => {
                if self.floor.as_ref() < Some(version) {
                    self.floor = Some(version.clone());
                }
            }
            RecordChange::Deny(denial) => self.deny(denial),
            RecordChange::Undeny(name) => self.denied.retain(|d| !d.is_named(name)),
            RecordChange::Know(release) => {
                self.known.retain(|r| r.root_hash != release.root_hash);
                self.known.insert(0, release.clone());
                self.known.truncate(KNOWN_RELEASES);
            }
            RecordChange::Pin(version) => self.pinned.clone_from(version),
            RecordChange::Pause(since) => self.paused = *since,
            RecordChange::Hold(hold) => self.held.clone_from(hold),
            RecordChange::TrustTime(time) => {
                self.trusted_time = max(self.trusted_time, Some(*time));
            }
        }
        self
    }

    /// A denial by the node is never weakened into one by a person.
    fn deny(&mut self, denial: &Denial) {
        let same = |d: &&mut Denial| d.root_hash == denial.root_hash && d.uki == denial.uki;
        if let Some(known) = self.denied.iter_mut().find(same) {
            known.last_seen = max(known.last_seen, denial.last_seen);
            if denial.by == DeniedBy::Node {
                known.by = DeniedBy::Node;
                known.code = denial.code;
                known.reason.clone_from(&denial.reason);
            }
        } else {
            self.denied.push(denial.clone());
        }
    }
}
