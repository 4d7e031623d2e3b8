//! The signing side: repository, keys, releases, rollouts, withdrawal. Never on a node.
//!
//! Why it exists: a node only verifies; somebody has to cut payloads, write manifests and put
//! signatures under them, on machines that hold keys. Layer: a program, above `core`, `payload`
//! and `trust`; no other program depends on it, only tests and benchmarks do. It must never
//! publish what the `trust` crate would refuse on a node (every publication is first read back by
//! that crate), never overwrite a published file other than `timestamp.json`, and never leave the
//! repository in a state between two valid ones.

pub mod add;
pub mod check;
pub mod documents;
pub mod error;
pub mod fake;
pub mod files;
pub mod init;
pub mod journal;
pub mod keys;
pub mod layout;
pub mod published;
pub mod release;
pub mod repository;
pub mod ring;
pub mod rollout;
mod rotate;
pub mod serve;
pub mod settings;
pub mod signing;
pub mod status;
mod verdict;
