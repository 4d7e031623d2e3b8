//! The node's program on a machine in files, against a repository of ours on the loopback: what a
//! person does, and what must be refused without changing anything.
// Shared within this test program only.
#![allow(clippy::unwrap_used, unreachable_pub, missing_debug_implementations)]

mod delta;
mod life;
mod refusals;
mod rollout;
mod support;
mod waits;
