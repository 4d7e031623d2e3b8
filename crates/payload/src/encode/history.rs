//! For how long each block has been in the image: what a publisher keeps of earlier releases.
//!
//! The history of a release lists each distinct block of it by the first eight bytes of its salted
//! hash, with its age: for how many releases in a row, up to this one, it had been there before.
//! The next release needs only this one's history: no earlier image has to be kept. A block that
//! was gone for a release counts as new, since nodes of the release between lack it.
//! Byte layout in `docs/formats/payload.md`.

use alloc::format;
use alloc::vec::Vec;

use crate::error::{Error, Result};
use crate::verity::{Hash, sha256};

const MAGIC: &[u8; 8] = b"twinhist";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 56;
const ENTRY_BYTES: usize = 10;
const DIGEST_BYTES: usize = 32;

/// The blocks of one release and their ages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Digest of the salt that the hashes were made with.
    salt: Hash,
    /// Sorted by key, each key once.
    entries: Vec<(u64, u16)>,
}

pub(crate) fn history_key(leaf: &Hash) -> u64 {
    let mut key = [0; 8];
    key.copy_from_slice(&leaf[..8]);
    u64::from_be_bytes(key)
}

impl History {
    pub(crate) fn new(salt: &[u8], mut entries: Vec<(u64, u16)>) -> Self {
        entries.sort_unstable();
        // Two blocks that share a key: the younger age stands.
        entries.dedup_by_key(|entry| entry.0);
        Self {
            salt: sha256(salt),
            entries,
        }
    }

    /// Whether it was made with this salt; hashes under another say nothing.
    #[must_use]
    pub fn has_salt(&self, salt: &[u8]) -> bool {
        self.salt == sha256(salt)
    }

    /// Number of distinct blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.entries.len()
    }

    /// Age that a block has in the release after this one.
    pub(crate) fn next_age(&self, leaf: &Hash) -> u16 {
        let found = self
            .entries
            .binary_search_by_key(&history_key(leaf), |entry| entry.0);
        found.map_or(0, |at| self.entries[at].1.saturating_add(1))
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.entries.len() * ENTRY_BYTES + 32);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.salt);
        for (key, age) in &self.entries {
            out.extend_from_slice(&key.to_be_bytes());
            out.extend_from_slice(&age.to_le_bytes());
        }
        let digest = sha256(&out);
        out.extend_from_slice(&digest);
        out
    }

    /// Reads a history file.
    ///
    /// # Errors
    /// [`Error::HistoryInvalid`] for anything that [`History::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let refuse = |what| Err(Error::HistoryInvalid { what });
        if bytes.len() < HEADER_BYTES + DIGEST_BYTES || bytes[..8] != *MAGIC {
            return refuse(format!(
                "{} bytes that do not start as a history does",
                bytes.len()
            ));
        }
        let (body, digest) = bytes.split_at(bytes.len() - DIGEST_BYTES);
        if sha256(body)[..] != *digest {
            return refuse("its digest does not match".into());
        }
        let (header, raw) = body.split_at(HEADER_BYTES);
        if header[8..12] != FORMAT.to_le_bytes() || header[12..16] != [0; 4] {
            return refuse("its format is not 1".into());
        }
        let mut count = [0; 8];
        count.copy_from_slice(&header[16..24]);
        let (entries, rest) = raw.as_chunks::<ENTRY_BYTES>();
        if u64::from_le_bytes(count) != entries.len() as u64 || !rest.is_empty() {
            return refuse("its count does not match its length".into());
        }
        let entries: Vec<_> = entries.iter().map(decode_entry).collect();
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            return refuse("its blocks are not in order".into());
        }
        let mut salt = [0; 32];
        salt.copy_from_slice(&header[24..56]);
        Ok(Self { salt, entries })
    }
}

fn decode_entry(raw: &[u8; ENTRY_BYTES]) -> (u64, u16) {
    let mut key = [0; 8];
    key.copy_from_slice(&raw[..8]);
    (
        u64::from_be_bytes(key),
        u16::from_le_bytes([raw[8], raw[9]]),
    )
}
