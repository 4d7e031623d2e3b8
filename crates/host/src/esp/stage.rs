//! The stage mark on the ESP (its format: `core::bootfmt::stage`): how far each root's last start
//! came.

use twinroot_core::bootfmt::stage::{PATH, Stage, StageRecord, boot_id};
use twinroot_core::facts::SystemObserved;
use twinroot_ports::Outcome;

use super::twin;
use super::volume::Volume;

/// Reads the marks; what is missing or damaged reads as 'nothing is known'.
///
/// # Errors
/// What the operating system says of a file that cannot be read.
pub fn read(volume: &Volume) -> Outcome<StageRecord> {
    Ok(StageRecord::read(&twin::bytes(volume, PATH)?))
}

/// Makes the file where it is missing or has another size.
///
/// # Errors
/// `esp-full`, `esp-read-only`.
pub fn prepare(volume: &Volume) -> Outcome<()> {
    twin::prepare(volume, PATH)
}

/// Notes that the running system has come to `stage`. Nothing is written where that is known.
///
/// # Errors
/// `esp-full`, `esp-read-only`.
pub fn reached(volume: &Volume, system: &SystemObserved, stage: Stage) -> Outcome<()> {
    prepare(volume)?;
    let before = twin::bytes(volume, PATH)?;
    let record = StageRecord::read(&before);
    let after = record
        .clone()
        .reached(&system.root_hash, boot_id(&system.boot_id), stage);
    if after == record {
        return Ok(());
    }
    twin::overwrite(volume, PATH, &after.write(&before))
}
