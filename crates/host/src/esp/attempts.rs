//! The initramfs's attempt record on the ESP (its format: `core::bootfmt::attempt`).
//!
//! It is preallocated once and then overwritten in place, one 512-byte copy at a time, so that no
//! write of it ever touches the allocation table or a folder.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::OFlag;
pub use twinroot_core::bootfmt::attempt::PATH;
use twinroot_core::bootfmt::attempt::{AttemptRecord, FILE};
use twinroot_ports::Outcome;

use super::volume::{Volume, esp_failure, write_durably};

/// Reads the record; what is missing or damaged reads as the empty record.
///
/// # Errors
/// What the operating system says of a file that cannot be read.
pub fn read(volume: &Volume) -> Outcome<AttemptRecord> {
    Ok(AttemptRecord::read(&bytes(volume)?))
}

fn bytes(volume: &Volume) -> Outcome<Vec<u8>> {
    Ok(volume
        .read_small(PATH, FILE as u64 + 1)?
        .unwrap_or_default())
}

/// Makes the file where it is missing or has another size.
///
/// # Errors
/// `esp-full`, `esp-read-only`.
pub fn prepare(volume: &Volume) -> Outcome<()> {
    if bytes(volume)?.len() == FILE {
        return Ok(());
    }
    let mut file = volume.create(PATH)?;
    write_durably(&mut file, &volume.path(PATH), &[0; FILE])?;
    volume.settle(PATH)
}

/// Writes the record over the older copy, durably. Nothing is written where nothing changes.
///
/// # Errors
/// `esp-full`, `esp-read-only`.
pub fn write(volume: &Volume, record: &AttemptRecord) -> Outcome<()> {
    prepare(volume)?;
    let before = bytes(volume)?;
    if AttemptRecord::read(&before) == *record {
        return Ok(());
    }
    let copy = record.write(&before);
    let path = volume.path(PATH);
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
    let file = File::options()
        .write(true)
        .custom_flags(flags)
        .open(&path)
        .map_err(|error| esp_failure(&path, "open", &error))?;
    file.write_all_at(&copy.bytes, copy.offset as u64)
        .and_then(|()| file.sync_data())
        .map_err(|error| esp_failure(&path, "write", &error))
}
