//! Files of two copies on the ESP that the initramfs and the agent share (`core::bootfmt::twin`).
//!
//! Each is preallocated once and then overwritten in place, one 512-byte copy at a time, so that no
//! write of it ever touches the allocation table or a folder.

use std::os::unix::fs::FileExt;

use twinroot_core::bootfmt::twin::{FILE, Write};
use twinroot_ports::Outcome;

use super::volume::{Volume, esp_failure, open_write, write_durably};

/// The file's bytes; none where there is no file.
pub(super) fn bytes(volume: &Volume, path: &str) -> Outcome<Vec<u8>> {
    Ok(volume
        .read_small(path, FILE as u64 + 1)?
        .unwrap_or_default())
}

/// Makes the file where it is missing or has another size.
pub(super) fn prepare(volume: &Volume, path: &str) -> Outcome<()> {
    if bytes(volume, path)?.len() == FILE {
        return Ok(());
    }
    let mut file = volume.create(path)?;
    write_durably(&mut file, &volume.path(path), &[0; FILE])?;
    volume.settle(path)
}

/// Overwrites one copy, durably.
pub(super) fn overwrite(volume: &Volume, name: &str, write: &Write) -> Outcome<()> {
    let path = volume.path(name);
    let file = open_write(&path).map_err(|error| esp_failure(&path, "open", &error))?;
    file.write_all_at(&write.bytes, write.offset as u64)
        .and_then(|()| file.sync_data())
        .map_err(|error| esp_failure(&path, "write", &error))
}
