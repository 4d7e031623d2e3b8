//! The half of a key that everyone may see: what root and delegations list.

use ed25519_dalek::VerifyingKey;
use p256::ecdsa::signature::Verifier;
use pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding};
use sha2::{Digest as _, Sha256};
use twinroot_trust::json::{Object, Value, canonical};

use super::{hex, unhex};

/// The kinds of key that we sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The default; every node reads it.
    Ed25519,
    /// For vaults and smart cards that have no ed25519; nodes read it only where the key policy
    /// inside their image says so.
    P256,
}

impl KeyKind {
    /// The word for it on command lines and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
        }
    }
}

/// A public key that is known to be well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// 32 bytes, not of small order.
    Ed25519(VerifyingKey),
    /// A point of the curve.
    P256(p256::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// Which kind it is.
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Ed25519(_) => KeyKind::Ed25519,
            Self::P256(_) => KeyKind::P256,
        }
    }

    /// The TUF key object (TUF 1.0.34 section 4.2: ed25519 as hex, ECDSA as PEM).
    pub fn to_value(&self) -> Value {
        let (keytype, scheme, public) = match self {
            Self::Ed25519(key) => ("ed25519", "ed25519", hex(key.as_bytes())),
            Self::P256(_) => ("ecdsa", "ecdsa-sha2-nistp256", self.to_pem()),
        };
        Object::new()
            .with("keytype", keytype)
            .with("keyval", Object::new().with("public", public))
            .with("scheme", scheme)
            .into()
    }

    /// Reads a TUF key object; `None` for a kind that we do not sign with.
    pub fn from_value(value: &Value) -> Option<Self> {
        let key = value.as_object()?;
        let public = key.get("keyval")?.as_object()?.get("public")?.as_str()?;
        match key.get("keytype")?.as_str()? {
            "ed25519" => {
                let bytes = <[u8; 32]>::try_from(unhex(public)?).ok()?;
                Some(Self::Ed25519(VerifyingKey::from_bytes(&bytes).ok()?))
            }
            "ecdsa" | "ecdsa-sha2-nistp256" => Self::from_pem(public),
            _ => None,
        }
    }

    /// The key id: SHA-256 over the canonical key object (TUF 1.0.34 section 4.2). Always
    /// recomputed; a repository whose ids are wrong locks strict clients out.
    pub fn id(&self) -> String {
        hex(&Sha256::digest(canonical(&self.to_value())))
    }

    /// SubjectPublicKeyInfo as PEM, which OpenSSL and vaults read and write.
    pub fn to_pem(&self) -> String {
        match self {
            Self::Ed25519(key) => key.to_public_key_pem(LineEnding::LF),
            Self::P256(key) => key.to_public_key_pem(LineEnding::LF),
        }
        .expect("a public key of fixed size always encodes")
    }

    /// Reads SubjectPublicKeyInfo in PEM; `None` when it is no key of a kind we sign with.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let ed25519 = VerifyingKey::from_public_key_pem(pem)
            .ok()
            .map(Self::Ed25519);
        ed25519.or_else(|| {
            p256::ecdsa::VerifyingKey::from_public_key_pem(pem)
                .ok()
                .map(Self::P256)
        })
    }

    /// Whether the signature over these bytes is this key's, by the strict rules of the node.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}
