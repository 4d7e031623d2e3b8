//! The form in which a record lies on the disk: JSON `{schema, sequence, sha256, body}`, kept in two
//! copies. A copy whose digest does not fit its body is damaged and counts as absent; of two whole
//! copies the one with the higher sequence counts. So one damaged file loses nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use twinroot_trust::digest::Digest;

use crate::error::{Code, Failure};

/// Schema that this version writes. It reads one before and one after it (DESIGN section 6, 'Room
/// to grow'): there is none before, and a later one is read with its unknown fields kept.
pub const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Envelope {
    schema: u32,
    sequence: u64,
    sha256: Digest,
    body: alloc::boxed::Box<RawValue>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<T> {
    /// Rises with every write.
    pub sequence: u64,
    /// The record.
    pub value: T,
}

/// Names of the two copies of a record.
#[must_use]
pub fn copies(name: &str) -> [String; 2] {
    [format!("{name}.0.json"), format!("{name}.1.json")]
}

/// Puts a record into its envelope.
///
/// # Errors
/// `internal` where the value cannot be written as JSON; our own types can.
pub fn seal<T: Serialize>(sequence: u64, value: &T) -> Result<Vec<u8>, Failure> {
    let internal = |e: serde_json::Error| Failure::new(Code::Internal, "record", e.to_string());
    let body = serde_json::value::to_raw_value(value).map_err(internal)?;
    let sha256 = Digest::of(body.get().as_bytes());
    serde_json::to_vec(&Envelope {
        schema: SCHEMA,
        sequence,
        sha256,
        body,
    })
    .map_err(internal)
}

/// Opens one copy. `None`: damaged, or of a schema that is too new to be read.
#[must_use]
pub fn open<T: DeserializeOwned>(bytes: &[u8]) -> Option<Opened<T>> {
    let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
    let body = envelope.body.get();
    if envelope.schema > SCHEMA + 1 || Digest::of(body.as_bytes()) != envelope.sha256 {
        return None;
    }
    let value = serde_json::from_str(body).ok()?;
    Some(Opened {
        sequence: envelope.sequence,
        value,
    })
}

/// The newest whole copy of those that are there.
#[must_use]
pub fn newest<T: DeserializeOwned>(copies: &[Option<Vec<u8>>]) -> Option<Opened<T>> {
    let whole = copies.iter().flatten().filter_map(|bytes| open(bytes));
    whole.max_by_key(|opened| opened.sequence)
}
