//! What lies on the EFI system partition and in the boot path, as pure code: boot entry names with
//! their counters, the way systemd-boot chooses among them, the attempt record and the stage mark
//! of the initramfs, EFI variables, device-mapper requests, and UKIs.

pub mod attempt;
pub mod dm;
pub mod entry;
pub mod fat;
pub mod loader;
pub mod pe;
pub mod signature_lists;
pub mod stage;
pub mod start;
pub mod twin;
pub mod variables;
