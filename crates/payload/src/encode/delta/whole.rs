//! A whole delta on the calling thread.

use alloc::vec::Vec;

use crate::encode::delta::{DeltaParams, Draft, Identity, Patcher};
use crate::error::Result;
use crate::io::ReadAt;
use crate::verity::{Hash, sha256};

/// A delta in memory, with what the manifest has to say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedDelta {
    /// The file.
    pub file: Vec<u8>,
    /// Size of the index, the first part of the file.
    pub index_bytes: u64,
    /// Its SHA-256.
    pub index_digest: Hash,
}

/// Makes a delta, segment after segment, and holds all of it: for tests and small files.
///
/// # Errors
/// As [`Draft::make`] and [`Draft::finish`].
pub fn encode_delta(
    base: &dyn ReadAt,
    target: &dyn ReadAt,
    identity: &Identity,
    params: &DeltaParams,
) -> Result<EncodedDelta> {
    let draft = Draft::make(base, target, identity, params)?;
    let mut patcher = Patcher::new();
    let (mut metas, mut coded) = (Vec::new(), Vec::new());
    for number in 0..draft.segments().len() {
        let segment = patcher.segment(&draft, number, base, target)?;
        coded.extend_from_slice(&segment.bytes);
        metas.push(segment.meta);
    }
    let mut file = draft.finish(&metas)?;
    let (index_bytes, index_digest) = (file.len() as u64, sha256(&file));
    file.extend_from_slice(&coded);
    Ok(EncodedDelta {
        file,
        index_bytes,
        index_digest,
    })
}
