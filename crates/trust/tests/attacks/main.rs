//! Promise: every known attack on a TUF client is refused under its own name, for every role by
//! the same test, and the next good update succeeds.
//!
//! One file an attack. Each starts from a repository that the client accepts, bends one thing,
//! and looks at the refusal and at what stays in the store.
#![allow(clippy::unwrap_used)] // a helper that cannot go on panics, as its test would

#[path = "../support/mod.rs"]
mod support;

mod arbitrary_keys;
mod crash;
mod delegation;
mod endless_data;
mod fast_forward;
mod freeze;
mod malformed;
mod mix_and_match;
mod rollback;
mod root_chain;
mod threshold;
mod unsafe_names;
mod workflow;
