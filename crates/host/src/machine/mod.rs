//! All ports of one machine, owned together: a machine in files, or this one.

pub mod boot;
mod boot_disk;
pub mod files;
pub mod linux;
mod settings;

pub use boot::{BootFault, BootReport, Booted, Start, StartEnd, boot};
pub use files::{Machine, New, provision};
pub use linux::LinuxMachine;

#[cfg(test)]
mod tests;
