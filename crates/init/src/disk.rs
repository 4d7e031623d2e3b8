//! The disk that the machine was booted from, and its partitions as the kernel has them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gptman::{GPT, GPTPartitionEntry};
use twinroot_core::layout::{Guid, Partition, PartitionTable, SectorSize};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_payload::verity::{Claim, claimed_root};

use crate::trouble::{Outcome, Trouble};

/// Where the kernel lists whole disks.
const DISKS: &str = "/sys/block";

/// A disk with a partition table.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// Its name: `vda`, `nvme0n1`.
    pub(crate) name: String,
    /// Its table.
    pub(crate) table: PartitionTable,
}

/// A partition as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its node.
    pub(crate) node: PathBuf,
    /// `major:minor`.
    pub(crate) number: String,
    /// Sectors of 512 bytes.
    pub(crate) sectors: u64,
}

/// Every disk that has a partition with this UUID. What cannot be read as a table is no such disk.
pub(crate) fn with_partition(uuid: Guid) -> Vec<Disk> {
    names()
        .into_iter()
        .filter_map(|name| {
            let table = read_table(&name).ok()?;
            let has = table.partitions.iter().any(|one| one.uuid == uuid);
            has.then_some(Disk { name, table })
        })
        .collect()
}

/// Names of all whole disks, sorted.
pub(crate) fn names() -> Vec<String> {
    let listed = std::fs::read_dir(DISKS).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| size_of(Path::new(DISKS).join(name)) > 0)
        .collect();
    names.sort();
    names
}

/// Sectors of 512 bytes, by sysfs.
fn size_of(device: PathBuf) -> u64 {
    std::fs::read_to_string(device.join("size"))
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// The node of a whole disk.
pub(crate) fn node(name: &str) -> PathBuf {
    // The kernel writes `/` in a name as `!` in sysfs (cciss!c0d0).
    Path::new("/dev").join(name.replace('!', "/"))
}

/// Reads a partition table, the copy at the end where the first one is damaged.
pub(crate) fn read_table(name: &str) -> Outcome<PartitionTable> {
    let path = node(name);
    let mut file = File::open(&path).map_err(Trouble::on("open", &path))?;
    let gpt = GPT::find_from(&mut file).map_err(Trouble::on("read the table of", &path))?;
    let disk = path.display().to_string();
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

/// The kernel's device of a partition of this disk: the one at exactly that place.
pub(crate) fn device(disk: &Disk, partition: &Partition) -> Outcome<Device> {
    let wanted = partition.bytes(disk.table.sector);
    let folder = Path::new(DISKS).join(&disk.name);
    let listed = std::fs::read_dir(&folder).map_err(Trouble::on("list", &folder))?;
    for entry in listed.flatten() {
        let path = entry.path();
        let text = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        // sysfs counts in 512 bytes, whatever the sectors of the disk are.
        let bytes = |name: &str| text(name).trim().parse::<u64>().ok()?.checked_mul(512);
        let place = bytes("start").zip(bytes("size"));
        if path.join("partition").exists()
            && place == Some((wanted.start, wanted.end - wanted.start))
        {
            return Ok(Device {
                node: node(&entry.file_name().to_string_lossy()),
                number: text("dev").trim().to_owned(),
                sectors: (wanted.end - wanted.start) / 512,
            });
        }
    }
    let name = format!("{} of {}", partition.name(), node(&disk.name).display());
    Err(Trouble::failed(
        "find",
        name,
        "the kernel has no partition there, though the table has",
    ))
}

/// A partition, for the reader of hash trees.
struct Reader {
    file: File,
    size: u64,
}

impl ReadAt for Reader {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| Fault::disk(error.to_string()))
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.size)
    }
}

/// What a tree partition claims to hold.
pub(crate) fn claim(tree: &Device) -> Outcome<Option<Claim>> {
    let file = File::open(&tree.node).map_err(Trouble::on("open", &tree.node))?;
    let reader = Reader {
        file,
        size: tree.sectors.saturating_mul(512),
    };
    claimed_root(&reader).map_err(Trouble::on("read the hash tree on", &tree.node))
}

/// Whether a controller is still looking for its disks.
pub(crate) fn are_coming() -> bool {
    let controllers = std::fs::read_dir("/sys/class/nvme").into_iter().flatten();
    controllers.flatten().any(|controller| {
        let state = std::fs::read_to_string(controller.path().join("state")).unwrap_or_default();
        matches!(state.trim(), "new" | "connecting" | "resetting")
    })
}
