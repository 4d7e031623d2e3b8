//! What roles say about files: documents of other roles, and targets.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use sha2::Digest as _;

use super::TufError;
use super::role::Members;
use crate::digest::Digest;
use crate::hex;
use crate::json::Value;

/// What one role pins of another document: the METAFILES of sections 4.4 and 4.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRef {
    /// The version that must be found.
    pub version: u64,
    /// Its bytes, where stated.
    pub length: Option<u64>,
    /// Its digests, where stated.
    pub hashes: Option<Hashes>,
}

impl DocumentRef {
    pub(super) fn read(role: &str, name: &str, value: &Value) -> Result<Self, TufError> {
        let Some(object) = value.as_object() else {
            let reason = format!("`meta.{name}` must be an object");
            return Err(TufError::Malformed {
                role: role.into(),
                reason,
            });
        };
        let members = Members::new(role, object);
        // Length and hashes are optional here, and repositories in use leave both out.
        let length = members
            .get("length")
            .map(|_| members.positive("length"))
            .transpose()?;
        let hashes = members
            .get("hashes")
            .map(|_| Hashes::read(&members, name))
            .transpose()?;
        Ok(Self {
            version: members.positive("version")?,
            length,
            hashes,
        })
    }

    /// Checks length and digests, where stated.
    pub(super) fn check(&self, file: &str, bytes: &[u8]) -> Result<(), TufError> {
        let size = bytes.len() as u64;
        match self.length {
            Some(signed) if signed != size => {
                return Err(TufError::WrongLength {
                    file: file.into(),
                    size,
                    signed,
                });
            }
            _ => {}
        }
        self.hashes
            .as_ref()
            .map_or(Ok(()), |hashes| hashes.check(file, bytes))
    }
}

/// The digests of one file that this client can compute; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    /// SHA-256, if named.
    pub sha256: Option<Digest>,
    /// SHA-512, if named.
    pub sha512: Option<Vec<u8>>,
}

impl Hashes {
    /// Unknown algorithms are ignored, but at least one must be known: a list of none proves
    /// nothing.
    pub(super) fn read(members: &Members<'_>, file: &str) -> Result<Self, TufError> {
        let object = members.object("hashes")?;
        let bytes = |name: &str, length: usize| match object.get(name) {
            None => Ok(None),
            Some(value) => {
                let bytes = value
                    .as_str()
                    .and_then(hex::decode)
                    .filter(|b| b.len() == length);
                members
                    .must(&format!("hashes.{name}"), bytes, "hex of the right length")
                    .map(Some)
            }
        };
        let sha256 = bytes("sha256", Digest::LENGTH)?;
        let sha256 = sha256
            .and_then(|bytes| bytes.try_into().ok())
            .map(Digest::from_bytes);
        let hashes = Self {
            sha256,
            sha512: bytes("sha512", 64)?,
        };
        if hashes.sha256.is_none() && hashes.sha512.is_none() {
            return Err(TufError::NoUsableDigest { file: file.into() });
        }
        Ok(hashes)
    }

    /// All known digests must match, not any one of them.
    pub(super) fn check(&self, file: &str, bytes: &[u8]) -> Result<(), TufError> {
        let wrong = |algorithm| {
            Err(TufError::WrongDigest {
                file: file.into(),
                algorithm,
            })
        };
        if self
            .sha256
            .is_some_and(|digest| digest != Digest::of(bytes))
        {
            return wrong("sha256");
        }
        match &self.sha512 {
            Some(digest) if digest[..] != sha2::Sha512::digest(bytes)[..] => wrong("sha512"),
            _ => Ok(()),
        }
    }

    /// The digest that prefixes file names in consistent repositories.
    fn prefix(&self) -> String {
        match (&self.sha256, &self.sha512) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(digest)) => hex::encode(digest),
            (None, None) => unreachable!("the reader refuses hashes without a known digest"),
        }
    }
}

/// What a role signs of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// The name of the target.
    pub path: String,
    /// Bytes.
    pub length: u64,
    /// Digests.
    pub hashes: Hashes,
    /// What the repository adds, as it stands in the document.
    pub custom: Option<Value>,
}

impl TargetInfo {
    pub(super) fn read(role: &str, path: &str, value: &Value) -> Result<Self, TufError> {
        let Some(object) = value.as_object() else {
            let reason = format!("target {path:?} must be an object");
            return Err(TufError::Malformed {
                role: role.into(),
                reason,
            });
        };
        let members = Members::new(role, object);
        let hashes = Hashes::read(&members, path)?;
        let custom = members.get("custom").cloned();
        Ok(Self {
            path: path.into(),
            length: members.number("length")?,
            hashes,
            custom,
        })
    }

    /// The name under which the target's bytes are published, relative to the targets URL
    /// (section 6.2: in consistent repositories the digest prefixes the file name).
    pub fn published_path(&self, consistent: bool) -> String {
        if !consistent {
            return self.path.clone();
        }
        let prefix = self.hashes.prefix();
        match self.path.rsplit_once('/') {
            Some((folder, file)) => format!("{folder}/{prefix}.{file}"),
            None => format!("{prefix}.{}", self.path),
        }
    }
}
