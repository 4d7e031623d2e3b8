//! Planning the table of a disk that is installed anew.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::types::{self, Architecture, Holds, slot_types};
use super::{Guid, Partition, PartitionTable, SectorSize, data_label};
use crate::error::{Code, Failure};

/// Partitions begin at multiples of this: 1 MiB suits every RAID stripe and flash block in use.
const ALIGN: u64 = 1 << 20;
/// Bytes of the array of 128 rows of 128 bytes (UEFI specification, 5.3: at least 16 KiB).
const ROWS: u64 = 128 * 128;

/// The disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSize {
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes of a sector.
    pub sector: SectorSize,
}

/// What is wanted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizesWanted {
    /// What a slot holds.
    pub holds: Holds,
    /// For which architecture.
    pub architecture: Architecture,
    /// Bytes of the EFI system partition.
    pub esp: u64,
    /// Bytes of each slot's data partition.
    pub data: u64,
    /// Bytes of each slot's tree partition.
    pub tree: u64,
    /// Bytes that the state partition must have at least; it gets all that is left.
    pub state: u64,
}

/// Lays out ESP, both slots and state. `uuid` is a random GUID for the disk, from which those of
/// the partitions are derived.
///
/// # Errors
/// `table-does-not-fit`, saying what is missing, if the disk is too small; `bad-request` for a size
/// of nothing.
pub fn plan_table(
    disk: &str,
    size: DiskSize,
    wanted: &SizesWanted,
    uuid: Guid,
) -> Result<PartitionTable, Failure> {
    let (data, tree) = slot_types(wanted.holds, wanted.architecture);
    let [a, b] = ["a", "b"].map(|letter| data_label(wanted.holds, letter));
    let verity = |label: &String| label.clone() + "-verity";
    let fixed = [
        ("esp".to_string(), types::ESP, wanted.esp),
        (verity(&a), tree, wanted.tree),
        (a, data, wanted.data),
        (verity(&b), tree, wanted.tree),
        (b, data, wanted.data),
    ];
    if fixed.iter().any(|(_, _, bytes)| *bytes == 0) || wanted.state == 0 {
        return Err(Failure::new(
            Code::BadRequest,
            disk,
            "a partition of no size was asked for",
        ));
    }
    let usable = usable(size);
    let mut table = PartitionTable {
        disk: disk.to_string(),
        uuid,
        sector: size.sector,
        usable: usable.clone(),
        partitions: Vec::new(),
    };
    let sector = size.sector.bytes();
    let mut at = align(usable.start * sector);
    for (label, kind, bytes) in fixed {
        let end = align(at.saturating_add(bytes));
        table.push(label, kind, at / sector..end / sector);
        at = end;
    }
    let end = usable.end * sector / ALIGN * ALIGN;
    let needed = at.saturating_add(wanted.state);
    if needed > end {
        let short = crate::text::size(needed - end);
        let cause = format!("the partitions wanted need {short} more than it has");
        return Err(Failure::new(Code::TableDoesNotFit, disk, cause));
    }
    table.push("state".to_string(), types::VAR, at / sector..end / sector);
    table.check()?;
    Ok(table)
}

/// Sectors between the two copies of the table: behind protective MBR, header and rows, before rows
/// and header of the copy at the end.
fn usable(size: DiskSize) -> core::ops::Range<u64> {
    let sector = size.sector.bytes();
    let rows = ROWS.div_ceil(sector);
    2 + rows..(size.bytes / sector).saturating_sub(1 + rows).max(2 + rows)
}

fn align(bytes: u64) -> u64 {
    bytes
        .checked_next_multiple_of(ALIGN)
        .unwrap_or(u64::MAX / ALIGN * ALIGN)
}

impl PartitionTable {
    fn push(&mut self, label: String, kind: Guid, sectors: core::ops::Range<u64>) {
        let uuid = Guid::derived(self.uuid, &label);
        let number = self.partitions.len() as u32 + 1; // six at the most
        let last = sectors.end.saturating_sub(1);
        self.partitions.push(Partition {
            number,
            kind,
            uuid,
            label,
            first: sectors.start,
            last,
        });
    }
}
