//! Targets and the roles it delegates to: channels and rollout.

use std::collections::BTreeMap;

use twinroot_trust::digest::Digest;
use twinroot_trust::json::{Object, Value};
use twinroot_trust::time::UnixTime;

use super::{Document, RoleKeys, fields};
use crate::keys::PublicKey;

/// What a targets role says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFile {
    /// Bytes.
    pub length: u64,
    /// SHA-256.
    pub digest: Digest,
}

impl TargetFile {
    /// The entry for these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len() as u64,
            digest: Digest::of(bytes),
        }
    }
}

/// A role to which targets of certain paths are delegated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The role's name.
    pub name: String,
    /// Who may sign it.
    pub keys: RoleKeys,
    /// Patterns of the paths it speaks for. All our delegations are terminating and disjoint.
    pub paths: Vec<String>,
}

/// Everything a targets role delegates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delegations {
    /// Every key that a delegation names, by id.
    pub keys: BTreeMap<String, PublicKey>,
    /// In order of search.
    pub roles: Vec<Delegation>,
}

impl Delegations {
    /// The delegation of that name.
    pub fn role(&self, name: &str) -> Option<&Delegation> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Drops keys that no delegation names any more.
    pub fn drop_unused_keys(&mut self) {
        let roles = &self.roles;
        self.keys
            .retain(|id, _| roles.iter().any(|role| role.keys.key_ids.contains(id)));
    }

    fn to_object(&self) -> Object {
        let roles: Value = self
            .roles
            .iter()
            .map(|role| {
                let object = Object::new().with("name", role.name.as_str());
                role.keys
                    .write(object)
                    .with(
                        "paths",
                        role.paths.iter().map(String::as_str).collect::<Value>(),
                    )
                    .with("terminating", true)
            })
            .collect();
        Object::new()
            .with("keys", fields::keys(&self.keys))
            .with("roles", roles)
    }

    fn read(object: &Object) -> Result<Self, String> {
        let roles = fields::member(object, "roles")?
            .as_array()
            .ok_or("'roles' is no array")?;
        let roles: Result<Vec<_>, String> = roles
            .iter()
            .map(|role| {
                let role = role.as_object().ok_or("a delegation is no object")?;
                Ok(Delegation {
                    name: fields::text(role, "name")?.to_owned(),
                    keys: RoleKeys::read(role)?,
                    paths: fields::texts(role, "paths")?,
                })
            })
            .collect();
        Ok(Self {
            keys: fields::read_keys(object)?,
            roles: roles?,
        })
    }
}

/// A targets role: the top-level one, a channel, or the rollout role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Version of the role.
    pub version: u64,
    /// When it expires.
    pub expires: UnixTime,
    /// Path to file.
    pub targets: BTreeMap<String, TargetFile>,
    /// Present in the top-level role only.
    pub delegations: Option<Delegations>,
}

impl Document for Targets {
    const TYPE: &'static str = "targets";

    fn to_value(&self) -> Value {
        let targets = self
            .targets
            .iter()
            .fold(Object::new(), |object, (path, file)| {
                let entry = Object::new()
                    .with("length", file.length)
                    .with("hashes", fields::hashes(&file.digest));
                object.with(path.as_str(), entry)
            });
        let signed = fields::header::<Self>(self.version, self.expires).with("targets", targets);
        match &self.delegations {
            Some(delegations) => signed.with("delegations", delegations.to_object()).into(),
            None => signed.into(),
        }
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let (signed, version, expires) = fields::read_header::<Self>(value)?;
        let mut targets = BTreeMap::new();
        for (path, entry) in fields::object(signed, "targets")?.iter() {
            let entry = entry
                .as_object()
                .ok_or_else(|| format!("target '{path}' is no object"))?;
            let file = TargetFile {
                length: fields::number(entry, "length")?,
                digest: fields::read_hashes(entry)?,
            };
            targets.insert(path.to_owned(), file);
        }
        let delegations = match signed.get("delegations") {
            Some(value) => Some(Delegations::read(
                value.as_object().ok_or("'delegations' is no object")?,
            )?),
            None => None,
        };
        Ok(Self {
            version,
            expires,
            targets,
            delegations,
        })
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> UnixTime {
        self.expires
    }
}
