//! The `System` port: what the kernel and the booted image say of this boot. Reading only.

pub(crate) mod cpu;
pub mod files;
pub mod linux;
pub(crate) mod mapper;

pub use files::{BootFacts, FilesSystem};
pub use linux::LinuxSystem;
