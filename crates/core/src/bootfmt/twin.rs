//! A small record in two copies that are overwritten in place, the older one each time.
//!
//! The initramfs and the agent share a few facts through preallocated files on the ESP. FAT has no
//! journal, so such a file is never grown, renamed or made anew while it is in use: one copy has the
//! size of the largest unit that a sector write can tear, and a whole copy is there at every moment.
//!
//! One copy, little endian: magic (8), sequence from 1 (8), content (492), CRC-32/ISO-HDLC (4).

use core::ops::Range;

use crc::{CRC_32_ISO_HDLC, Crc};

/// Bytes of one copy: the sector size at which disks tear at worst (DESIGN, assumptions).
pub const COPY: usize = 512;
/// Bytes of the whole file.
pub const FILE: usize = 2 * COPY;
/// Where a record's own fields lie in a copy.
pub const CONTENT: Range<usize> = 16..CRC_AT;

const CRC_AT: usize = COPY - 4;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// One copy to be written, and where in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Offset in the file: 0 or [`COPY`].
    pub offset: usize,
    /// The bytes.
    pub bytes: [u8; COPY],
}

/// The newest whole copy in a file, whatever is in it; nothing where neither copy is whole (new,
/// torn, short, all zeros or all ones).
#[must_use]
pub fn newest<'a>(file: &'a [u8], magic: &[u8; 8]) -> Option<(u64, &'a [u8; COPY])> {
    copies(file, magic)
        .into_iter()
        .flatten()
        .max_by_key(|(sequence, _)| *sequence)
}

/// The next copy to write into a file that holds `file` now, from `bytes` with its content filled
/// in. It overwrites the copy that is not whole, else the older one: the newest whole copy is never
/// touched.
#[must_use]
pub fn next(file: &[u8], magic: &[u8; 8], mut bytes: [u8; COPY]) -> Write {
    let [first, second] = copies(file, magic).map(|copy| copy.map_or(0, |(sequence, _)| sequence));
    let sequence = first.max(second).saturating_add(1);
    bytes[..8].copy_from_slice(magic);
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    let crc = CRC.checksum(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    Write {
        offset: if first <= second { 0 } else { COPY },
        bytes,
    }
}

fn copies<'a>(file: &'a [u8], magic: &[u8; 8]) -> [Option<(u64, &'a [u8; COPY])>; 2] {
    [0, COPY].map(|at| {
        let bytes: &[u8; COPY] = file.get(at..at + COPY)?.try_into().ok()?;
        let crc = u32::from_le_bytes(bytes[CRC_AT..].try_into().ok()?);
        let sequence = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        // Sequence 0 is never written, and the last one would leave no room for a next.
        let usable = bytes.starts_with(magic) && (1..u64::MAX).contains(&sequence);
        (usable && crc == CRC.checksum(&bytes[..CRC_AT])).then_some((sequence, bytes))
    })
}
