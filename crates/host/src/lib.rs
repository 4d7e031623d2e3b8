//! The real adapters: what the ports look like on a Linux machine and on a machine kept in files.
//!
//! **Reason to exist.** Every touch of the kernel, a disk, the EFI system partition or the network
//! is in this room, one adapter a file, so that the rest can be tested without them.
//!
//! **Layer.** Above `ports`, `core`, `payload` and `trust`; below `agent` and the programs.
//!
//! **Must never** decide anything about an update. An adapter does one verb durably, or refuses with
//! a code of the error table; which verb comes next is `core`'s business. No process is spawned
//! outside [`health`]'s exec check.

#![deny(missing_docs)]

pub mod clock;
pub mod collector;
pub mod disk;
pub mod drift;
pub mod esp;
pub mod fail;
pub mod fetch;
pub mod gate;
pub mod health;
pub mod journal;
mod logbook;
pub mod machine;
pub mod peer;
pub mod power;
pub mod provision;
pub mod sockets;
pub mod store;
pub mod system;
pub mod zone;

#[cfg(test)]
mod testing;
