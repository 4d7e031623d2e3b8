//! What goes into a delta, before anything is coded.

use alloc::vec::Vec;

use crate::delta::model::{BODY_MAX, HEADER_BYTES, Header};
use crate::delta::{Kind, Piece, Source};
use crate::encode::delta::bases::Bases;
use crate::encode::delta::patch::{PatchMeta, frame};
use crate::encode::delta::{DeltaParams, runs, write};
use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::verity::Hash;

/// What base and target are, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// What they are.
    pub kind: Kind,
    /// Root hash or SHA-256 of the base.
    pub base: Hash,
    /// Root hash or SHA-256 of the target.
    pub target: Hash,
}

/// What goes into one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftSegment {
    /// Blocks of the target, in order.
    pub blocks: Vec<u32>,
    /// Ranges of the base that help: first block and count.
    pub ranges: Vec<(u32, u32)>,
}

/// The order of a delta.
#[derive(Debug, Clone)]
pub struct Draft {
    params: DeltaParams,
    identity: Identity,
    base_bytes: u64,
    target_bytes: u64,
    pieces: Vec<Piece>,
    segments: Vec<DraftSegment>,
}

impl Draft {
    /// Compares the images and chooses for each segment what of the base helps.
    ///
    /// Memory: 48 bytes a block of the base, and 8 bytes for each 64 bytes of it where content is
    /// looked for: some 300 MB for an image of 2 GB.
    pub fn make(
        base: &dyn ReadAt,
        target: &dyn ReadAt,
        identity: &Identity,
        params: &DeltaParams,
    ) -> Result<Self> {
        params.check()?;
        let size = |image: &dyn ReadAt| image.len().map_err(Error::io("read an image's size"));
        let pieces = runs::pieces(base, target)?;
        let data = pieces.iter().filter(|piece| piece.source == Source::Data);
        let blocks: Vec<u32> = data
            .flat_map(|piece| piece.target..piece.target + piece.count)
            .map(|block| block as u32)
            .collect();
        let bases = Bases::of(base, target, params.names)?;
        let mut segments = Vec::new();
        for blocks in blocks.chunks(params.segment_blocks as usize) {
            segments.push(DraftSegment {
                blocks: blocks.to_vec(),
                ranges: bases.ranges(blocks, target, params.base_blocks)?,
            });
        }
        Ok(Self {
            params: *params,
            identity: *identity,
            base_bytes: size(base)?,
            target_bytes: size(target)?,
            pieces,
            segments,
        })
    }

    /// The segments, in the order of the file.
    #[must_use]
    pub fn segments(&self) -> &[DraftSegment] {
        &self.segments
    }

    /// The parameters that it was made with.
    #[must_use]
    pub fn params(&self) -> &DeltaParams {
        &self.params
    }

    /// The index, given what coding has made of each segment, in order.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where nodes would refuse it.
    pub fn finish(&self, metas: &[PatchMeta]) -> Result<Vec<u8>> {
        if metas.len() != self.segments.len() {
            let what = alloc::format!("{} of {} segments", metas.len(), self.segments.len());
            return Err(Error::Parameters { what });
        }
        let body = write::body(&self.pieces, &self.segments, metas);
        if body.len() > BODY_MAX {
            return Err(Error::TooLarge {
                what: "the body of the delta's index",
                found: body.len() as u64,
                limit: BODY_MAX as u64,
            });
        }
        let coded = frame(&body, &[], self.params.level)?;
        let coded_bytes: u64 = metas.iter().map(|meta| u64::from(meta.coded_bytes)).sum();
        let mut index = write::header(&Header {
            kind: self.identity.kind,
            body_bytes: body.len() as u32,
            base_bytes: self.base_bytes,
            target_bytes: self.target_bytes,
            file_bytes: (HEADER_BYTES + coded.len()) as u64 + coded_bytes,
            segments: self.segments.len() as u32,
            runs: self.pieces.len() as u32,
            base: self.identity.base,
            target: self.identity.target,
        });
        index.extend_from_slice(&coded);
        Ok(index)
    }
}
