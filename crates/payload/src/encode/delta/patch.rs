//! Coding one segment: the shortest of its codings.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use zstd_safe::{CCtx, CParameter};

use crate::code::reason;
use crate::delta::Coding;
use crate::encode::delta::diff::Difference;
use crate::encode::delta::draft::Draft;
use crate::encode::delta::runs::read_block_range;
use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::verity::{BLOCK, Hash, sha256};

/// zstd's window for a segment: 2^23 bytes hold 4 MiB of base and 4 MiB of output.
const WINDOW_LOG: u32 = 23;

/// What the index has to know of a coded segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchMeta {
    /// How it is coded.
    pub coding: Coding,
    /// Length of the coded bytes.
    pub coded_bytes: u32,
    /// First bytes of the SHA-256 of its first block.
    pub probe: [u8; 4],
    /// SHA-256 of its blocks.
    pub output: Hash,
    /// SHA-256 of the coded bytes.
    pub digest: Hash,
}

/// A coded segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodedPatch {
    /// What the index has to know of it.
    pub meta: PatchMeta,
    /// The bytes for the file.
    pub bytes: Vec<u8>,
}

/// Codes segments, one after another. Takes some 130 MB at level 19.
#[derive(Debug, Default)]
pub struct Patcher {
    out: Vec<u8>,
    base: Vec<u8>,
}

impl Patcher {
    /// A patcher without buffers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Codes segment `number` of a draft in the shortest way.
    pub fn segment(
        &mut self,
        draft: &Draft,
        number: usize,
        base: &dyn ReadAt,
        target: &dyn ReadAt,
    ) -> Result<CodedPatch> {
        let segment = draft
            .segments()
            .get(number)
            .ok_or_else(|| Error::Parameters {
                what: format!("no segment {number}"),
            })?;
        let runs = segment.blocks.chunk_by(|a, b| *b == *a + 1);
        let runs = runs.map(|run| (run[0], run.len() as u32));
        read_ranges(target, runs, &mut self.out)?;
        read_ranges(base, segment.ranges.iter().copied(), &mut self.base)?;
        let level = draft.params().level;
        let (coding, bytes) = best(&self.out, &self.base, level)?;
        let meta = PatchMeta {
            coding,
            coded_bytes: bytes.len() as u32,
            probe: {
                let mut probe = [0; 4];
                probe.copy_from_slice(&sha256(&self.out[..BLOCK])[..4]);
                probe
            },
            output: sha256(&self.out),
            digest: sha256(&bytes),
        };
        Ok(CodedPatch { meta, bytes })
    }
}

/// Percent of a segment that a difference finds nothing like in the base. Above the first, one zstd
/// stream over all of it has always been shorter; below the second a difference (measured on
/// Debian releases a security update, four months and two years apart). What cannot win is not tried:
/// each try costs as much as all the rest.
const NO_DIFFERENCE_ABOVE: usize = 50;
const NO_PREFIX_BELOW: usize = 4;

/// The shortest coding; of equal ones the simplest.
fn best(out: &[u8], base: &[u8], level: i32) -> Result<(Coding, Vec<u8>)> {
    let mut best = (Coding::Raw, out.to_vec());
    let mut offer = |coding, bytes: Vec<u8>| {
        if bytes.len() < best.1.len() {
            best = (coding, bytes);
        }
    };
    if base.is_empty() {
        offer(Coding::Zstd, frame(out, &[], level)?);
        return Ok(best);
    }
    let difference = Difference::find(out, base);
    let share = difference.extra() * 100 / out.len();
    if share >= NO_PREFIX_BELOW {
        offer(Coding::Prefix, frame(out, base, level)?);
    }
    if share <= NO_DIFFERENCE_ABOVE {
        offer(Coding::Difference, difference.code(level)?);
    }
    Ok(best)
}

fn read_ranges(
    image: &dyn ReadAt,
    ranges: impl Iterator<Item = (u32, u32)>,
    to: &mut Vec<u8>,
) -> Result<()> {
    let size = image.len().map_err(Error::io("read an image's size"))?;
    to.clear();
    for (start, count) in ranges {
        let filled = to.len();
        to.resize(filled + count as usize * BLOCK, 0);
        read_block_range(
            image,
            size,
            u64::from(start) * BLOCK as u64,
            &mut to[filled..],
        )?;
    }
    Ok(())
}

/// One zstd frame that names its content size, with `prefix` as the content before its first byte.
pub(super) fn frame(bytes: &[u8], prefix: &[u8], level: i32) -> Result<Vec<u8>> {
    let failed = |code| Error::Compressor {
        segment: 0,
        what: reason(code),
    };
    // A context a frame: the prefix is borrowed for its whole life.
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(failed)?;
    }
    let mut coded = vec![0; zstd_safe::compress_bound(bytes.len())];
    let length = context.compress2(&mut coded[..], bytes).map_err(failed)?;
    coded.truncate(length);
    Ok(coded)
}
