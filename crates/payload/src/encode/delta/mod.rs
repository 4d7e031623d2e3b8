//! The publisher's half of deltas: which blocks are copied, what of the base helps with the rest,
//! and coding each segment against it.
//!
//! What comes out depends on the two images and the parameters, never on the number of threads:
//! [`Draft::make`] decides what goes where, [`Patcher::segment`] codes one segment by itself,
//! [`Draft::finish`] puts the index together.

mod bases;
mod diff;
mod draft;
pub mod erofs;
mod guide;
mod patch;
mod runs;
mod samples;
mod suffix;
mod whole;
mod write;

pub use draft::{Draft, DraftSegment, Identity};
pub use patch::{CodedPatch, PatchMeta, Patcher};
pub use whole::{EncodedDelta, encode_delta};

use alloc::format;

use crate::delta::model::{BASE_BLOCKS_MAX, HELD_BLOCKS_MAX};
use crate::error::{Error, Result};

/// What a publisher may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaParams {
    /// Most blocks of a segment. 256 (1 MiB): smaller ones find less in common, larger ones gain
    /// nothing and cost a worker memory.
    pub segment_blocks: u32,
    /// Most blocks of the base for one segment, 1024 (4 MiB).
    pub base_blocks: u32,
    /// zstd's level, 1 to 22. 22: what is coded is little, so the last half percent costs little.
    pub level: i32,
    /// Whether names of files tell where to look, where the images have any that can be read.
    pub names: bool,
}

impl Default for DeltaParams {
    fn default() -> Self {
        Self {
            segment_blocks: HELD_BLOCKS_MAX - BASE_BLOCKS_MAX,
            base_blocks: BASE_BLOCKS_MAX,
            level: 22,
            names: true,
        }
    }
}

impl DeltaParams {
    fn check(&self) -> Result<()> {
        let refuse = |what| Err(Error::Parameters { what });
        let Self {
            segment_blocks,
            base_blocks,
            level,
            names: _,
        } = *self;
        if segment_blocks == 0
            || base_blocks > BASE_BLOCKS_MAX
            || segment_blocks.saturating_add(base_blocks) > HELD_BLOCKS_MAX
        {
            return refuse(format!(
                "{segment_blocks} blocks a segment with {base_blocks} of base: {HELD_BLOCKS_MAX} together"
            ));
        }
        if !(1..=22).contains(&level) {
            return refuse(format!("zstd level {level}, 1 to 22"));
        }
        Ok(())
    }
}
