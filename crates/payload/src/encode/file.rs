//! A whole payload file, one segment after another.

use alloc::vec::Vec;

use crate::encode::{Compressor, History, Layout, Params};
use crate::error::{Error, Result};
use crate::io::{Fault, ReadAt};
use crate::verity::{Hash, sha256};

/// What the manifest and the next release need to know of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Root hash of the image.
    pub root_hash: Hash,
    /// Size of the index, the first part of the file.
    pub index_bytes: u64,
    /// Its SHA-256.
    pub index_digest: Hash,
    /// Size of the file.
    pub file_bytes: u64,
    /// What to keep for coding the next release.
    pub history: History,
}

/// Takes bytes for a position of the payload file.
pub type Sink<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Fault> + 'a;

/// Codes an image as a full payload on the calling thread. `sink` takes bytes for a position of
/// the file; the index comes last, for position 0.
///
/// # Errors
/// As [`Layout::make`], and [`Error::Io`] where `sink` fails.
pub fn encode_full(
    image: &dyn ReadAt,
    salt: &[u8],
    previous: Option<&History>,
    params: &Params,
    sink: &mut Sink<'_>,
) -> Result<Encoded> {
    let layout = Layout::make(image, salt, previous, params)?;
    let mut compressor = Compressor::new(params.level)?;
    let mut metas = Vec::with_capacity(layout.segments().len());
    let mut at = layout.index_bytes();
    for number in 0..layout.segments().len() {
        let coded = compressor.segment(&layout, number, image)?;
        sink(at, &coded.bytes).map_err(Error::io("write the payload"))?;
        at += coded.bytes.len() as u64;
        metas.push(coded.meta);
    }
    let index = layout.finish(&metas)?;
    sink(0, &index).map_err(Error::io("write the payload's index"))?;
    Ok(Encoded {
        root_hash: *layout.root_hash(),
        index_bytes: index.len() as u64,
        index_digest: sha256(&index),
        file_bytes: at,
        history: layout.history().clone(),
    })
}
