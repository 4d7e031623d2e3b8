//! Release versions and their one order.

use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use crate::error::BadValue;

/// The version of a release, ordered by the UAPI version format.
///
/// Equality follows the order, so `1.0` and `1.00` are the same version: otherwise a floor of
/// `1.0` and a release `1.00` would be neither lower, equal nor higher. Text is kept as written,
/// since it is part of paths and of file names on the ESP; that is also why only letters, digits
/// and `. ~ ^ -` are allowed (`+` counts tries in boot entry names, `_` separates their parts).
#[derive(Clone)]
pub struct Version(uapi_version::Version);

impl Version {
    /// Characters in the longest version: boot entry names hold it beside a digest, and FAT
    /// limits the whole name to 255.
    pub const MAX_LENGTH: usize = 64;

    /// The text as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Version {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refused = |rule| Err(BadValue::new("version", text, rule));
        if text.len() > Self::MAX_LENGTH {
            return refused("at most 64 characters are allowed");
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return refused("it must start with a letter or digit");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '~' | '^' | '-');
        if !text.chars().all(allowed) {
            return refused("only letters, digits, '.', '~', '^' and '-' are allowed");
        }
        Ok(Self(text.into()))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Version({})", self.as_str())
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
