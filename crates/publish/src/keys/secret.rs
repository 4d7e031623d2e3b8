//! The half of a key that signs, and its file form: PKCS#8 PEM, encrypted.

use std::fmt;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::KeypairBytes;
use p256::ecdsa::signature::Signer as _;
use pkcs8::der::zeroize::Zeroizing;
use pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};

use super::{KeyKind, PublicKey};

/// A signing key in memory; wiped when dropped, never printed.
pub enum SecretKey {
    /// ed25519.
    Ed25519(SigningKey),
    /// ECDSA on P-256 with SHA-256.
    P256(p256::ecdsa::SigningKey),
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl SecretKey {
    /// A new key from the system's random source; `Err` is that source's word.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn generate(kind: KeyKind) -> Result<Self, String> {
        let mut seed = Zeroizing::new([0u8; 32]);
        loop {
            getrandom::fill(&mut *seed).map_err(|cause| format!("no random bytes: {cause}"))?;
            // A P-256 scalar is refused when it is zero or above the group order: once in 2^32.
            if let Some(key) = Self::from_seed(kind, &seed) {
                return Ok(key);
            }
        }
    }

    /// The key that a seed determines; for tests and demonstrations, which must be repeatable.
    pub fn from_seed(kind: KeyKind, seed: &[u8; 32]) -> Option<Self> {
        match kind {
            KeyKind::Ed25519 => Some(Self::Ed25519(SigningKey::from_bytes(seed))),
            KeyKind::P256 => p256::ecdsa::SigningKey::from_slice(seed)
                .ok()
                .map(Self::P256),
        }
    }

    /// The other half.
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
            Self::P256(key) => PublicKey::P256(*key.verifying_key()),
        }
    }

    /// Signs; ed25519 gives 64 bytes, ECDSA the DER form that TUF documents carry.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signer::sign(key, message)
                .to_bytes()
                .to_vec(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }

    /// PKCS#8 PEM; encrypted (scrypt, AES-256-CBC) when there is a passphrase.
    ///
    /// # Errors
    /// When encryption fails, with its reason.
    pub fn to_pem(&self, passphrase: Option<&[u8]>) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Ed25519(key) => {
                // PKCS#8 version 1, without the public half: OpenSSL 3.0 reads nothing newer.
                let pair = KeypairBytes {
                    secret_key: key.to_bytes(),
                    public_key: None,
                };
                encode(&pair, passphrase)
            }
            Self::P256(key) => encode(key, passphrase),
        }
    }

    /// Reads PKCS#8 PEM, plain or encrypted.
    ///
    /// # Errors
    /// A sentence: no PEM, wrong passphrase, none given, or a kind of key we do not sign with.
    pub fn from_pem(pem: &str, passphrase: Option<&[u8]>) -> Result<Self, String> {
        let encrypted = pem.contains("BEGIN ENCRYPTED PRIVATE KEY");
        let document = match (encrypted, passphrase) {
            (true, None) => return Err("it is encrypted and no passphrase was given".into()),
            (true, Some(passphrase)) => decrypt(pem, passphrase)?,
            (false, _) => {
                pkcs8::SecretDocument::from_pem(pem)
                    .map_err(|cause| format!("no PKCS#8 private key in PEM: {cause}"))?
                    .1
            }
        };
        let ed25519 = SigningKey::from_pkcs8_der(document.as_bytes()).map(Self::Ed25519);
        ed25519
            .or_else(|_| {
                p256::ecdsa::SigningKey::from_pkcs8_der(document.as_bytes()).map(Self::P256)
            })
            .map_err(|_| "the key is neither ed25519 nor P-256".into())
    }
}

fn encode(
    key: &impl EncodePrivateKey,
    passphrase: Option<&[u8]>,
) -> Result<Zeroizing<String>, String> {
    match passphrase {
        Some(passphrase) => key.to_pkcs8_encrypted_pem(passphrase, LineEnding::LF),
        None => key.to_pkcs8_pem(LineEnding::LF),
    }
    .map_err(|cause| format!("cannot encode the key: {cause}"))
}

fn decrypt(pem: &str, passphrase: &[u8]) -> Result<pkcs8::SecretDocument, String> {
    let (_, document) = pkcs8::SecretDocument::from_pem(pem)
        .map_err(|cause| format!("no encrypted PKCS#8 key in PEM: {cause}"))?;
    pkcs8::EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .map_err(|cause| format!("no encrypted PKCS#8 key: {cause}"))?
        .decrypt(passphrase)
        .map_err(|_| "the passphrase does not open it".into())
}
