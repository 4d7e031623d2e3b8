//! Root, snapshot and timestamp.

use std::collections::BTreeMap;

use twinroot_trust::digest::Digest;
use twinroot_trust::json::{Object, Value};
use twinroot_trust::time::UnixTime;

use super::{Document, fields};
use crate::keys::PublicKey;

/// Who may sign a role, and how many of them must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// Key ids, without repetition.
    pub key_ids: Vec<String>,
    /// Distinct keys that must sign; at least 1.
    pub threshold: u64,
}

impl RoleKeys {
    /// The members `keyids` and `threshold` (TUF 1.0.34 section 4.3).
    pub(super) fn write(&self, object: Object) -> Object {
        object
            .with(
                "keyids",
                self.key_ids.iter().map(String::as_str).collect::<Value>(),
            )
            .with("threshold", self.threshold)
    }

    pub(super) fn read(object: &Object) -> Result<Self, String> {
        Ok(Self {
            key_ids: fields::texts(object, "keyids")?,
            threshold: fields::number(object, "threshold")?,
        })
    }
}

/// The root role: which keys sign the other top-level roles, and itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Version of the role.
    pub version: u64,
    /// When it expires.
    pub expires: UnixTime,
    /// Every key that a role below names, by id.
    pub keys: BTreeMap<String, PublicKey>,
    /// `root`, `targets`, `snapshot` and `timestamp`.
    pub roles: BTreeMap<String, RoleKeys>,
}

impl Root {
    /// Drops keys that no role names any more.
    pub fn drop_unused_keys(&mut self) {
        let roles = &self.roles;
        self.keys
            .retain(|id, _| roles.values().any(|role| role.key_ids.contains(id)));
    }
}

impl Document for Root {
    const TYPE: &'static str = "root";

    fn to_value(&self) -> Value {
        let roles = self
            .roles
            .iter()
            .fold(Object::new(), |object, (name, role)| {
                object.with(name.as_str(), role.write(Object::new()))
            });
        fields::header::<Self>(self.version, self.expires)
            .with("consistent_snapshot", true)
            .with("keys", fields::keys(&self.keys))
            .with("roles", roles)
            .into()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let (signed, version, expires) = fields::read_header::<Self>(value)?;
        let keys = fields::read_keys(signed)?;
        let mut roles = BTreeMap::new();
        for (name, role) in fields::object(signed, "roles")?.iter() {
            let role = role
                .as_object()
                .ok_or_else(|| format!("role '{name}' is no object"))?;
            roles.insert(name.to_owned(), RoleKeys::read(role)?);
        }
        Ok(Self {
            version,
            expires,
            keys,
            roles,
        })
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UnixTime {
        self.expires
    }
}

/// What the snapshot says of one role file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Version of the role.
    pub version: u64,
    /// Bytes of its file.
    pub length: u64,
    /// Digest of its file: with it, two mirrors cannot serve two files of the same version.
    pub digest: Digest,
}

impl SnapshotEntry {
    /// The entry for a file of that version.
    pub fn of(version: u64, bytes: &[u8]) -> Self {
        Self {
            version,
            length: bytes.len() as u64,
            digest: Digest::of(bytes),
        }
    }

    fn to_object(&self) -> Object {
        Object::new()
            .with("version", self.version)
            .with("length", self.length)
            .with("hashes", fields::hashes(&self.digest))
    }

    fn read(value: &Value) -> Result<Self, String> {
        let entry = value.as_object().ok_or("an entry of 'meta' is no object")?;
        Ok(Self {
            version: fields::number(entry, "version")?,
            length: fields::number(entry, "length")?,
            digest: fields::read_hashes(entry)?,
        })
    }
}

fn write_meta(meta: &BTreeMap<String, SnapshotEntry>) -> Object {
    meta.iter().fold(Object::new(), |object, (role, entry)| {
        object.with(format!("{role}.json"), entry.to_object())
    })
}

fn read_meta(signed: &Object) -> Result<BTreeMap<String, SnapshotEntry>, String> {
    fields::object(signed, "meta")?
        .iter()
        .map(|(name, entry)| {
            let role = name
                .strip_suffix(".json")
                .ok_or_else(|| format!("'{name}' in 'meta' is no role file"))?;
            Ok((role.to_owned(), SnapshotEntry::read(entry)?))
        })
        .collect()
}

/// The snapshot role: which version of every targets role belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the role.
    pub version: u64,
    /// When it expires.
    pub expires: UnixTime,
    /// Role name to entry.
    pub meta: BTreeMap<String, SnapshotEntry>,
}

impl Document for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn to_value(&self) -> Value {
        fields::header::<Self>(self.version, self.expires)
            .with("meta", write_meta(&self.meta))
            .into()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let (signed, version, expires) = fields::read_header::<Self>(value)?;
        Ok(Self {
            version,
            expires,
            meta: read_meta(signed)?,
        })
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UnixTime {
        self.expires
    }
}

/// The timestamp role: which snapshot is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// Version of the role.
    pub version: u64,
    /// When it expires.
    pub expires: UnixTime,
    /// The snapshot.
    pub snapshot: SnapshotEntry,
}

impl Document for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn to_value(&self) -> Value {
        let meta = BTreeMap::from([("snapshot".to_owned(), self.snapshot.clone())]);
        fields::header::<Self>(self.version, self.expires)
            .with("meta", write_meta(&meta))
            .into()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let (signed, version, expires) = fields::read_header::<Self>(value)?;
        let snapshot = read_meta(signed)?
            .remove("snapshot")
            .ok_or("'snapshot.json' is missing in 'meta'")?;
        Ok(Self {
            version,
            expires,
            snapshot,
        })
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UnixTime {
        self.expires
    }
}
