//! What a manifest says, as types. Every value here has passed its bounds.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::digest::Digest;
use crate::name::Name;
use crate::policy::Schedule;
use crate::time::{Day, Seconds, UnixTime};
use crate::version::Version;

/// The signed description of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the node must be.
    pub product: Name,
    /// The flavour of the product, if the product has flavours.
    pub variant: Option<Name>,
    /// The machine architecture, in the words of the product (`x86-64`, `arm64`).
    pub architecture: Name,
    /// The version of the release.
    pub version: Version,
    /// When it was made.
    pub released: UnixTime,
    /// The last day of support, if the publisher states one.
    pub supported_until: Option<Day>,
    /// One sentence for people.
    pub summary: String,
    /// How urgent it is.
    pub severity: Severity,
    /// What a node must have or be to take it.
    pub requires: Requires,
    /// The floor after commit: releases below this may not run again.
    pub revokes_below: Option<Version>,
    /// Everything that is written. Nothing else is installed.
    pub artefacts: Vec<Artefact>,
    /// How long health must hold at least, if the publisher asks for it.
    pub probation: Option<Seconds>,
    /// The fastest rollout that the channel's threshold allows.
    pub rollout_limit: RolloutLimit,
    /// Formats that the new system writes to the state partition and still reads, by component.
    pub state: BTreeMap<String, StateFormat>,
    /// What is inside, for people and auditors.
    pub contents: Contents,
}

impl Manifest {
    /// The artefact of that kind.
    pub fn artefact(&self, kind: Kind) -> Option<&Artefact> {
        self.artefacts
            .iter()
            .find(|artefact| artefact.kind() == kind)
    }

    /// The root or usr image; every manifest has exactly one.
    pub fn system_image(&self) -> &Artefact {
        let image = self
            .artefacts
            .iter()
            .find(|artefact| artefact.kind() != Kind::Uki);
        image.expect("the reader refuses a manifest without a root or usr artefact")
    }

    /// The verity parameters of the root or usr image.
    pub fn verity(&self) -> &Verity {
        match &self.system_image().seal {
            Seal::Root(verity) | Seal::Usr(verity) => verity,
            Seal::Uki(_) => unreachable!("system_image() is never the UKI"),
        }
    }

    /// The UKI; every manifest has exactly one.
    pub fn uki(&self) -> &Artefact {
        self.artefact(Kind::Uki)
            .expect("the reader refuses a manifest without a UKI")
    }
}

/// How urgent a release is; node policy may treat the kinds differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Severity {
    Routine,
    Security,
    Critical,
}

impl Severity {
    /// All kinds, mildest first.
    pub const ALL: [Self; 3] = [Self::Routine, Self::Security, Self::Critical];

    /// The word in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Security => "security",
            Self::Critical => "critical",
        }
    }
}

/// What a node must have or be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requires {
    /// The barrier: nodes below this version must install it (or a later one) first.
    pub from: Option<Version>,
    /// The least processor level (`x86-64-v3`), if any.
    pub cpu: Option<Name>,
    /// The firmware, if it matters.
    pub firmware: Option<Firmware>,
}

/// Kinds of firmware that a release can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI.
    Uefi,
}

impl Firmware {
    /// All kinds.
    pub const ALL: [Self; 1] = [Self::Uefi];

    /// The word in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
        }
    }
}

/// Where an artefact goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The root partition of a slot.
    Root,
    /// The usr partition of a slot.
    Usr,
    /// The boot entry of a slot.
    Uki,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Root, Self::Usr, Self::Uki];

    /// The word in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Usr => "usr",
            Self::Uki => "uki",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// One thing that is written to a slot or the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// Bytes when written; a multiple of 4096 for images.
    pub size: u64,
    /// What proves that it was written whole, and where it goes.
    pub seal: Seal,
    /// The payload that needs no base.
    pub full: Payload,
    /// Payloads made for one base each, in formats that are known here.
    pub deltas: Vec<Delta>,
}

impl Artefact {
    /// Where it goes.
    pub fn kind(&self) -> Kind {
        match self.seal {
            Seal::Root(_) => Kind::Root,
            Seal::Usr(_) => Kind::Usr,
            Seal::Uki(_) => Kind::Uki,
        }
    }

    /// What identifies the written bytes: the root hash of an image, the SHA-256 of a UKI.
    pub fn digest(&self) -> Digest {
        match &self.seal {
            Seal::Root(verity) | Seal::Usr(verity) => verity.root_hash,
            Seal::Uki(digest) => *digest,
        }
    }
}

/// The proof of an artefact, by kind: an image without verity or a UKI without digest cannot be
/// expressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seal {
    /// A root image and its hash tree.
    Root(Verity),
    /// A usr image and its hash tree.
    Usr(Verity),
    /// A UKI and its SHA-256.
    Uki(Digest),
}

/// Parameters of the dm-verity hash tree. The algorithm is SHA-256 and blocks have 4096 bytes;
/// the reader refuses others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verity {
    /// The root hash, which the boot entry carries.
    pub root_hash: Digest,
    /// The salt, at most 256 bytes.
    pub salt: Vec<u8>,
}

/// One file of the repository that an artefact is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Relative to the targets URL.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// How the artefact is inside.
    pub coding: Coding,
}

/// How a payload file holds its artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coding {
    /// The artefact as it is; size and digest are the artefact's.
    Plain,
    /// One zstd frame.
    Zstd,
    /// Independently coded segments, found through an index at the start of the file.
    Segments {
        /// The format number; the reader keeps only known ones.
        format: u32,
        /// The index, checked before anything in it is believed.
        index: IndexRef,
    },
}

/// Size and digest of a payload's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct IndexRef {
    pub size: u64,
    pub sha256: Digest,
}

/// A payload made for one base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The root hash of the base image, or the SHA-256 of the base UKI.
    pub base: Digest,
    /// The file.
    pub payload: Payload,
}

/// The fastest rollout that the channel's threshold allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutLimit {
    /// No rollout may start before this.
    pub earliest: UnixTime,
    /// No rollout may reach more nodes at any time after its start.
    pub schedule: Schedule,
}

/// State formats of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StateFormat {
    pub writes: u32,
    pub reads: Vec<u32>,
}

/// What is inside a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The bill of materials.
    pub sbom: Option<FileRef>,
    /// Versions of named components.
    pub components: BTreeMap<String, String>,
}

/// A file of the repository that is not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FileRef {
    pub path: String,
    pub size: u64,
    pub sha256: Digest,
}
