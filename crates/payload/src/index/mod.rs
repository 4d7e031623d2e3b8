//! The index of a payload: which coded bytes yield which blocks of the image.
//!
//! Byte layout in `docs/formats/payload.md`. The index is named by size and digest in the signed
//! manifest and is the first part of the payload file; it is checked whole by [`load`] or [`load_to`] before
//! anything in it is parsed.

mod model;
mod read;
mod walk;
#[cfg(feature = "encode")]
pub(crate) mod write;

pub use model::{Coding, FORMAT, Header, INDEX_MAX, KEY_WIDTHS, Run, SEGMENT_BLOCKS_MAX, Segment};
pub(crate) use model::{HEADER_BYTES, MAGIC, RECORD_BYTES, key_of};
pub use read::{Expect, Index, load, load_to};
pub(crate) use read::{invalid, u32_at, u64_at};
pub(crate) use walk::Keys;
