//! Machines that really boot: firmware, systemd-boot, kernel, dm-verity, systemd, in QEMU.
//!
//! Reason to exist: the simulator and the machine in files show the promises on a model of the world.
//! Here the world is the judge. Layer: above everything, beside `tests`; nothing depends on it. It
//! drives the programs of the project from outside, as a person would, and believes the guest's
//! kernel, the bytes of the disk and tools that are not ours before it believes `twinroot`.
//!
//! It never sleeps to give something time: each wait is for a condition and has a deadline. It never
//! tries again what failed. A machine that stands still without using its processor is an
//! [`qemu::InfraStall`], reported apart from failures, and hidden nowhere.

pub mod channel;
pub mod demo;
pub mod host;
pub mod image;
mod judge;
pub mod lab;
pub mod look;
pub mod node;
pub mod oci;
pub mod offline;
pub mod publisher;
pub mod qemu;
pub mod replay;
pub mod scenario;
