//! A verified release as the state machine sees it, and the proof that a slot holds it.

use alloc::string::{String, ToString};
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;
use twinroot_trust::manifest::{Artefact, Manifest, Verity};
use twinroot_trust::release::Release;
use twinroot_trust::tuf::Verified;
use twinroot_trust::version::Version;

use crate::slot::SlotName;

/// A release whose signatures were checked in this run of the program. Nothing else can be staged:
/// the only way in is [`Verified`], which only `trust` makes.
#[derive(Debug, Clone)]
pub struct Candidate(Arc<Verified<Release>>);

impl Candidate {
    /// Takes what `trust` has verified.
    #[must_use]
    pub fn new(release: Verified<Release>) -> Self {
        Self(Arc::new(release))
    }

    /// The signed description.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Digest of the manifest's bytes: the release's identity.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.0.id
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.0.manifest.version
    }

    /// The image that goes to the slot.
    #[must_use]
    pub fn image(&self) -> &Artefact {
        self.0.manifest.system_image()
    }

    /// How that image is sealed.
    #[must_use]
    pub fn verity(&self) -> &Verity {
        self.0.manifest.verity()
    }

    /// Root hash of that image.
    #[must_use]
    pub fn root_hash(&self) -> Digest {
        self.verity().root_hash
    }

    /// The boot image.
    #[must_use]
    pub fn uki(&self) -> &Artefact {
        self.0.manifest.uki()
    }

    /// What is written down of it.
    #[must_use]
    pub fn saved(&self) -> SavedRelease {
        SavedRelease {
            id: self.id(),
            channel: self.0.path.channel.to_string(),
            version: self.version().clone(),
            root_hash: self.root_hash(),
            uki: self.uki().digest(),
        }
    }
}

/// What is written down of a release: names and digests. It is a claim, not a proof: after a
/// restart the signed bytes that lie beside it are verified again before anything moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRelease {
    /// Digest of the manifest.
    pub id: Digest,
    /// Channel through which it was found.
    pub channel: String,
    /// Its version.
    pub version: Version,
    /// Root hash of its image.
    pub root_hash: Digest,
    /// Digest of its UKI.
    pub uki: Digest,
}

/// A release that a slot was seen to hold, byte for byte, in this run: the slot was read back past
/// the cache and the root hash computed from it is the signed one. Only this can be armed.
#[derive(Debug, Clone)]
pub struct Proven {
    candidate: Candidate,
    slot: SlotName,
}

impl Proven {
    /// Compares the computed root hash with the signed one; the only way to make a `Proven`.
    pub(super) fn compare(candidate: Candidate, slot: SlotName, computed: Digest) -> Option<Self> {
        (computed == candidate.root_hash()).then_some(Self { candidate, slot })
    }

    /// The release.
    #[must_use]
    pub const fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// The slot that holds it.
    #[must_use]
    pub const fn slot(&self) -> SlotName {
        self.slot
    }
}
