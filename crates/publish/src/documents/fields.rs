//! Reading members of documents that we wrote ourselves.

use std::collections::BTreeMap;
use std::str::FromStr;

use twinroot_trust::digest::Digest;
use twinroot_trust::json::{Object, Value};
use twinroot_trust::time::UnixTime;

use super::{Document, SPEC_VERSION};
use crate::keys::PublicKey;

/// The members that every signed part starts with.
pub(super) fn header<D: Document>(version: u64, expires: UnixTime) -> Object {
    Object::new()
        .with("_type", D::TYPE)
        .with("spec_version", SPEC_VERSION)
        .with("version", version)
        .with("expires", expires.to_string())
}

/// Checks `_type` and reads version and expiry.
pub(super) fn read_header<D: Document>(value: &Value) -> Result<(&Object, u64, UnixTime), String> {
    let signed = value.as_object().ok_or("the signed part is no object")?;
    match text(signed, "_type")? {
        found if found == D::TYPE => {}
        found => return Err(format!("it is of type '{found}', '{}' is wanted", D::TYPE)),
    }
    Ok((
        signed,
        number(signed, "version")?,
        parsed(signed, "expires")?,
    ))
}

pub(super) fn member<'a>(object: &'a Object, name: &str) -> Result<&'a Value, String> {
    object
        .get(name)
        .ok_or_else(|| format!("'{name}' is missing"))
}

pub(super) fn object<'a>(object: &'a Object, name: &str) -> Result<&'a Object, String> {
    member(object, name)?
        .as_object()
        .ok_or_else(|| format!("'{name}' is no object"))
}

pub(super) fn text<'a>(object: &'a Object, name: &str) -> Result<&'a str, String> {
    member(object, name)?
        .as_str()
        .ok_or_else(|| format!("'{name}' is no string"))
}

pub(super) fn number(object: &Object, name: &str) -> Result<u64, String> {
    member(object, name)?
        .as_integer()
        .ok_or_else(|| format!("'{name}' is no number"))
}

pub(super) fn parsed<T: FromStr<Err: ToString>>(object: &Object, name: &str) -> Result<T, String> {
    text(object, name)?
        .parse()
        .map_err(|cause: T::Err| format!("'{name}': {}", cause.to_string()))
}

pub(super) fn texts(object: &Object, name: &str) -> Result<Vec<String>, String> {
    let items = member(object, name)?
        .as_array()
        .ok_or_else(|| format!("'{name}' is no array"))?;
    let texts: Option<Vec<_>> = items
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect();
    texts.ok_or_else(|| format!("'{name}' holds something other than strings"))
}

/// `{"sha256": …}`.
pub(super) fn hashes(digest: &Digest) -> Object {
    Object::new().with("sha256", digest.to_string())
}

pub(super) fn read_hashes(holder: &Object) -> Result<Digest, String> {
    parsed(object(holder, "hashes")?, "sha256")
}

/// The `keys` member: id to key object, ids recomputed.
pub(super) fn keys(keys: &BTreeMap<String, PublicKey>) -> Object {
    keys.values().fold(Object::new(), |object, key| {
        object.with(key.id(), key.to_value())
    })
}

pub(super) fn read_keys(holder: &Object) -> Result<BTreeMap<String, PublicKey>, String> {
    object(holder, "keys")?
        .iter()
        .map(|(id, value)| {
            let key = PublicKey::from_value(value)
                .ok_or_else(|| format!("key {id} is of no kind we sign with"))?;
            match key.id() == id {
                true => Ok((id.to_owned(), key)),
                false => Err(format!("key {id} has in truth the id {}", key.id())),
            }
        })
        .collect()
}
