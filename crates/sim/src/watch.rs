//! The oracle at the ports: what must never happen is looked at where it would happen, by the medium
//! itself and not by what anybody says of it.

use std::collections::BTreeMap;
use std::fmt;

use twinroot_core::slot::{Part, SlotName};
use twinroot_payload::verity::{TreeShape, check_stored_tree, claimed_root, root_of};
use twinroot_trust::digest::Digest;

use crate::medium::sectors::Sectors;
use crate::world::{Machine, SlotMedia};

/// A rule of DESIGN section 5 that a machine can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The slot that runs was written or opened for writing.
    BootedSlotWritten,
    /// An entry was armed for a slot that does not hold its release on the medium.
    ArmedUnproven,
    /// An entry was blessed without health in this boot.
    BlessedWithoutHealth,
    /// A counter of an entry rose.
    TriesRose,
    /// A system that nobody signed, or not as it was signed, was started.
    UnverifiedStarted,
    /// A denied release was started or armed.
    DeniedStarted,
    /// A release below the floor was started or armed.
    BelowFloorStarted,
    /// The floor stands above the release in the other slot, which so cannot be returned to.
    FloorAboveFallback,
    /// The floor fell.
    FloorFell,
    /// A version of signed metadata fell.
    MetadataFell,
    /// A denial was forgotten.
    DenialForgotten,
    /// A record that was written is not there after a cut.
    RecordLost,
    /// Nothing boots.
    Bricked,
    /// The node did not come to rest on a good release.
    NotConverged,
    /// The node cannot take the next good release.
    NextUpdateFails,
    /// The code panicked.
    Panicked,
    /// Recovery could not run at all.
    RecoveryFailed,
}

/// A rule that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What happened.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.detail)
    }
}

/// What was seen at the ports.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// Rules broken so far.
    pub violations: Vec<Violation>,
    /// Health runs of this boot in a row in which everything required passed.
    pub healthy_runs: u32,
    /// Tries left of each entry, as last seen.
    pub tries: BTreeMap<String, u32>,
    /// Roots that this node found bad by itself: they must not be started again.
    pub bad: Vec<Digest>,
}

impl Watch {
    /// Notes a broken rule.
    pub fn broken(&mut self, rule: Rule, detail: impl Into<String>) {
        self.violations.push(Violation {
            rule,
            detail: detail.into(),
        });
    }
}

/// Whether the medium of a slot, without any cache, holds exactly the image with this root hash:
/// every data block and every block of the tree. What dm-verity would find, all at once.
#[must_use]
pub fn slot_holds(slot: &SlotMedia, root: &Digest) -> bool {
    let medium = |sectors: &Sectors| sectors.after_cut(&mut || false);
    let (data, tree) = (medium(&slot.data), medium(&slot.tree));
    let Ok(Some(claim)) = claimed_root(&tree) else {
        return false;
    };
    let Ok(shape) = TreeShape::new(claim.data_blocks) else {
        return false;
    };
    claim.root_hash == *root.as_bytes()
        && check_stored_tree(&tree, &shape, &claim.salt, &claim.root_hash, None).is_ok()
        && root_of(&data, &shape, &claim.salt).is_ok_and(|found| found == claim.root_hash)
}

impl Machine {
    /// Root hash that a slot's tree claims.
    #[must_use]
    pub fn claimed(&self, slot: SlotName) -> Option<Digest> {
        let claim = claimed_root(self.slots[slot.index()].part(Part::Tree)).ok()??;
        Some(Digest::from_bytes(claim.root_hash))
    }

    /// Notes the tries of entries as they are now; a counter that rose is a broken rule unless the
    /// entry was gone in between.
    pub(crate) fn watch_tries(&mut self) {
        let mut now = BTreeMap::new();
        for name in self.esp.names() {
            let Ok(entry) = twinroot_core::bootfmt::entry::EntryName::parse(&name) else {
                continue;
            };
            if let Some(tries) = entry.tries() {
                now.insert(entry.stem().to_owned(), tries.left);
            }
        }
        for (stem, left) in &now {
            if self
                .watch
                .tries
                .get(stem)
                .is_some_and(|before| left > before)
            {
                self.watch
                    .broken(Rule::TriesRose, format!("{stem}: now {left} left"));
            }
        }
        self.watch.tries = now;
    }
}
