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
use crate::facts::Remains;
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

/// What a trial that died has left, so that whoever reads of a denial need not search for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Left {
    /// The furthest stage of its last start, in the words of the boot format; nothing where the start
    /// left no mark.
    pub stage: Option<String>,
    /// What failed on the way to the next stage, where somebody could still say so.
    pub failed: String,
    /// The last 4 KiB of its kernel log, where the firmware kept them.
    pub console: String,
    /// The last 4 KiB of its journal, where they reached the disk.
    #[serde(default)]
    pub journal: String,
}

impl Left {
    /// From what was found; a trial of which nothing was found has left nothing, and that is said.
    #[must_use]
    pub fn of(remains: Option<&Remains>) -> Self {
        match remains {
            None => Self {
                stage: None,
                failed: String::new(),
                console: String::new(),
                journal: String::new(),
            },
            Some(remains) => Self {
                stage: Some(String::from(remains.stage.as_str())),
                failed: remains.failed.clone(),
                console: remains.console.clone(),
                journal: remains.journal.clone(),
            },
        }
    }

    /// Whether nothing was left.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.stage.is_none()
            && self.failed.is_empty()
            && self.console.is_empty()
            && self.journal.is_empty()
    }
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
    /// Until when, where a person said so. What the node denies by itself does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
    /// What the failed trial has left; nothing where there was no trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

impl Denial {
    /// Whether it is about this release. A rebuilt UKI around a root that failed is denied too, and
    /// so is a failed UKI around another root.
    #[must_use]
    pub fn concerns(&self, release: &SavedRelease) -> bool {
        self.root_hash == release.root_hash || self.uki == release.uki
    }

    /// Whether it holds at this time.
    #[must_use]
    pub fn holds(&self, now: UnixTime) -> bool {
        match self.by {
            DeniedBy::Node => true,
            DeniedBy::Person => self.until.is_none_or(|until| now < until),
        }
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

    /// The denial of a release that holds now, if there is one.
    #[must_use]
    pub fn denial_of(&self, release: &SavedRelease, now: UnixTime) -> Option<&Denial> {
        let mut holding = self.denied.iter().filter(|d| d.holds(now));
        holding.find(|d| d.concerns(release))
    }

    /// Whether something that boots this root is denied now.
    #[must_use]
    pub fn denies_root(&self, root: &Digest, now: UnixTime) -> Option<&Denial> {
        let mut holding = self.denied.iter().filter(|d| d.holds(now));
        holding.find(|d| d.root_hash == *root)
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
            match (denial.by, known.by) {
                (DeniedBy::Node, _) => {
                    known.by = DeniedBy::Node;
                    known.code = denial.code;
                    known.reason.clone_from(&denial.reason);
                    known.until = None;
                    let kept = known.left.take().filter(|left| !left.is_nothing());
                    let new = denial.left.clone().filter(|left| !left.is_nothing());
                    known.left = new.or(kept).or_else(|| denial.left.clone());
                }
                (DeniedBy::Person, DeniedBy::Person) => {
                    known.until = denial.until;
                    known.reason.clone_from(&denial.reason);
                }
                (DeniedBy::Person, DeniedBy::Node) => {}
            }
        } else {
            self.denied.push(denial.clone());
        }
    }
}
