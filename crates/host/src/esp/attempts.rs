//! The initramfs's attempt record on the ESP (its format: `core::bootfmt::attempt`).

use twinroot_core::bootfmt::attempt::AttemptRecord;
pub use twinroot_core::bootfmt::attempt::PATH;
use twinroot_ports::Outcome;

use super::twin;
use super::volume::Volume;

/// Reads the record; what is missing or damaged reads as the empty record.
///
/// # Errors
/// What the operating system says of a file that cannot be read.
pub fn read(volume: &Volume) -> Outcome<AttemptRecord> {
    Ok(AttemptRecord::read(&twin::bytes(volume, PATH)?))
}

/// Makes the file where it is missing or has another size.
///
/// # Errors
/// `esp-full`, `esp-read-only`.
pub fn prepare(volume: &Volume) -> Outcome<()> {
    twin::prepare(volume, PATH)
}

/// Writes the record over the older copy, durably. Nothing is written where nothing changes.
///
/// # Errors
/// `esp-full`, `esp-read-only`.
pub fn write(volume: &Volume, record: &AttemptRecord) -> Outcome<()> {
    prepare(volume)?;
    let before = twin::bytes(volume, PATH)?;
    if AttemptRecord::read(&before) == *record {
        return Ok(());
    }
    twin::overwrite(volume, PATH, &record.write(&before))
}
