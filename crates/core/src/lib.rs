//! Every decision of twinroot, and the plain data that decisions are made of.
//!
//! **Reason to exist.** Deciding and acting are kept apart: this crate looks at facts that somebody
//! else has gathered and says what is to be done; `twinroot-agent` does it. So each rule can be
//! read in one place and tested without a machine: the update state machine and its recovery, the
//! rollout arithmetic, health verdicts, configuration, disk layout, boot formats, the table of
//! errors, and the types that go over the wire.
//!
//! **Layer.** Above `trust` and `payload`; below `ports`, `sim`, `host`, `agent` and the programs.
//!
//! **Must never** read a clock, a file, the network, the environment or a random source; start a
//! thread or a process; or hold anything that is not plain data. `#![no_std]` keeps it so.

#![no_std]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bootfmt;
pub mod clock;
pub mod config;
pub mod envelope;
pub mod error;
pub mod facts;
pub mod health;
pub mod journal;
pub mod layout;
pub mod records;
pub mod rollout;
pub mod schedule;
pub mod slot;
pub mod text;
pub mod update;
pub mod why;
pub mod wire;

/// Versions of releases and of everything compared with them: one order everywhere.
pub mod version {
    pub use twinroot_trust::version::Version;
}

pub use error::{Category, Code, Failure, Retry};
pub use why::WaitReason;
