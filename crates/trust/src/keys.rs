//! Public keys of TUF roles: which kinds count, and how a key is recognised.
//!
//! A key is its decoded bytes. Key ids are labels that documents give to keys; they find a key
//! and never count for one.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use p256::ecdsa::signature::Verifier;
use p256::pkcs8::DecodePublicKey;

use crate::digest::Digest;
use crate::hex;
use crate::json::{Object, Value, canonical};

/// Which keys count, and whether key ids are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Whether ECDSA P-256 keys count beside ed25519.
    pub p256: bool,
    /// Whether key ids are computed again.
    pub keyid: KeyIdRule,
}

/// What is asked of a key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyIdRule {
    /// It must be the SHA-256 of the key's canonical form, as TUF 1.0.34 section 4.2 says.
    Strict,
    /// Any text will do, as most clients hold it: several public repositories have added members
    /// to keys after their ids were made.
    Declared,
}

impl KeyPolicy {
    /// For a node's own repository: ed25519 only, key ids computed again.
    pub const fn node() -> Self {
        Self {
            p256: false,
            keyid: KeyIdRule::Strict,
        }
    }

    /// For a repository made elsewhere: both kinds, key ids as declared.
    pub const fn foreign() -> Self {
        Self {
            p256: true,
            keyid: KeyIdRule::Declared,
        }
    }
}

/// Why a document's keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key table is not one.
    #[error("key {keyid} is malformed: {reason}")]
    Malformed {
        /// The label of the key.
        keyid: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The key id does not follow from the key.
    #[error("key id {keyid} does not follow from its key, which has the id {computed}")]
    KeyIdMismatch {
        /// The declared id.
        keyid: String,
        /// The id that was computed.
        computed: Digest,
    },
    /// One key has two ids, so that it could be counted twice.
    #[error("key ids {first} and {second} name the same key")]
    DuplicateKey {
        /// The id that came first.
        first: String,
        /// The other id.
        second: String,
    },
}

/// A public key, or the knowledge that a key is of no use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyKind {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
    /// A kind, scheme or value that this client or its policy does not take. It is kept, since a
    /// repository may carry keys for other clients, and counts for nothing.
    Unusable,
}

/// What makes a key the same key: its kind and its decoded bytes.
pub(crate) type KeyIdentity = (u8, Vec<u8>);

impl PublicKey {
    /// An ed25519 key from its 32 bytes; of no use (but not an error) if they are not a point.
    pub fn ed25519(bytes: &[u8]) -> Self {
        let key = <&[u8; 32]>::try_from(bytes)
            .ok()
            .and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok())
            // A key of small order verifies signatures that nobody made.
            // Two encodings of one point would be one key that counts twice.
            .filter(|key| !key.is_weak() && canonical_point(&key.to_bytes()));
        Self {
            kind: key.map_or(KeyKind::Unusable, KeyKind::Ed25519),
        }
    }

    /// A P-256 key from SPKI PEM or, as old repositories have it, from hex of its SEC1 point.
    fn p256(text: &str) -> Self {
        let key = if text.starts_with("-----BEGIN") {
            p256::PublicKey::from_public_key_pem(text.trim())
                .ok()
                .map(Into::into)
        } else {
            hex::decode(text)
                .and_then(|point| p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok())
        };
        Self {
            kind: key.map_or(KeyKind::Unusable, KeyKind::P256),
        }
    }

    /// Reads a key object of a TUF document.
    ///
    /// # Errors
    /// Only where members of the object are missing or of the wrong kind; a key that cannot be
    /// used is not an error.
    pub fn from_object(keyid: &str, object: &Object, policy: KeyPolicy) -> Result<Self, KeyError> {
        let malformed = |reason| KeyError::Malformed {
            keyid: keyid.into(),
            reason,
        };
        let text = |name, reason| {
            object
                .get(name)
                .and_then(Value::as_str)
                .ok_or_else(|| malformed(reason))
        };
        let keytype = text("keytype", "`keytype` must be a string")?;
        let scheme = text("scheme", "`scheme` must be a string")?;
        let keyval = object.get("keyval").and_then(Value::as_object);
        let keyval = keyval.ok_or_else(|| malformed("`keyval` must be an object"))?;
        let public = keyval.get("public").and_then(Value::as_str);
        Ok(match (keytype, scheme, public) {
            ("ed25519", "ed25519", Some(public)) => {
                Self::ed25519(&hex::decode(public).unwrap_or_default())
            }
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", Some(public))
                if policy.p256 =>
            {
                Self::p256(public)
            }
            _ => Self {
                kind: KeyKind::Unusable,
            },
        })
    }

    /// Whether `signature` over `message` is this key's. Never an error: what does not verify
    /// does not count.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            // `verify_strict` refuses what plain verification lets pass: points of small order
            // and encodings that are not the only one of their point.
            KeyKind::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            KeyKind::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            KeyKind::Unusable => false,
        }
    }

    /// What this key is, whatever it is called; nothing for a key that is of no use.
    pub(crate) fn identity(&self) -> Option<KeyIdentity> {
        match &self.kind {
            KeyKind::Ed25519(key) => Some((0, key.to_bytes().to_vec())),
            KeyKind::P256(key) => Some((1, key.to_sec1_point(true).as_bytes().to_vec())),
            KeyKind::Unusable => None,
        }
    }
}

/// Whether the y coordinate is below the field's prime 2^255 - 19, so that no other 32 bytes
/// stand for the same point.
fn canonical_point(bytes: &[u8; 32]) -> bool {
    bytes[31] & 0x7f != 0x7f || bytes[1..31].iter().any(|byte| *byte != 0xff) || bytes[0] < 0xed
}

/// The object that a TUF document holds for an ed25519 key.
pub fn ed25519_key_object(public: &[u8; 32]) -> Object {
    Object::new()
        .with("keytype", "ed25519")
        .with("keyval", Object::new().with("public", hex::encode(public)))
        .with("scheme", "ed25519")
}

/// The object that a TUF document holds for a P-256 key in SPKI PEM.
pub fn p256_key_object(public_pem: &str) -> Object {
    Object::new()
        .with("keytype", "ecdsa")
        .with("keyval", Object::new().with("public", public_pem))
        .with("scheme", "ecdsa-sha2-nistp256")
}

/// The id of a key: the SHA-256 of its canonical form (TUF 1.0.34 section 4.2), over every member
/// that the object has.
pub fn key_id(object: &Object) -> Digest {
    Digest::of(&canonical(&Value::Object(object.clone())))
}

/// The `keys` of one document, by key id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, PublicKey>);

impl Keys {
    /// Reads a `keys` object.
    ///
    /// # Errors
    /// Key ids that do not follow from their keys (under [`KeyIdRule::Strict`]) and one key under
    /// two ids refuse the whole document, since either could make one signer count twice.
    pub fn from_object(keys: &Object, policy: KeyPolicy) -> Result<Self, KeyError> {
        let mut by_id = BTreeMap::new();
        let mut known: BTreeMap<KeyIdentity, &str> = BTreeMap::new();
        for (keyid, value) in keys.iter() {
            let reason = "it must be an object";
            let object = value.as_object().ok_or_else(|| KeyError::Malformed {
                keyid: keyid.into(),
                reason,
            })?;
            if policy.keyid == KeyIdRule::Strict {
                let computed = key_id(object);
                if computed.to_string() != keyid {
                    return Err(KeyError::KeyIdMismatch {
                        keyid: keyid.into(),
                        computed,
                    });
                }
            }
            let key = PublicKey::from_object(keyid, object, policy)?;
            if let Some(identity) = key.identity() {
                match known.entry(identity) {
                    Entry::Occupied(first) => {
                        let (first, second) = ((*first.get()).into(), keyid.into());
                        return Err(KeyError::DuplicateKey { first, second });
                    }
                    Entry::Vacant(free) => _ = free.insert(keyid),
                }
            }
            by_id.insert(keyid.into(), key);
        }
        Ok(Self(by_id))
    }

    /// The key with that id.
    pub fn get(&self, keyid: &str) -> Option<&PublicKey> {
        self.0.get(keyid)
    }
}
