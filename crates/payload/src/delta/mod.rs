//! Deltas: a payload made for one base. Byte layout in `docs/formats/payload.md`.
//!
//! Reading order: [`model`] (what an index says), `read` (how it is checked), [`decode`] (one
//! segment: bytes in, bytes out), [`split`] (what comes from the source), [`apply`] (which segments a slot lacks, and writing it),
//! [`stream`] (a file in order, for what is not a slot).

pub mod apply;
mod code;
pub mod decode;
mod difference;
pub mod model;
mod read;
pub mod split;
pub mod stream;
mod walk;

pub use apply::{Job, Plan};
pub use decode::Decoder;
pub use model::{Coding, Expect, Header, Kind, Piece, Segment, Source};
pub use read::{DeltaIndex, load};
pub use split::{Head, Splitter};
