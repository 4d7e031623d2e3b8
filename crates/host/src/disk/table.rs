//! Reading and writing GPT, over an image file or a device. What a table means, `core::layout` says.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use gptman::{GPT, GPTPartitionEntry};
use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::{
    DiskSize, Guid, Layout, Partition, PartitionTable, SectorSize, SizesWanted, SlotsOnDisk, Tree,
    locate, plan_table,
};
use twinroot_core::slot::{Part, SlotName};
use twinroot_ports::Outcome;

use super::device;
use crate::fail::io_failure;

/// Where a part of a slot lies, in bytes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) size: u64,
}

/// Reads the table and finds the slots in it.
pub(super) fn find(path: &Path, layout: &Layout) -> Outcome<SlotsOnDisk> {
    locate(&read(path)?, layout)
}

/// Where a part of a slot lies.
pub(super) fn place(slots: &SlotsOnDisk, slot: SlotName, part: Part) -> Outcome<Place> {
    let found = slots.slot(slot);
    let partition = match (part, &found.tree) {
        (Part::Data, _) => &found.data,
        (Part::Tree, Tree::Partition(tree)) => tree,
        (Part::Tree, Tree::BehindData) => {
            let cause = "its hash tree lies behind the image; this version drives layouts with a partition for it";
            return Err(Failure::new(
                Code::SlotMissing,
                format!("slot {slot}"),
                cause,
            ));
        }
    };
    let bytes = partition.bytes(slots.sector);
    Ok(Place {
        start: bytes.start,
        size: bytes.end - bytes.start,
    })
}

/// Reads the partition table, the copy at the end where the first one is damaged.
///
/// # Errors
/// `table-invalid`, and what the operating system says.
pub fn read(path: &Path) -> Outcome<PartitionTable> {
    device::kind(path)?;
    let mut file = device::open(path, false, false)?;
    let disk = path.display().to_string();
    let gpt = GPT::find_from(&mut file)
        .map_err(|error| Failure::new(Code::TableInvalid, &*disk, error.to_string()))?;
    let row = |(number, entry): (u32, &GPTPartitionEntry)| Partition {
        number,
        kind: Guid::from_disk(entry.partition_type_guid),
        uuid: Guid::from_disk(entry.unique_partition_guid),
        label: entry
            .partition_name
            .as_str()
            .trim_end_matches('\0')
            .to_owned(),
        first: entry.starting_lba,
        last: entry.ending_lba,
    };
    Ok(PartitionTable {
        sector: SectorSize::from_bytes(&disk, gpt.sector_size)?,
        uuid: Guid::from_disk(gpt.header.disk_guid),
        usable: gpt.header.first_usable_lba..gpt.header.last_usable_lba.saturating_add(1),
        partitions: gpt
            .iter()
            .filter(|(_, entry)| entry.is_used())
            .map(row)
            .collect(),
        disk,
    })
}

/// Makes a sparse disk image of the smallest size that holds what is wanted.
///
/// # Errors
/// `file-io` where the file exists, and what the operating system says.
pub fn create(path: &Path, sector: SectorSize, wanted: &SizesWanted) -> Outcome<()> {
    // Each partition is rounded up and the table needs room at both ends; 16 MiB cover that for six
    // partitions at an alignment of 1 MiB.
    const ROUNDING: u64 = 16 * 1024 * 1024;
    let parts = [
        wanted.esp,
        wanted.data,
        wanted.data,
        wanted.tree,
        wanted.tree,
        wanted.state,
        ROUNDING,
    ];
    let bytes = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(*part));
    let size = DiskSize {
        bytes: bytes.next_multiple_of(sector.bytes()),
        sector,
    };
    let table = plan_table(&path.display().to_string(), size, wanted, random_guid()?)?;
    let failed = |verb: &'static str| {
        move |error: std::io::Error| io_failure(Code::FileIo, path, verb, &error)
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("create"))?;
    file.set_len(size.bytes).map_err(failed("size"))?;
    write(&mut file, path, &table)?;
    file.sync_all().map_err(failed("flush"))
}

/// Writes both copies of a table and the protective MBR.
///
/// # Errors
/// `table-invalid`, and what the operating system says.
pub fn write(file: &mut File, path: &Path, table: &PartitionTable) -> Outcome<()> {
    let failed = |error: gptman::Error| {
        Failure::new(
            Code::TableInvalid,
            path.display().to_string(),
            error.to_string(),
        )
    };
    let sector = table.sector.bytes();
    let mut gpt = GPT::new_from(file, sector, table.uuid.to_disk()).map_err(failed)?;
    for partition in &table.partitions {
        gpt[partition.number] = GPTPartitionEntry {
            partition_type_guid: partition.kind.to_disk(),
            unique_partition_guid: partition.uuid.to_disk(),
            starting_lba: partition.first,
            ending_lba: partition.last,
            attribute_bits: 0,
            partition_name: partition.label.as_str().into(),
        };
    }
    gpt.write_into(file).map_err(failed)?;
    GPT::write_protective_mbr_into(file, sector).map_err(failed)
}

/// The kernel makes a random UUID at each read.
fn random_guid() -> Outcome<Guid> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let text = std::fs::read_to_string(path)
        .map_err(|error| io_failure(Code::ToolMissing, path, "read", &error))?;
    text.trim().parse().map_err(|error| {
        Failure::new(
            Code::ToolMissing,
            path.display().to_string(),
            format!("{error}"),
        )
    })
}
