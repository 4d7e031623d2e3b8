//! The publisher's half: cutting an image into the segments of a full payload.
//!
//! What comes out depends on the image, the salt, the history and the parameters, never on the
//! number of threads: [`Layout::make`] decides what goes where, [`Compressor::segment`] codes one
//! segment by itself (so that a publisher may spread segments over threads),
//! [`Layout::finish`] puts the index together. [`encode_full`] does all of it in turn.

pub mod delta;
mod file;
mod history;
mod order;
mod segment;

pub use file::{Encoded, Sink, encode_full};
pub use history::History;
pub use order::{Layout, PlannedSegment};
pub use segment::{CodedSegment, Compressor, SegmentMeta};

use alloc::format;

use crate::error::{Error, Result};
use crate::index::{KEY_WIDTHS, SEGMENT_BLOCKS_MAX};

/// What a publisher may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Most blocks of a segment. 1024 (4 MiB) unless for a test: larger segments code better,
    /// smaller ones cost a worker less memory.
    pub segment_blocks: u32,
    /// zstd's level, 1 to 22.
    pub level: i32,
    /// Bytes of each key, 5 to 8. Six: in an image of a million blocks against a base of a million
    /// a chance match has a likelihood of 2^40 / 2^48 = 0.4 %, and costs one segment more.
    pub key_width: u8,
    /// Blocks that have been in the image for at least so many releases are not told apart any
    /// further. A node that many releases behind or more fetches as if it were one more behind.
    pub ages: u16,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            segment_blocks: SEGMENT_BLOCKS_MAX,
            level: 19,
            key_width: 6,
            ages: 8,
        }
    }
}

impl Params {
    fn check(&self) -> Result<()> {
        let refuse = |what| Err(Error::Parameters { what });
        if self.segment_blocks == 0 || self.segment_blocks > SEGMENT_BLOCKS_MAX {
            return refuse(format!(
                "{} blocks a segment, 1 to 1024",
                self.segment_blocks
            ));
        }
        if !(1..=22).contains(&self.level) {
            return refuse(format!("zstd level {}, 1 to 22", self.level));
        }
        if !KEY_WIDTHS.contains(&self.key_width) {
            return refuse(format!("keys of {} bytes, 5 to 8", self.key_width));
        }
        Ok(())
    }
}
