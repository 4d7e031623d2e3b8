//! A machine in QEMU: what it is made of, and what it is doing.

mod console;
mod machine;
mod qmp;
mod running;

pub use console::{Console, Line};
pub use machine::{Bus, Disk, Machine, Spec};
pub use qmp::Qmp;
pub use running::{InfraStall, Running};
