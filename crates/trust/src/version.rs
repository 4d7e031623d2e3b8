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
pub struct Version(String);

impl Version {
    /// Characters in the longest version: boot entry names hold it beside a digest, and FAT
    /// limits the whole name to 255.
    pub const MAX_LENGTH: usize = 64;

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
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
        compare(self.as_str(), other.as_str())
    }
}

/// The order of two version texts by the UAPI version format, whatever characters they hold.
///
/// Our own, since the crate `uapi-version` 0.4 differs from the format: among others it takes
/// `1.02` for newer than `1.9`. Floor and barriers rest on this order; a test holds it against
/// `systemd-analyze compare-versions`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        // Characters that the format does not know separate parts and count for nothing.
        a = &a[run(a, |byte| !is_version_byte(byte))..];
        b = &b[run(b, |byte| !is_version_byte(byte))..];
        // A pre-release (`~`) is older even than the end of the text; the other separators are not.
        let order = separator(b'~', &mut a, &mut b);
        if order != Ordering::Equal {
            return order;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        for kind in [b'-', b'^', b'.'] {
            let order = separator(kind, &mut a, &mut b);
            if order != Ordering::Equal {
                return order;
            }
        }
        let digits = [a, b]
            .iter()
            .any(|text| text.first().is_some_and(u8::is_ascii_digit));
        let is_part: fn(u8) -> bool = if digits {
            |byte| byte.is_ascii_digit()
        } else {
            |byte| byte.is_ascii_alphabetic()
        };
        let (part_a, rest_a) = a.split_at(run(a, is_part));
        let (part_b, rest_b) = b.split_at(run(b, is_part));
        let order = if digits {
            numbers(part_a, part_b)
        } else {
            part_a.cmp(part_b)
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Steps over a separator that both texts start with; the one that alone starts with it is older.
fn separator(kind: u8, a: &mut &[u8], b: &mut &[u8]) -> Ordering {
    let starts = |text: &[u8]| text.first() == Some(&kind);
    let order = starts(b).cmp(&starts(a));
    if order == Ordering::Equal && starts(a) {
        (*a, *b) = (&a[1..], &b[1..]);
    }
    order
}

/// Length of the run of bytes at the start that `is_part` takes.
fn run(text: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    text.iter()
        .position(|byte| !is_part(*byte))
        .unwrap_or(text.len())
}

fn is_version_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'-' | b'^' | b'.')
}

/// Numbers of any length, without regard to leading zeros; no number is older than any number.
fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    let present = (!a.is_empty()).cmp(&!b.is_empty());
    let [a, b] = [a, b].map(|digits| &digits[run(digits, |byte| byte == b'0')..]);
    present.then(a.len().cmp(&b.len())).then_with(|| a.cmp(b))
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
