//! Turns an image into segments and back: full payloads, deltas, reuse of blocks, the verity tree.
//!
//! **Reason to exist**: a node must get from one release to the next with few bytes, little
//! memory and no trust in anything but the signed root hash; a publisher must make the files that
//! allow it. Both read and write the format here, and nowhere else.
//!
//! **Layer**: pure, at the bottom beside `trust`. `no_std` with `alloc`; bytes come and go
//! through the traits of [`io`].
//!
//! **Must never**: open a file, a socket or a clock; start a thread; allocate in proportion to
//! the image (one bit a block aside) when applying; decode bytes whose digest was not checked;
//! call an image right on any ground but its root hash.
//!
//! Reading order: [`verity`] (what is proven), [`index`] (what a payload says), [`plan`] (what to
//! do), [`job`] (doing it), [`work`] (by requests), [`finish`] (in which order a slot becomes whole), [`stage`] (all of it in turn),
//! [`delta`] (the same for a payload made for one base), `encode` (the publisher's half, behind the
//! feature of that name).
#![no_std]
extern crate alloc;

mod bits;
mod code;
pub mod delta;
#[cfg(feature = "encode")]
pub mod encode;
pub mod error;
pub mod finish;
pub mod index;
pub mod io;
pub mod job;
pub mod plan;
mod requests;
pub mod reuse;
pub mod stage;
pub mod verity;
pub mod work;

pub use error::{Error, Result, codes};
