//! GUIDs of partition types and partitions.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twinroot_trust::digest::Digest;

/// A GUID, in the order in which it is written (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

impl Guid {
    /// From its number, so that a constant reads like the text: `0x4f68bce3_e8cd_4db1_…`.
    #[must_use]
    pub const fn from_number(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// From its bytes in written order.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes in written order.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As GPT stores it: the first three groups little endian (UEFI specification, appendix A).
    #[must_use]
    pub const fn to_disk(self) -> [u8; 16] {
        let b = self.0;
        [
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15],
        ]
    }

    /// From the bytes that GPT stores. The exchange of bytes is its own inverse.
    #[must_use]
    pub const fn from_disk(bytes: [u8; 16]) -> Self {
        Self(Self(bytes).to_disk())
    }

    /// UUIDs of a data and a tree partition that hold a root: the first and the last 128 bits of
    /// its root hash (Discoverable Partitions Specification).
    #[must_use]
    pub fn of_root(root_hash: &Digest) -> (Guid, Guid) {
        let (mut first, mut last) = ([0; 16], [0; 16]);
        first.copy_from_slice(&root_hash.as_bytes()[..16]);
        last.copy_from_slice(&root_hash.as_bytes()[16..]);
        (Guid(first), Guid(last))
    }

    /// A GUID of a partition, derived from the disk's GUID and the partition's label, so that a
    /// table needs one random number only. Marked as version 8 ('custom') of RFC 9562.
    #[must_use]
    pub(super) fn derived(disk: Guid, label: &str) -> Guid {
        let mut input = disk.0.to_vec();
        input.extend_from_slice(label.as_bytes());
        let hash = Digest::of(&input);
        let (Guid(mut bytes), _) = Guid::of_root(&hash);
        bytes[6] = bytes[6] & 0x0F | 0x80;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        Guid(bytes)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            let dash = if matches!(n, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

/// A text that is no GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no GUID; 8-4-4-4-12 hex digits are required")]
pub struct BadGuid(String);

impl FromStr for Guid {
    type Err = BadGuid;

    fn from_str(text: &str) -> Result<Self, BadGuid> {
        let refused = || BadGuid(text.chars().take(40).collect());
        let dashes = text
            .char_indices()
            .filter(|(_, c)| *c == '-')
            .map(|(at, _)| at);
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex || !dashes.eq([8, 13, 18, 23]) {
            return Err(refused());
        }
        u128::from_str_radix(&digits, 16)
            .map(Guid::from_number)
            .map_err(|_| refused())
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
