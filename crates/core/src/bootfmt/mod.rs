//! What lies on the EFI system partition, as pure code: boot entry names with their counters, the
//! way systemd-boot chooses among them, the attempt record of the initramfs, and UKIs.

pub mod attempt;
pub mod entry;
pub mod loader;
pub mod pe;
