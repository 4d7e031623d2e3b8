//! The only place where anything becomes [`Verified`].
//!
//! Two proofs exist: a threshold of signatures over the canonical form of a document, and the
//! length and digests that such a document names for a file. Both end in [`admit`].

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Deref;

use super::files::TargetInfo;
use super::role::{Document, RoleKeys};
use super::{Limits, TufError};
use crate::digest::Digest;
use crate::hex;
use crate::json::{Object, Value, canonical, parse};
use crate::keys::KeyPolicy;

/// Something that a threshold of signatures, or a digest named by something verified, vouches
/// for. There is no public way to make one, and none to read one from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Verified<T> {
    /// Something that follows from this verified thing and nothing else.
    pub(crate) fn derive<U>(&self, follow: impl FnOnce(&T) -> U) -> Verified<U> {
        admit(Evidence(()), follow(&self.0))
    }

    /// The thing without its mark.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Proof that a check of this module passed. Opaque and private: other modules cannot even name
/// it, so they cannot call [`admit`].
struct Evidence(());

/// The one function that makes a [`Verified`].
fn admit<T>(_: Evidence, proven: T) -> Verified<T> {
    Verified(proven)
}

/// A signed document: its tree, the bytes that signatures cover, and the signatures.
#[derive(Debug, Clone)]
pub struct Envelope {
    signed: Object,
    canonical: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Envelope {
    /// Reads `{"signed": …, "signatures": […]}` (TUF 1.0.34 section 4.2).
    ///
    /// # Errors
    /// If it is not strict JSON of that shape, or one key id stands twice in `signatures`, which
    /// section 4.2 forbids. A signature that makes no sense is no error; it is empty and will not
    /// count.
    pub fn read(role: &str, bytes: &[u8]) -> Result<Self, TufError> {
        let tree = parse(bytes).map_err(|cause| TufError::NotJson {
            role: role.into(),
            cause,
        })?;
        let malformed = |reason: &str| TufError::Malformed {
            role: role.into(),
            reason: reason.into(),
        };
        let Value::Object(mut envelope) = tree else {
            return Err(malformed("it is not an object"));
        };
        let Some(Value::Object(signed)) = envelope.remove("signed") else {
            return Err(malformed("`signed` must be an object"));
        };
        let Some(Value::Array(entries)) = envelope.remove("signatures") else {
            return Err(malformed("`signatures` must be a list"));
        };
        let signatures: Vec<_> = entries.iter().filter_map(signature).collect();
        let mut seen = BTreeSet::new();
        if let Some((keyid, _)) = signatures.iter().find(|(keyid, _)| !seen.insert(keyid)) {
            return Err(malformed(&format!(
                "two signatures bear the key id {keyid}"
            )));
        }
        let signed = Value::Object(signed);
        let canonical = canonical(&signed);
        let Value::Object(signed) = signed else {
            unreachable!("made two lines above")
        };
        Ok(Self {
            signed,
            canonical,
            signatures,
        })
    }

    /// The signed part.
    pub fn signed(&self) -> &Object {
        &self.signed
    }

    /// How many distinct keys of `keys` have signed.
    ///
    /// Keys count by their bytes, not by their ids: one key under two ids is one signer.
    pub fn signers(&self, keys: &RoleKeys) -> usize {
        let mut signers = BTreeSet::new();
        for (keyid, signature) in &self.signatures {
            let Some(key) = keys.get(keyid) else { continue };
            if key.verifies(&self.canonical, signature) {
                signers.extend(key.identity());
            }
        }
        signers.len()
    }

    /// THE threshold check: every verified document has passed this function.
    fn prove(&self, role: &str, keys: &RoleKeys) -> Result<Evidence, TufError> {
        let counted = self.signers(keys);
        // A threshold is at least 1: the reader of roles refuses 0, which would prove anything.
        if counted as u64 >= keys.threshold() && keys.threshold() > 0 {
            return Ok(Evidence(()));
        }
        let version = self.signed.get("version").and_then(Value::as_integer);
        let version = version.map_or("unknown".into(), |version| version.to_string());
        Err(TufError::ThresholdNotMet {
            role: role.into(),
            version,
            counted,
            needed: keys.threshold(),
        })
    }
}

fn signature(entry: &Value) -> Option<(String, Vec<u8>)> {
    let entry = entry.as_object()?;
    let keyid = entry.get("keyid")?.as_str()?;
    let bytes = entry.get("sig")?.as_str().and_then(hex::decode);
    Some((keyid.into(), bytes.unwrap_or_default()))
}

/// Checks the signatures of every set of keys, then reads the document that they cover.
///
/// The typed document is built from the same tree whose canonical form was verified.
///
/// # Errors
/// [`TufError::ThresholdNotMet`] for the first set that has not signed; what the reader of the
/// document refuses.
pub(super) fn verify<T: Document>(
    role: &str,
    envelope: &Envelope,
    key_sets: &[&RoleKeys],
    policy: KeyPolicy,
    limits: &Limits,
) -> Result<Verified<T>, TufError> {
    // Written so that an empty list of key sets proves nothing.
    let mut evidence = None;
    for keys in key_sets {
        evidence = Some(envelope.prove(role, keys)?);
    }
    let Some(evidence) = evidence else {
        return Err(TufError::OutOfOrder {
            role: role.into(),
            before: "its keys",
        });
    };
    Ok(admit(
        evidence,
        T::read(role, &envelope.signed, policy, limits)?,
    ))
}

/// The bytes of a target whose length and digests a verified role names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetBytes {
    path: String,
    bytes: Vec<u8>,
}

impl TargetBytes {
    /// The name of the target.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The proven bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Checks bytes against the length and all known digests that a verified role names for them.
///
/// # Errors
/// [`TufError::WrongLength`] or [`TufError::WrongDigest`].
pub fn prove_target(
    target: &Verified<TargetInfo>,
    bytes: Vec<u8>,
) -> Result<Verified<TargetBytes>, TufError> {
    if bytes.len() as u64 != target.length {
        let (file, size) = (target.path.clone(), bytes.len() as u64);
        return Err(TufError::WrongLength {
            file,
            size,
            signed: target.length,
        });
    }
    target.hashes.check(&target.path, &bytes)?;
    Ok(admit(
        Evidence(()),
        TargetBytes {
            path: target.path.clone(),
            bytes,
        },
    ))
}
