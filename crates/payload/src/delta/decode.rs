//! Decoding one segment of a delta: coded bytes and base in, blocks out.

use alloc::string::{String, ToString};

use crate::delta::code::frame_into;
use crate::delta::difference::Difference;
use crate::delta::model::{Coding, Segment};
use crate::error::{Error, Result};
use crate::verity::sha256;

/// Decodes segments, one after another. Keeps its buffers: as large as the streams of the largest segment
/// coded as a difference.
#[derive(Debug, Default)]
pub struct Decoder {
    difference: Difference,
}

impl Decoder {
    /// A decoder without buffers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes `coded` against `base` into `out`.
    ///
    /// The coded bytes are checked before a decoder sees them; the output is checked before the
    /// caller may use it.
    ///
    /// # Errors
    /// [`Error::SegmentDigest`] where the coded bytes are not the named ones: fetch them again.
    /// [`Error::SegmentOutput`] where they are, and yet yield something else: then the base is not
    /// what it should be. [`Error::SegmentInvalid`] where they cannot be decoded without any base.
    pub fn decode(
        &mut self,
        segment: &Segment,
        coded: &[u8],
        base: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let number = segment.number;
        let wrong = |what: String| Error::SegmentInvalid {
            segment: number,
            what,
        };
        if coded.len() != segment.coded_bytes as usize
            || base.len() != segment.base_bytes()
            || out.len() != segment.output_bytes()
        {
            return Err(wrong("a buffer of the wrong length was given".to_string()));
        }
        if sha256(coded) != segment.digest {
            return Err(Error::SegmentDigest { segment: number });
        }
        let decoded = match segment.coding {
            Coding::Raw => {
                out.copy_from_slice(coded);
                Ok(())
            }
            Coding::Zstd => frame_into(coded, &[], out),
            Coding::Prefix => frame_into(coded, base, out),
            Coding::Difference => self.difference.decode(coded, base, out),
        };
        match decoded {
            Ok(()) if sha256(out) == segment.output => Ok(()),
            // Which bytes come out depends on the base, and so may whether any do.
            Ok(()) | Err(_) if segment.coding.has_base() => {
                Err(Error::SegmentOutput { segment: number })
            }
            Ok(()) => Err(wrong("its output is not the one named".to_string())),
            Err(what) => Err(wrong(what)),
        }
    }
}
