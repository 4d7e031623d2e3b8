//! The state partition on `/var`, and the overlay over `/etc` that keeps its upper layer there.

use std::fs::create_dir_all;
use std::path::Path;

use nix::mount::MsFlags;
use twinroot_core::bootfmt::dm::Target;
use twinroot_core::bootfmt::start::{ETC_UPPER, ETC_WORK};
use twinroot_core::layout::SlotsOnDisk;

use crate::boot::SYSROOT;
use crate::disk::{self, Device, Disk};
use crate::trouble::{Outcome, Trouble};
use crate::{dm, grow, log, mounts};

/// The one name under which state is opened, so that encryption can come under it later without a
/// new layout.
const MAPPING: &str = "twinroot-state";

/// Mounts both below the new root.
pub(crate) fn bring_up(disk: &Disk, found: &SlotsOnDisk) -> Outcome<()> {
    let device = grown(disk, found)?;
    let target = Target::linear(&device.number, device.sectors);
    let uuid = format!("TWINROOT-{MAPPING}");
    let state = dm::map(MAPPING, &uuid, &target, false)?;
    let var = format!("{SYSROOT}/var");
    mounts::file_system(&state.node, "ext4", &var, MsFlags::MS_NODEV, "")?;
    grow::file_system(Path::new(&state.node), &var, device.sectors);
    overlay(Path::new(&var))
}

/// The same with an empty state in memory: nothing that is written there outlives this start.
pub(crate) fn in_memory() -> Outcome<()> {
    let var = format!("{SYSROOT}/var");
    // Half of the memory is the kernel's own bound for such a file system.
    mounts::file_system("tmpfs", "tmpfs", &var, MsFlags::MS_NODEV, "mode=0755")?;
    overlay(Path::new(&var))
}

/// The partition, first made as large as the disk allows. Where that fails the node runs with what
/// it has.
fn grown(disk: &Disk, found: &SlotsOnDisk) -> Outcome<Device> {
    match grow::partition(disk, &found.state) {
        Ok(Some(partition)) => disk::device(disk, &partition),
        Ok(None) => disk::device(disk, &found.state),
        Err(trouble) => {
            log::warning(&format!("the state partition stays as it is: {trouble}"));
            disk::device(disk, &found.state)
        }
    }
}

fn overlay(var: &Path) -> Outcome<()> {
    let (upper, work) = (var.join(ETC_UPPER), var.join(ETC_WORK));
    for folder in [&upper, &work] {
        create_dir_all(folder).map_err(Trouble::on("make", folder))?;
    }
    let etc = format!("{SYSROOT}/etc");
    let options = mounts::etc_options(Path::new(&etc), &upper, &work);
    mounts::file_system("overlay", "overlay", &etc, MsFlags::MS_NODEV, &options)
}
