//! The parts of an index as values, and their bounds.

use crate::verity::{BLOCK, Hash};

/// The format this crate reads and writes.
pub const FORMAT: u32 = 1;

/// First bytes of every payload.
pub(crate) const MAGIC: &[u8; 8] = b"twinroot";

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 128;

/// Bytes of one segment record.
pub(crate) const RECORD_BYTES: usize = 72;

/// Most blocks of a segment: 4 MiB. A worker holds one coded and one decoded segment, so this is
/// what bounds its memory (2 × 4 MiB).
pub const SEGMENT_BLOCKS_MAX: u32 = 1024;

/// Largest index: 12 MiB. The node holds the index in memory while it applies; with keys of six
/// bytes this is enough for 8 GiB of distinct blocks, and a 4 GiB image stays near 6 MiB.
pub const INDEX_MAX: u64 = 12 << 20;

/// How many bytes of a block's salted hash the index may carry. Below five, chance matches in
/// ordinary images would be common enough to cost more in refetched segments than they save.
pub const KEY_WIDTHS: core::ops::RangeInclusive<u8> = 5..=8;

/// What the first bytes of the index say of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Most blocks in a segment.
    pub segment_blocks: u32,
    /// Number of segments.
    pub segments: u32,
    /// Blocks of the image.
    pub image_blocks: u64,
    /// Distinct blocks that are not zero: as many keys follow.
    pub distinct_blocks: u64,
    /// Bytes of the section of runs.
    pub runs_bytes: u64,
    /// Size of the payload file: index and coded segments.
    pub file_bytes: u64,
    /// Bytes of each key.
    pub key_width: u8,
    /// Root hash of the image's verity tree.
    pub root_hash: Hash,
}

impl Header {
    /// Size of the index in bytes; `None` where the counts overflow.
    #[must_use]
    pub fn index_bytes(&self) -> Option<u64> {
        let records = u64::from(self.segments).checked_mul(RECORD_BYTES as u64)?;
        let keys = self
            .distinct_blocks
            .checked_mul(u64::from(self.key_width))?;
        (HEADER_BYTES as u64)
            .checked_add(records)?
            .checked_add(self.runs_bytes)?
            .checked_add(keys)
    }

    /// Where the section of runs starts.
    pub(crate) fn runs_start(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.segments) * RECORD_BYTES as u64
    }

    /// Where the keys start.
    pub(crate) fn keys_start(&self) -> u64 {
        self.runs_start() + self.runs_bytes
    }

    /// The most bytes that a segment decodes to.
    #[must_use]
    pub fn segment_bytes(&self) -> usize {
        self.segment_blocks as usize * BLOCK
    }
}

/// How a segment's blocks are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Blocks of zeroes: no coded bytes.
    Zero,
    /// The blocks as they are.
    Raw,
    /// One zstd frame that names its content size.
    Zstd,
}

impl Coding {
    /// The byte that stands for it. Patch codings will take the next numbers.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::Raw => 1,
            Self::Zstd => 2,
        }
    }

    /// The coding that a byte stands for.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Zero, Self::Raw, Self::Zstd]
            .into_iter()
            .find(|coding| coding.byte() == byte)
    }
}

/// One segment's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u32,
    /// How it is coded.
    pub coding: Coding,
    /// For how many releases its blocks had been in the image without a gap when this one was
    /// made: 0 is new in this release. For people and tools; applying does not depend on it.
    pub age: u16,
    /// Distinct blocks it decodes to; 0 for a zero segment.
    pub blocks: u32,
    /// Where its coded bytes start in the payload file.
    pub coded_start: u64,
    /// How many coded bytes there are.
    pub coded_bytes: u32,
    /// SHA-256 of the coded bytes.
    pub digest: Hash,
    /// Number of its first key.
    pub first_key: u64,
    /// Where its runs start, counted from the section of runs.
    pub runs_start: u64,
    /// Bytes of its runs.
    pub runs_bytes: u32,
}

impl Segment {
    /// Range of the coded bytes in the payload file.
    #[must_use]
    pub fn coded(&self) -> core::ops::Range<u64> {
        self.coded_start..self.coded_start + u64::from(self.coded_bytes)
    }

    /// Bytes it decodes to.
    #[must_use]
    pub fn decoded_bytes(&self) -> usize {
        self.blocks as usize * BLOCK
    }
}

/// A run of image blocks that a segment yields: blocks `from..from + count` of the segment are
/// blocks `target..target + count` of the image. In a zero segment `from` means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First block in the image.
    pub target: u64,
    /// First block in the segment.
    pub from: u32,
    /// Number of blocks, at least one.
    pub count: u32,
}

/// The key of a block: the first `width` bytes of its salted hash, as a little-endian number.
/// A hint for finding blocks, never a ground for trusting them.
pub(crate) fn key_of(hash: &[u8], width: u8) -> u64 {
    let mut key = [0; 8];
    let width = usize::from(width);
    key[..width].copy_from_slice(&hash[..width]);
    u64::from_le_bytes(key)
}
