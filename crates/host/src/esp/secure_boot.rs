//! Would the firmware start this image? Asked before an image becomes an entry: one that the firmware
//! refuses leaves it waiting for a key, with a try spent each time (facts of the tests in QEMU).
//!
//! What is signed of an image and what the firmware's lists hold, `core::bootfmt` reads. Here are the
//! two places that need cryptography: the image's hash, and RSA over it.

use std::path::{Path, PathBuf};

use authenticode::AuthenticodeSignature;
use cms::signed_data::SignerIdentifier;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use twinroot_core::bootfmt::pe;
use twinroot_core::bootfmt::signature_lists::SignatureLists;
use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::ReadAt;
use twinroot_ports::Outcome;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use crate::fail::io_failure;

/// Vendor ids: of the variables that the specification names, and of the two key lists.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
/// Bytes hashed at once.
const PIECE: usize = 256 * 1024;
/// efivarfs puts a variable's attributes before its content.
const ATTRIBUTES: usize = 4;

/// What the firmware accepts and what it refuses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    accepted: SignatureLists,
    refused: SignatureLists,
}

impl Keys {
    /// The firmware's lists; `None` where Secure Boot is off. `variables` is where efivarfs is.
    ///
    /// # Errors
    /// `boot-variable` where Secure Boot is on and its lists cannot be read: a missing list is not
    /// taken for one that accepts.
    pub fn read(variables: &Path) -> Outcome<Option<Self>> {
        let on = variable(variables, "SecureBoot", GLOBAL)?;
        if on.as_deref() != Some(&[1]) {
            return Ok(None);
        }
        let lists = |name: &str| -> Outcome<SignatureLists> {
            // An empty list is no variable at all.
            let bytes = variable(variables, name, SECURITY)?.unwrap_or_default();
            SignatureLists::read(&bytes).ok_or_else(|| {
                Failure::new(Code::BootVariable, name, "the firmware's list is damaged")
            })
        };
        Ok(Some(Self {
            accepted: lists("db")?,
            refused: lists("dbx")?,
        }))
    }

    /// Whether the firmware would start `image`.
    ///
    /// # Errors
    /// `uki-unsigned`, `uki-signer-unknown`, `uki-invalid`.
    pub fn check(&self, subject: &str, image: &dyn ReadAt) -> Outcome<()> {
        let signed = pe::signed(subject, image)?;
        let hash = hash(subject, image, &signed.ranges)?;
        let unknown = |cause: &str| Failure::new(Code::UkiSignerUnknown, subject, cause);
        if self.refused.images.contains(&hash) {
            return Err(unknown("the firmware has revoked this image"));
        }
        if self.accepted.images.contains(&hash) {
            return Ok(());
        }
        if signed.signatures.is_empty() {
            let cause = "Secure Boot is on, and it carries no signature";
            return Err(Failure::new(Code::UkiUnsigned, subject, cause));
        }
        let mut causes = Vec::new();
        for bytes in &signed.signatures {
            match self.accept(bytes, &hash) {
                Ok(()) => return Ok(()),
                Err(cause) => causes.push(cause),
            }
        }
        Err(unknown(&causes.join("; ")))
    }

    /// Whether one signature is over `hash`, and by a key of the firmware's.
    fn accept(&self, bytes: &[u8], hash: &[u8; 32]) -> Result<(), String> {
        let signature = AuthenticodeSignature::from_bytes(bytes)
            .map_err(|error| format!("it is no signature ({error})"))?;
        if signature.digest() != hash {
            return Err(String::from("the signature is over another image"));
        }
        let signer = signer(&signature).ok_or("the signature lacks its signer's certificate")?;
        let der = signer.to_der().map_err(|error| error.to_string())?;
        let known = |lists: &SignatureLists| {
            lists.certificates.iter().any(|certificate| {
                *certificate == der
                    || Certificate::from_der(certificate)
                        .is_ok_and(|issuer| issued_by(&signer, &issuer))
            })
        };
        if known(&self.refused) {
            return Err(String::from("the firmware has revoked the signer"));
        }
        if !known(&self.accepted) {
            let name = signer.tbs_certificate.subject.to_string();
            return Err(format!("the firmware does not know the signer {name}"));
        }
        attributes_hold(&signature)?;
        let attributes = signature
            .signer_info()
            .signed_attrs
            .as_ref()
            .ok_or("the signature has no signed attributes")?;
        let message = attributes.to_der().map_err(|error| error.to_string())?;
        match verifies(&signer, &message, signature.signature()) {
            true => Ok(()),
            false => Err(String::from("the signature does not verify")),
        }
    }
}

/// The signed attributes carry the digest of the content that carries the image's hash.
fn attributes_hold(signature: &AuthenticodeSignature) -> Result<(), String> {
    /// `id-messageDigest` (RFC 5652, 11.2).
    const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
    let content = signature
        .encapsulated_content()
        .ok_or("the signature holds no content")?;
    let wanted: [u8; 32] = Sha256::digest(content).into();
    let attributes = signature.signer_info().signed_attrs.as_ref();
    let carried = attributes
        .into_iter()
        .flat_map(|all| all.iter())
        .any(|one| {
            let values = || one.values.iter().any(|value| value.value() == wanted);
            one.oid.to_string() == MESSAGE_DIGEST && values()
        });
    match carried {
        true => Ok(()),
        false => Err(String::from("the signed attributes are of another content")),
    }
}

/// The certificate that the signer is named by.
fn signer(signature: &AuthenticodeSignature) -> Option<Certificate> {
    let SignerIdentifier::IssuerAndSerialNumber(named) = &signature.signer_info().sid else {
        return None;
    };
    signature
        .certificates()
        .find(|one| {
            one.tbs_certificate.issuer == named.issuer
                && one.tbs_certificate.serial_number == named.serial_number
        })
        .cloned()
}

/// Whether `issuer` has signed `certificate`: one step, as the chains of boot images have it.
fn issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let message = certificate.tbs_certificate.to_der();
    let signature = certificate.signature.as_bytes();
    certificate.tbs_certificate.issuer == issuer.tbs_certificate.subject
        && message
            .ok()
            .zip(signature)
            .is_some_and(|(message, signature)| verifies(issuer, &message, signature))
}

/// RSA with SHA-256, the only kind that all firmware knows.
fn verifies(certificate: &Certificate, message: &[u8], signature: &[u8]) -> bool {
    let key = certificate
        .tbs_certificate
        .subject_public_key_info
        .subject_public_key
        .raw_bytes();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(message, signature)
        .is_ok()
}

fn hash(subject: &str, image: &dyn ReadAt, ranges: &[std::ops::Range<u64>]) -> Outcome<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
            image
                .read_at(at, &mut piece[..left])
                .map_err(|fault| Failure::new(Code::FileIo, subject, fault.message))?;
            hash.update(&piece[..left]);
            at += left as u64;
        }
    }
    Ok(hash.finalize().into())
}

/// A variable's content; `None` where it is not set.
fn variable(folder: &Path, name: &str, vendor: &str) -> Outcome<Option<Vec<u8>>> {
    let path: PathBuf = folder.join(format!("{name}-{vendor}"));
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failure(Code::BootVariable, &path, "read", &error)),
        Ok(bytes) => bytes
            .get(ATTRIBUTES..)
            .map(|content| Some(content.to_vec()))
            .ok_or_else(|| Failure::new(Code::BootVariable, path.display().to_string(), "is cut")),
    }
}

#[cfg(test)]
mod tests;
