//! Names of products, variants, architectures, channels and state formats.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::error::BadValue;

/// A name that is part of target paths and role names: lowercase letters, digits and `. _ -`,
/// starting with a letter or digit, at most [`Name::MAX_LENGTH`] characters. So it can neither
/// climb directories nor hold a pattern character nor collide by case on a FAT file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Characters in the longest name; four of them and a version stay below the 255 bytes that
    /// a file name may have.
    pub const MAX_LENGTH: usize = 48;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let rule = if text.len() > Self::MAX_LENGTH {
            "at most 48 characters are allowed"
        } else if !text.starts_with(plain) {
            "it must start with a lowercase letter or digit"
        } else if !text
            .chars()
            .all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
        {
            "only lowercase letters, digits, '.', '_' and '-' are allowed"
        } else {
            return Ok(Self(text.into()));
        };
        Err(BadValue::new("name", text, rule))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
