//! Coding one segment.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use zstd_safe::{CCtx, CParameter};

use crate::code::reason;
use crate::encode::{Layout, PlannedSegment};
use crate::error::{Error, Result};
use crate::index::Coding;
use crate::io::ReadAt;
use crate::verity::{BLOCK, Hash, sha256};

/// What the index has to know of a coded segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentMeta {
    /// How it is coded.
    pub coding: Coding,
    /// Length of the coded bytes.
    pub coded_bytes: u32,
    /// Their SHA-256.
    pub digest: Hash,
}

/// A coded segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodedSegment {
    /// What the index has to know of it.
    pub meta: SegmentMeta,
    /// The bytes for the file.
    pub bytes: Vec<u8>,
}

/// A compressor for any number of segments, one after another. At level 19 it takes about 60 MB.
pub struct Compressor {
    context: CCtx<'static>,
    plain: Vec<u8>,
}

impl core::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Compressor {
    /// A compressor of zstd level `level`.
    pub fn new(level: i32) -> Result<Self> {
        let mut context = CCtx::create();
        let parameters = [
            CParameter::CompressionLevel(level),
            // The decoder takes only frames that say how much they hold; the digest in the index
            // stands for zstd's own checksum.
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(false),
        ];
        for parameter in parameters {
            context
                .set_parameter(parameter)
                .map_err(|code| Error::Parameters { what: reason(code) })?;
        }
        Ok(Self {
            context,
            plain: Vec::new(),
        })
    }

    /// Codes segment `number` of the layout: zstd where that is shorter, else raw.
    pub fn segment(
        &mut self,
        layout: &Layout,
        number: usize,
        image: &dyn ReadAt,
    ) -> Result<CodedSegment> {
        let planned = layout
            .segments()
            .get(number)
            .ok_or_else(|| Error::Parameters {
                what: format!("no segment {number}"),
            })?;
        if planned.zero {
            return Ok(CodedSegment {
                meta: SegmentMeta::zero(),
                bytes: Vec::new(),
            });
        }
        self.gather(planned, image)?;
        let mut bytes = vec![0; zstd_safe::compress_bound(self.plain.len())];
        let length = self
            .context
            .compress2(&mut bytes[..], &self.plain)
            .map_err(|code| Error::Compressor {
                segment: number as u32,
                what: reason(code),
            })?;
        let coding = if length < self.plain.len() {
            bytes.truncate(length);
            Coding::Zstd
        } else {
            bytes.clear();
            bytes.extend_from_slice(&self.plain);
            Coding::Raw
        };
        let meta = SegmentMeta {
            coding,
            coded_bytes: bytes.len() as u32,
            digest: sha256(&bytes),
        };
        Ok(CodedSegment { meta, bytes })
    }

    /// Reads a segment's blocks, neighbours in one read.
    fn gather(&mut self, planned: &PlannedSegment, image: &dyn ReadAt) -> Result<()> {
        self.plain.resize(planned.blocks.len() * BLOCK, 0);
        let mut at = 0;
        for stretch in planned.blocks.chunk_by(|a, b| *b == *a + 1) {
            let end = at + stretch.len() * BLOCK;
            image
                .read_at(
                    u64::from(stretch[0]) * BLOCK as u64,
                    &mut self.plain[at..end],
                )
                .map_err(Error::io("read the image"))?;
            at = end;
        }
        Ok(())
    }
}
