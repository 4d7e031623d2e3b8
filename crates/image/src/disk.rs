//! A disk image with a release in slot A, made without loop devices and without root.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::{Guid, SectorSize, types};
use twinroot_host::disk::table;

use crate::Outcome;
use crate::build::{Description, Partitions, read_description};
use crate::content::{self, Content};
use crate::files;
use crate::output::Progress;

/// What the disk is to be.
#[derive(Debug)]
pub struct Order {
    /// What goes onto it.
    pub content: Content,
    /// File of the disk; must not exist.
    pub out: PathBuf,
    /// Bytes of the state partition, where it is to be larger than the recipe's.
    pub state: Option<u64>,
    /// Bytes of a sector.
    pub sector: SectorSize,
}

/// Makes the disk.
///
/// # Errors
/// `file-io` where the file exists, `slot-too-small`, `tool-missing`, `tool-failed`, `disk-full`.
pub fn make(order: &Order, progress: &Progress) -> Outcome<Description> {
    let description = read_description(&order.content.image)?;
    let mut new = order.out.clone().into_os_string();
    new.push(".part");
    let new = PathBuf::from(new);
    files::remove(&new)?;
    if order.out.exists() {
        let cause = "exists already";
        return Err(
            Failure::new(Code::FileIo, order.out.display().to_string(), cause)
                .with_remedy("remove it or choose another name"),
        );
    }
    let sizes = Partitions {
        state: order.state.unwrap_or(description.partitions.state),
        ..description.partitions
    };
    progress.step("partition table");
    table::create(&new, order.sector, &content::wanted(&sizes))?;
    content::write_slot(&new, &order.content.image, &description, progress)?;
    let folder = order
        .out
        .parent()
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let work =
        tempfile::tempdir_in(folder).map_err(|error| files::failed(folder, "use", &error))?;
    let work = work.path();
    let size = |kind| place(&new, kind).map(|place| place.end - place.start);
    progress.step("EFI system partition");
    content::fill_esp(work, &order.content, &description)?;
    let esp = content::sized(work.join("esp.img"), size(types::ESP)?)?;
    content::make_fat(&esp, work, sizes.esp, order.sector)?;
    put(&new, types::ESP, &esp)?;
    progress.step("state partition");
    let state = content::sized(work.join("state.img"), size(types::VAR)?)?;
    content::make_ext4(&state, work, &order.content)?;
    put(&new, types::VAR, &state)?;
    files::rename(&new, &order.out)?;
    progress.end();
    Ok(description)
}

/// Where the one partition of a type lies, in bytes.
fn place(disk: &Path, kind: Guid) -> Outcome<std::ops::Range<u64>> {
    let table = table::read(disk)?;
    let found = table
        .partitions
        .iter()
        .find(|partition| partition.kind == kind);
    let found = found.ok_or_else(|| {
        Failure::new(
            Code::TableInvalid,
            disk.display().to_string(),
            "a partition is missing",
        )
    })?;
    Ok(found.bytes(table.sector))
}

/// Copies a file system into its partition; what is zero stays a hole.
fn put(disk: &Path, kind: Guid, image: &Path) -> Outcome<()> {
    let place = place(disk, kind)?;
    let mut from = File::open(image).map_err(|error| files::failed(image, "open", &error))?;
    let to = File::options()
        .write(true)
        .open(disk)
        .map_err(|error| files::failed(disk, "open", &error))?;
    let mut piece = vec![0; 1 << 16];
    let mut at = place.start;
    loop {
        let count = from
            .read(&mut piece)
            .map_err(|error| files::failed(image, "read", &error))?;
        if count == 0 {
            break;
        }
        if at + count as u64 > place.end {
            return Err(Failure::new(
                Code::TableDoesNotFit,
                disk.display().to_string(),
                "a file system is larger than its partition",
            ));
        }
        if piece[..count].iter().any(|byte| *byte != 0) {
            to.write_all_at(&piece[..count], at)
                .map_err(|error| files::failed(disk, "write", &error))?;
        }
        at += count as u64;
    }
    to.sync_all()
        .map_err(|error| files::failed(disk, "flush", &error))
}
