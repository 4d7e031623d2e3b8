//! Disk layout as data: what a disk must look like, and where its slots are.
//!
//! A partition is known by its type and by one more mark (a label or a UUID), never by its number:
//! numbers change when somebody edits a table. What is not there, is there twice, overlaps or ends
//! beyond the disk is refused, since everything after this writes to what is found here.

mod guid;
mod locate;
mod plan;
mod table;
pub mod types;

use alloc::string::{String, ToString};

pub use guid::{BadGuid, Guid};
pub use locate::{SlotOnDisk, SlotsOnDisk, Tree, locate};
pub use plan::{DiskSize, SizesWanted, plan_table};
pub use table::{Partition, PartitionTable, SectorSize};
pub use types::{Architecture, Holds};

/// How a partition is told from others of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// By its label.
    Label(String),
    /// By its own UUID, the same on every machine.
    Uuid(Guid),
    /// It is the only one of its type.
    OnlyOne,
}

/// One partition that a layout has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its type; nothing where any type will do because the mark says enough.
    pub kind: Option<Guid>,
    /// What tells it from others.
    pub mark: Mark,
}

/// Where a slot's hash tree lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreePlace {
    /// In a partition of its own.
    Partition(Wanted),
    /// In the data partition, behind the image, from the offset that the manifest's size gives.
    BehindData,
}

/// One slot of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLayout {
    /// The image.
    pub data: Wanted,
    /// Its hash tree.
    pub tree: TreePlace,
}

/// Which UUIDs a slot's partitions carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UuidRule {
    /// They stay what they were at installation; the initramfs finds the slot by its content.
    Fixed,
    /// Both halves of the root hash, for an initramfs that finds the slot by them.
    FromRootHash,
}

/// A layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// EFI system partition.
    pub esp: Wanted,
    /// Slots A and B.
    pub slots: [SlotLayout; 2],
    /// The state partition.
    pub state: Wanted,
    /// UUIDs of the slots' partitions.
    pub uuids: UuidRule,
}

impl Layout {
    /// twinroot's own layout: `root-a`, `root-a-verity`, `root-b`, `root-b-verity` (or `usr-…`) and
    /// `state`, told apart by label.
    #[must_use]
    pub fn twinroot(holds: Holds, architecture: Architecture) -> Self {
        let (data, tree) = types::slot_types(holds, architecture);
        let slot = |letter: &str| {
            let label = data_label(holds, letter);
            let tree_label = label.clone() + "-verity";
            SlotLayout {
                data: Wanted {
                    kind: Some(data),
                    mark: Mark::Label(label),
                },
                tree: TreePlace::Partition(Wanted {
                    kind: Some(tree),
                    mark: Mark::Label(tree_label),
                }),
            }
        };
        Layout {
            esp: Wanted {
                kind: Some(types::ESP),
                mark: Mark::OnlyOne,
            },
            slots: [slot("a"), slot("b")],
            state: Wanted {
                kind: Some(types::VAR),
                mark: Mark::Label("state".to_string()),
            },
            uuids: UuidRule::Fixed,
        }
    }

    /// A layout with one partition a slot, known by fixed UUIDs and with the tree behind the image,
    /// as hosts of the ChromeOS and Flatcar family have it (`USR-A`, `USR-B`).
    #[must_use]
    pub fn fixed_uuids(slots: [Guid; 2], state: Wanted) -> Self {
        let slot = |uuid| SlotLayout {
            data: Wanted {
                kind: None,
                mark: Mark::Uuid(uuid),
            },
            tree: TreePlace::BehindData,
        };
        Layout {
            esp: Wanted {
                kind: Some(types::ESP),
                mark: Mark::OnlyOne,
            },
            slots: slots.map(slot),
            state,
            uuids: UuidRule::Fixed,
        }
    }
}

fn data_label(holds: Holds, letter: &str) -> String {
    let stem = match holds {
        Holds::Root => "root-",
        Holds::Usr => "usr-",
    };
    stem.to_string() + letter
}

#[cfg(test)]
mod tests;
