//! A partition table as plain numbers, and the checks that hold for every table.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use super::Guid;
use crate::error::{Code, Failure};

/// Bytes of a logical sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectorSize {
    /// 512.
    S512,
    /// 4096.
    S4096,
}

impl SectorSize {
    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            SectorSize::S512 => 512,
            SectorSize::S4096 => 4096,
        }
    }

    /// From what a device says of itself.
    ///
    /// # Errors
    /// `table-invalid` for any other size.
    pub fn from_bytes(disk: &str, bytes: u64) -> Result<Self, Failure> {
        match bytes {
            512 => Ok(SectorSize::S512),
            4096 => Ok(SectorSize::S4096),
            _ => Err(Failure::new(
                Code::TableInvalid,
                disk,
                format!("its sectors have {bytes} bytes; 512 and 4096 are known"),
            )),
        }
    }
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Number in the table, from 1.
    pub number: u32,
    /// Type.
    pub kind: Guid,
    /// Its own UUID.
    pub uuid: Guid,
    /// Label.
    pub label: String,
    /// First sector.
    pub first: u64,
    /// Last sector, inclusive.
    pub last: u64,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// The disk, for messages.
    pub disk: String,
    /// The disk's own GUID.
    pub uuid: Guid,
    /// Bytes of a sector.
    pub sector: SectorSize,
    /// Sectors that partitions may use.
    pub usable: Range<u64>,
    /// Rows that are in use, in any order.
    pub partitions: Vec<Partition>,
}

impl Partition {
    /// Its name in messages: label, and number to tell twins apart.
    #[must_use]
    pub fn name(&self) -> String {
        match self.label.as_str() {
            "" => format!("partition {}", self.number),
            label => format!("{label} (partition {})", self.number),
        }
    }

    /// Where it lies on the disk, in bytes. Only for tables that [`PartitionTable::check`] accepts.
    #[must_use]
    pub fn bytes(&self, sector: SectorSize) -> Range<u64> {
        let at = |number: u64| number.saturating_mul(sector.bytes());
        at(self.first)..at(self.last.saturating_add(1))
    }
}

impl PartitionTable {
    /// Checks what must hold of any table: rows within the disk, none backwards, none over another,
    /// no UUID or number twice.
    ///
    /// # Errors
    /// `table-invalid` or, for a UUID that stands twice, `slot-ambiguous`.
    pub fn check(&self) -> Result<(), Failure> {
        let invalid = |cause: String| Failure::new(Code::TableInvalid, self.disk.clone(), cause);
        if self.usable.end.checked_mul(self.sector.bytes()).is_none() {
            return Err(invalid(
                "it claims to be larger than disks can be".to_string(),
            ));
        }
        for partition in &self.partitions {
            if partition.first > partition.last {
                return Err(invalid(format!(
                    "{} ends before it begins",
                    partition.name()
                )));
            }
            let inside =
                self.usable.contains(&partition.first) && self.usable.contains(&partition.last);
            if !inside {
                let name = partition.name();
                return Err(invalid(format!(
                    "{name} lies outside of the usable sectors"
                )));
            }
        }
        let mut by_place: Vec<&Partition> = self.partitions.iter().collect();
        by_place.sort_by_key(|partition| partition.first);
        for pair in by_place.windows(2) {
            if pair[0].last >= pair[1].first {
                let (one, other) = (pair[0].name(), pair[1].name());
                return Err(invalid(format!("{one} and {other} overlap")));
            }
        }
        self.check_names()
    }

    fn check_names(&self) -> Result<(), Failure> {
        for (n, one) in self.partitions.iter().enumerate() {
            for other in &self.partitions[n + 1..] {
                let cause = if one.uuid == other.uuid {
                    format!(
                        "{} and {} have the same UUID {}",
                        one.name(),
                        other.name(),
                        one.uuid
                    )
                } else if one.number == other.number {
                    format!("{} and {} have the same number", one.name(), other.name())
                } else {
                    continue;
                };
                return Err(Failure::new(Code::SlotAmbiguous, self.disk.clone(), cause));
            }
        }
        Ok(())
    }
}
