//! Strict JSON: one parse into a tree of our own, one canonical form made from that tree.
//!
//! Signatures cover bytes, clients act on meaning; where two readers of the same bytes disagree,
//! an attacker lives. So the front end accepts only documents that have exactly one reading, the
//! canonical form is made from the very tree that was parsed, and typed documents are built from
//! that tree too. No byte is parsed twice.

mod canonical;
mod parse;
mod value;
mod write;

pub use canonical::canonical;
pub use parse::{JsonError, MAX_DEPTH, parse};
pub use value::{MAX_INTEGER, Object, Value};
pub use write::{compact, pretty};
