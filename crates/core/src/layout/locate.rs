//! Finding the slots in a table.

use alloc::format;
use alloc::string::String;

use super::{
    Guid, Layout, Mark, Partition, PartitionTable, SectorSize, SlotLayout, TreePlace, Wanted,
};
use crate::error::{Code, Failure};
use crate::slot::SlotName;

/// Where a slot's hash tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// In a partition of its own.
    Partition(Partition),
    /// In the data partition, behind the image.
    BehindData,
}

/// One slot that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotOnDisk {
    /// The image.
    pub data: Partition,
    /// Its hash tree.
    pub tree: Tree,
}

/// Everything of a layout that was found, each partition once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotsOnDisk {
    /// Bytes of a sector.
    pub sector: SectorSize,
    /// EFI system partition.
    pub esp: Partition,
    /// State partition.
    pub state: Partition,
    slots: [SlotOnDisk; 2],
}

impl SlotsOnDisk {
    /// One of the slots.
    #[must_use]
    pub const fn slot(&self, name: SlotName) -> &SlotOnDisk {
        &self.slots[name.index()]
    }
}

/// Finds ESP, both slots and the state partition.
///
/// # Errors
/// `table-invalid` for a table that contradicts itself; `slot-missing` and `slot-ambiguous` for a
/// partition of the layout that is not there or there more than once. Two parts of the layout that
/// come out as the same partition are ambiguous too: one would be written through the other.
pub fn locate(table: &PartitionTable, layout: &Layout) -> Result<SlotsOnDisk, Failure> {
    table.check()?;
    let slot = |name: SlotName| -> Result<SlotOnDisk, Failure> {
        let SlotLayout { data, tree } = &layout.slots[name.index()];
        let tree = match tree {
            TreePlace::BehindData => Tree::BehindData,
            TreePlace::Partition(wanted) => {
                Tree::Partition(find(table, &format!("hash tree of slot {name}"), wanted)?)
            }
        };
        Ok(SlotOnDisk {
            data: find(table, &format!("slot {name}"), data)?,
            tree,
        })
    };
    let found = SlotsOnDisk {
        sector: table.sector,
        esp: find(table, "EFI system partition", &layout.esp)?,
        state: find(table, "state partition", &layout.state)?,
        slots: [slot(SlotName::A)?, slot(SlotName::B)?],
    };
    distinct(table, &found)?;
    Ok(found)
}

fn find(table: &PartitionTable, what: &str, wanted: &Wanted) -> Result<Partition, Failure> {
    let fits = |partition: &&Partition| {
        let kind = wanted.kind.is_none_or(|kind| kind == partition.kind);
        kind && match &wanted.mark {
            Mark::Label(label) => partition.label == *label,
            Mark::Uuid(uuid) => partition.uuid == *uuid,
            Mark::OnlyOne => true,
        }
    };
    let mut found = table.partitions.iter().filter(fits);
    let subject = || format!("{}, {what}", table.disk);
    match (found.next(), found.next()) {
        (Some(partition), None) => Ok(partition.clone()),
        (None, _) => {
            let cause = format!("there is no partition {}", describe(wanted));
            Err(Failure::new(Code::SlotMissing, subject(), cause))
        }
        (Some(one), Some(other)) => {
            let cause = format!(
                "{} and {} both fit: {}",
                one.name(),
                other.name(),
                describe(wanted)
            );
            Err(Failure::new(Code::SlotAmbiguous, subject(), cause))
        }
    }
}

fn describe(wanted: &Wanted) -> String {
    let kind = wanted
        .kind
        .map(|kind| format!("of type {kind} "))
        .unwrap_or_default();
    match &wanted.mark {
        Mark::Label(label) => format!("{kind}with label {label}"),
        Mark::Uuid(uuid) => format!("{kind}with UUID {uuid}"),
        Mark::OnlyOne => format!("{kind}without a twin"),
    }
}

fn distinct(table: &PartitionTable, found: &SlotsOnDisk) -> Result<(), Failure> {
    let mut seen: alloc::vec::Vec<Guid> = alloc::vec![found.esp.uuid, found.state.uuid];
    for slot in &found.slots {
        seen.push(slot.data.uuid);
        if let Tree::Partition(tree) = &slot.tree {
            seen.push(tree.uuid);
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    if seen.len() == count {
        return Ok(());
    }
    let cause = "the layout names one partition for two purposes";
    Err(Failure::new(Code::SlotAmbiguous, table.disk.clone(), cause))
}
