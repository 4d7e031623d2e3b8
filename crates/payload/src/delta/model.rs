//! What the index of a delta says, as values, and its bounds.

use core::ops::Range;

use crate::delta::walk::Cursor;
use crate::verity::{BLOCK, Hash};

/// The format of deltas that this crate reads and writes.
pub const FORMAT: u32 = 1;

/// First bytes of every delta.
pub(crate) const MAGIC: &[u8; 8] = b"twindelt";

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 128;

/// Largest body once decoded: 4 MiB. The body of a delta between two releases of a 400 MB image
/// has some 50 KB; the node holds it in memory while it applies.
pub const BODY_MAX: usize = 4 << 20;

/// Most blocks of a segment, 4 MiB: a plain segment codes better the larger it is.
pub const SEGMENT_BLOCKS_MAX: u32 = 1024;

/// Most blocks gathered from the base for one segment, 4 MiB.
pub const BASE_BLOCKS_MAX: u32 = 1024;

/// Most blocks of segment and base together, 5 MiB: what a worker holds.
pub const HELD_BLOCKS_MAX: u32 = 1280;

/// Most coded bytes of a segment, 2 MiB: they are held by a worker, and wait in line before it.
pub const CODED_MAX: u32 = 2 << 20;

/// Largest control stream of a difference once decoded, 1 MiB: three numbers for each of some
/// hundred thousand pieces of a segment of a million bytes.
pub(crate) const CONTROL_MAX: usize = 1 << 20;

/// A byte of a difference is changed by at most one number of a gap, one of a length and one value, and a gap
/// is between two of them: three for each two bytes of output, and room to spare.
pub(crate) const STREAMS_PER_BYTE: usize = 2;

/// Streams of values of a difference, by how long the run is: 1, 2, 3, 4, and 5 or more. Addresses in
/// code have four bytes, small offsets one or two, and each kind is more like itself than like the others.
pub(crate) const VALUE_STREAMS: usize = 5;

/// Digests of one segment in the body: probe, output, coded bytes.
pub(crate) const DIGESTS_BYTES: usize = 4 + 32 + 32;

/// What base and target are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Images of whole blocks, named by their root hashes.
    Image,
    /// Files of any size, named by their SHA-256.
    File,
}

impl Kind {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Image => 0,
            Self::File => 1,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Image, Self::File]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// What the signed manifest says of a delta; the index must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// What it is made for.
    pub kind: Kind,
    /// Root hash or SHA-256 of the base.
    pub base: Hash,
    /// Root hash or SHA-256 of the target.
    pub target: Hash,
    /// Size of the target in bytes.
    pub target_bytes: u64,
    /// Size of the delta's file in bytes.
    pub file_bytes: u64,
}

/// The first bytes of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What base and target are.
    pub kind: Kind,
    /// Bytes that the body decodes to.
    pub body_bytes: u32,
    /// Size of the base in bytes.
    pub base_bytes: u64,
    /// Size of the target in bytes.
    pub target_bytes: u64,
    /// Size of the delta's file in bytes.
    pub file_bytes: u64,
    /// Number of segments.
    pub segments: u32,
    /// Number of runs.
    pub runs: u32,
    /// Root hash or SHA-256 of the base.
    pub base: Hash,
    /// Root hash or SHA-256 of the target.
    pub target: Hash,
}

impl Header {
    /// Blocks of the base, the last one padded.
    #[must_use]
    pub fn base_blocks(&self) -> u64 {
        self.base_bytes.div_ceil(BLOCK as u64)
    }

    /// Blocks of the target, the last one padded.
    #[must_use]
    pub fn target_blocks(&self) -> u64 {
        self.target_bytes.div_ceil(BLOCK as u64)
    }
}

/// How a segment of a delta is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// The blocks as they are.
    Raw,
    /// One zstd frame.
    Zstd,
    /// One zstd frame whose prefix is the segment's base.
    Prefix,
    /// Additions to pieces of the base, and what stands between them.
    Difference,
}

impl Coding {
    /// The byte that stands for it.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Raw => 1,
            Self::Zstd => 2,
            Self::Prefix => 3,
            // 4 was a difference with a byte for each that it adds nothing to.
            Self::Difference => 5,
        }
    }

    /// The coding that a byte stands for.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Raw, Self::Zstd, Self::Prefix, Self::Difference]
            .into_iter()
            .find(|coding| coding.byte() == byte)
    }

    /// Whether it needs a base.
    #[must_use]
    pub fn has_base(self) -> bool {
        matches!(self, Self::Prefix | Self::Difference)
    }
}

/// One segment of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: u32,
    /// How it is coded.
    pub coding: Coding,
    /// Blocks it decodes to.
    pub blocks: u32,
    /// Blocks of its base.
    pub base_blocks: u32,
    /// Where its coded bytes start in the file.
    pub coded_start: u64,
    /// How many coded bytes there are.
    pub coded_bytes: u32,
    /// First bytes of the SHA-256 of its first block: a hint.
    pub probe: [u8; 4],
    /// SHA-256 of what it decodes to.
    pub output: Hash,
    /// SHA-256 of its coded bytes.
    pub digest: Hash,
    /// Where its base ranges stand in the body, and where the range before them ends in the base.
    pub(crate) ranges: Range<usize>,
    pub(crate) ranges_after: u64,
    /// Where its first block stands among the runs.
    pub(crate) cursor: Cursor,
}

impl Segment {
    /// Range of the coded bytes in the file.
    #[must_use]
    pub fn coded(&self) -> Range<u64> {
        self.coded_start..self.coded_start + u64::from(self.coded_bytes)
    }

    /// Bytes it decodes to.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.blocks as usize * BLOCK
    }

    /// Bytes of its base.
    #[must_use]
    pub fn base_bytes(&self) -> usize {
        self.base_blocks as usize * BLOCK
    }
}

/// Where the blocks of a piece come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Zeroes.
    Zero,
    /// The base, from this block on.
    Base(u64),
    /// A segment.
    Data,
}

/// Neighbouring blocks of the target from one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// First block in the target.
    pub target: u64,
    /// Number of blocks, at least one.
    pub count: u64,
    /// Where they come from.
    pub source: Source,
}
