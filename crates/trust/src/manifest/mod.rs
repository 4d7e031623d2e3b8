//! The release manifest: what a release is, what is written where, and under which conditions.
//!
//! It is immutable, readable by a person, and parsed only after its digest is proven: the one way
//! to a `Verified<Manifest>` leads through [`TargetBytes`], bytes whose length and digest a
//! verified role names.

mod model;
mod read;
mod write;

use alloc::string::String;

pub use model::{
    Artefact, Coding, Contents, Delta, FileRef, Firmware, IndexRef, Kind, Manifest, Payload,
    Requires, RolloutLimit, Seal, Severity, StateFormat, Verity,
};
pub use read::{KNOWN_PAYLOAD_FORMAT, MAX_BYTES};

use crate::digest::Digest;
use crate::error::BadValue;
use crate::fields::FieldError;
use crate::tuf::{TargetBytes, Verified};
use crate::version::Version;

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than any manifest may have.
    #[error(
        "the release manifest has {size} bytes, more than the {MAX_BYTES} allowed; publish a smaller one"
    )]
    EndlessData {
        /// The bytes that were offered.
        size: usize,
    },
    /// It is not a manifest, or a value breaks its bounds.
    #[error("the release manifest is malformed: {0}; publish it again with a current publisher")]
    Malformed(#[from] FieldError),
    /// It needs a newer program than this one.
    #[error("the release needs a newer client: {unknown} is not known here; {}", remedy(.barrier.as_ref()))]
    ClientTooOld {
        /// What is not known.
        unknown: String,
        /// The release to install first, where the manifest names it.
        barrier: Option<Version>,
    },
}

fn remedy(barrier: Option<&Version>) -> String {
    match barrier {
        Some(version) => alloc::format!("install release {version} first"),
        None => "update the client first".into(),
    }
}

impl ManifestError {
    /// The stable code of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EndlessData { .. } => "endless-data",
            Self::Malformed(_) => "malformed-manifest",
            Self::ClientTooOld { .. } => "client-too-old",
        }
    }
}

impl From<BadValue> for ManifestError {
    fn from(cause: BadValue) -> Self {
        Self::Malformed(FieldError::Bad {
            place: "path".into(),
            cause,
        })
    }
}

impl Manifest {
    /// Reads a manifest from bytes whose digest a verified role names.
    ///
    /// # Errors
    /// See [`ManifestError`]; nothing is guessed or repaired.
    pub fn read(proven: &Verified<TargetBytes>) -> Result<Verified<Self>, ManifestError> {
        let manifest = Self::parse(proven.bytes())?;
        Ok(proven.derive(|_| manifest))
    }

    /// Reads a manifest that nobody has vouched for: for the publisher, who checks what it is
    /// about to sign. A node never needs this.
    ///
    /// # Errors
    /// The same as [`Manifest::read`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        read::manifest(bytes)
    }

    /// The identity of a release: the digest of the manifest's bytes, whatever the channel.
    pub fn release_id(bytes: &[u8]) -> Digest {
        Digest::of(bytes)
    }
}
