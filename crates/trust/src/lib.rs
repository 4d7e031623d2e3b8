//! Turns bytes into verified facts: TUF 1.0 metadata, the release manifest, the rollout policy.
//!
//! Why it exists: what a node believes about a release must be decided in one small place that
//! can be read, audited and fuzzed alone. Layer: the lowest; it knows nothing of slots, agents or
//! machines. It must never hold a clock, a network, a file system or an async runtime, never act
//! on bytes whose signature or digest is not proven, and never make a [`Verified`](tuf::Verified)
//! value in more than one function.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

pub mod digest;
pub mod error;
mod fields;
mod hex;
pub mod json;
pub mod keys;
pub mod manifest;
pub mod name;
pub mod policy;
pub mod release;
pub mod time;
pub mod tuf;
pub mod version;
