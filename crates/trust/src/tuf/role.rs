//! The roles of TUF as types, read from the tree that was verified.
//!
//! Members that nobody here asks for are ignored and still covered by the signature, since that
//! is made over the whole tree.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::delegation::Delegations;
use super::files::{DocumentRef, TargetInfo};
use super::{Limits, TufError};
use crate::json::{Object, Value};
use crate::keys::{KeyPolicy, Keys, PublicKey};
use crate::time::UnixTime;

/// The roles that root names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum TopLevel {
    Root,
    Timestamp,
    Snapshot,
    Targets,
}

impl TopLevel {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

/// A reader of one document's members, for messages that name role and member.
pub(super) struct Members<'a> {
    role: &'a str,
    object: &'a Object,
}

impl<'a> Members<'a> {
    pub(super) fn new(role: &'a str, object: &'a Object) -> Self {
        Self { role, object }
    }

    /// The members of an object inside this document.
    pub(super) fn within(&self, object: &'a Object) -> Self {
        Self {
            role: self.role,
            object,
        }
    }

    pub(super) fn malformed(&self, reason: impl Into<String>) -> TufError {
        TufError::Malformed {
            role: self.role.into(),
            reason: reason.into(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name)
    }

    pub(super) fn must<T>(&self, name: &str, found: Option<T>, kind: &str) -> Result<T, TufError> {
        found.ok_or_else(|| self.malformed(format!("`{name}` must be {kind}")))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, TufError> {
        self.must(name, self.get(name).and_then(Value::as_str), "a string")
    }

    pub(super) fn object(&self, name: &str) -> Result<&'a Object, TufError> {
        self.must(name, self.get(name).and_then(Value::as_object), "an object")
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], TufError> {
        self.must(name, self.get(name).and_then(Value::as_array), "a list")
    }

    pub(super) fn truth(&self, name: &str) -> Result<bool, TufError> {
        self.must(
            name,
            self.get(name).and_then(Value::as_bool),
            "true or false",
        )
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, TufError> {
        self.must(name, self.get(name).and_then(Value::as_integer), "a number")
    }

    /// Versions and thresholds: whole numbers from 1 on.
    pub(super) fn positive(&self, name: &str) -> Result<u64, TufError> {
        let number = self
            .get(name)
            .and_then(Value::as_integer)
            .filter(|number| *number > 0);
        self.must(name, number, "a whole number above 0")
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, TufError> {
        let items = self.list(name)?.iter();
        let texts: Option<_> = items.map(|item| item.as_str().map(String::from)).collect();
        self.must(name, texts, "a list of strings")
    }

    pub(super) fn keys(&self, policy: KeyPolicy) -> Result<Keys, TufError> {
        Keys::from_object(self.object("keys")?, policy).map_err(|cause| TufError::BadKeys {
            role: self.role.into(),
            cause,
        })
    }

    /// The keys and threshold that this object names out of `keys`.
    pub(super) fn role_keys(&self, keys: &Keys) -> Result<RoleKeys, TufError> {
        let ids = self.texts("keyids")?;
        let known = ids
            .into_iter()
            .filter_map(|id| keys.get(&id).cloned().map(|key| (id, key)));
        // Section 4.3: the threshold is an integer; 0 would let unsigned documents pass.
        Ok(RoleKeys {
            keys: known.collect(),
            threshold: self.positive("threshold")?,
        })
    }
}

/// The keys that may sign for one role, and how many must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    keys: BTreeMap<String, PublicKey>,
    threshold: u64,
}

impl RoleKeys {
    /// The key with that id, if it may sign for this role.
    pub fn get(&self, keyid: &str) -> Option<&PublicKey> {
        self.keys.get(keyid)
    }

    /// How many distinct keys must sign; at least 1.
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Whether a key that may sign here may not any more in `newer`.
    pub fn lost_a_key(&self, newer: &Self) -> bool {
        let still: Vec<_> = newer
            .keys
            .values()
            .filter_map(PublicKey::identity)
            .collect();
        self.keys
            .values()
            .filter_map(PublicKey::identity)
            .any(|key| !still.contains(&key))
    }
}

/// What every role states about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// At least 1.
    pub version: u64,
    /// From this second on the document is expired.
    pub expires: UnixTime,
}

impl Header {
    /// Reads the members common to all roles (section 4.2).
    fn read(members: &Members<'_>, kind: TopLevel) -> Result<Self, TufError> {
        if members.text("_type")? != kind.as_str() {
            return Err(members.malformed(format!("`_type` must be \"{}\"", kind.as_str())));
        }
        let spec = members.text("spec_version")?;
        if !spec_is_known(spec) {
            let version = spec.chars().take(20).collect();
            return Err(TufError::UnsupportedSpec {
                role: members.role.into(),
                version,
            });
        }
        let expires = members.text("expires")?.parse();
        let expires = expires.map_err(|bad| members.malformed(format!("`expires`: {bad}")))?;
        Ok(Self {
            version: members.positive("version")?,
            expires,
        })
    }
}

/// Section 4.2: the major version must be one that the client supports. Two parts are accepted
/// beside three, since repositories in use have written `1.0`.
fn spec_is_known(spec: &str) -> bool {
    let parts: Vec<_> = spec.split('.').collect();
    let numeric = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.len(), 2 | 3) && parts.iter().all(numeric) && parts[0] == "1"
}

/// A role that can be read from a verified tree.
pub(super) trait Document: Sized {
    fn read(
        role: &str,
        signed: &Object,
        policy: KeyPolicy,
        limits: &Limits,
    ) -> Result<Self, TufError>;
}

/// The root role: whose keys may sign what (section 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Version and expiry.
    pub header: Header,
    /// Whether metadata and targets are published under names of their own per version.
    pub consistent_snapshot: bool,
    roles: BTreeMap<TopLevel, RoleKeys>,
}

impl Root {
    /// The keys of a top-level role.
    pub fn keys(&self, role: TopLevel) -> &RoleKeys {
        self.roles
            .get(&role)
            .expect("the reader refuses a root without all four roles")
    }
}

impl Document for Root {
    fn read(role: &str, signed: &Object, policy: KeyPolicy, _: &Limits) -> Result<Self, TufError> {
        let members = Members::new(role, signed);
        let header = Header::read(&members, TopLevel::Root)?;
        let keys = members.keys(policy)?;
        let named = members.object("roles")?;
        let mut roles = BTreeMap::new();
        for top in TopLevel::ALL {
            let object = named.get(top.as_str()).and_then(Value::as_object);
            let object = members.must(&format!("roles.{}", top.as_str()), object, "an object")?;
            roles.insert(top, Members::new(role, object).role_keys(&keys)?);
        }
        let consistent_snapshot = match members.get("consistent_snapshot") {
            // Section 4.3 lets old repositories leave it out; they are not consistent.
            None => false,
            Some(_) => members.truth("consistent_snapshot")?,
        };
        Ok(Self {
            header,
            consistent_snapshot,
            roles,
        })
    }
}

/// The timestamp role: which snapshot is current (section 4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Timestamp {
    pub header: Header,
    pub snapshot: DocumentRef,
}

impl Document for Timestamp {
    fn read(role: &str, signed: &Object, _: KeyPolicy, _: &Limits) -> Result<Self, TufError> {
        let members = Members::new(role, signed);
        let header = Header::read(&members, TopLevel::Timestamp)?;
        let snapshot = members.object("meta")?.get("snapshot.json");
        let snapshot = members.must("meta.snapshot.json", snapshot, "there")?;
        Ok(Self {
            header,
            snapshot: DocumentRef::read(role, "snapshot.json", snapshot)?,
        })
    }
}

/// The snapshot role: which versions of all targets roles belong together (section 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version and expiry.
    pub header: Header,
    /// Role names (without `.json`) and what is pinned of them.
    pub roles: BTreeMap<String, DocumentRef>,
}

impl Document for Snapshot {
    fn read(role: &str, signed: &Object, _: KeyPolicy, _: &Limits) -> Result<Self, TufError> {
        let members = Members::new(role, signed);
        let header = Header::read(&members, TopLevel::Snapshot)?;
        let mut roles = BTreeMap::new();
        for (file, value) in members.object("meta")?.iter() {
            let Some(name) = file.strip_suffix(".json") else {
                return Err(members.malformed(format!("`meta.{file}` does not end in .json")));
            };
            roles.insert(name.into(), DocumentRef::read(role, file, value)?);
        }
        Ok(Self { header, roles })
    }
}

/// A targets role, top-level or delegated (section 4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Version and expiry.
    pub header: Header,
    /// Target names and what is signed of them.
    pub targets: BTreeMap<String, TargetInfo>,
    /// The roles that this one trusts for parts of its targets.
    pub delegations: Delegations,
}

impl Document for Targets {
    fn read(
        role: &str,
        signed: &Object,
        policy: KeyPolicy,
        limits: &Limits,
    ) -> Result<Self, TufError> {
        let members = Members::new(role, signed);
        let header = Header::read(&members, TopLevel::Targets)?;
        let mut targets = BTreeMap::new();
        for (path, value) in members.object("targets")?.iter() {
            targets.insert(path.into(), TargetInfo::read(role, path, value)?);
        }
        let delegations = match members.get("delegations") {
            None => Delegations::default(),
            Some(_) => {
                let object = members.object("delegations")?;
                Delegations::read(&Members::new(role, object), policy, limits)?
            }
        };
        Ok(Self {
            header,
            targets,
            delegations,
        })
    }
}

/// A role name as part of a file name or URL: every byte outside `A-Z a-z 0-9 _ . - ~` as `%XX`,
/// so that no name can climb directories.
pub fn quoted_role(role: &str) -> String {
    let mut quoted = String::with_capacity(role.len());
    for byte in role.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                quoted.push(char::from(byte));
            }
            other => quoted.push_str(&format!("%{other:02X}")),
        }
    }
    quoted
}
