//! Coding of one segment: bytes in, bytes out, nothing larger than declared.

use alloc::format;
use alloc::string::{String, ToString};

use zstd_safe::DCtx;

use crate::error::{Error, Result};
use crate::index::{Coding, Segment};
use crate::verity::sha256;

/// First bytes of a zstd frame (RFC 8878, section 3.1.1). Skippable frames start otherwise.
pub(crate) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A decoder that can be used for any number of segments. About 160 KiB.
pub(crate) struct Decoder {
    context: DCtx<'static>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            context: DCtx::create(),
        }
    }

    /// Decodes `coded` into `out`, whose length is the segment's declared length.
    ///
    /// The digest is checked before the decoder sees a byte. The frame is decoded in one shot
    /// straight into `out`: zstd then needs no window of its own, so a frame that announces a
    /// giant window costs nothing, and it cannot write past `out`.
    pub(crate) fn decode(&mut self, segment: &Segment, coded: &[u8], out: &mut [u8]) -> Result<()> {
        let number = segment.number;
        self.check(segment, coded)?;
        if out.len() != segment.decoded_bytes() {
            return Err(wrong_length(number));
        }
        match segment.coding {
            Coding::Zero => Ok(()),
            Coding::Raw => {
                out.copy_from_slice(coded);
                Ok(())
            }
            Coding::Zstd => self
                .unpack(coded, out)
                .map_err(|what| Error::SegmentInvalid {
                    segment: number,
                    what,
                }),
        }
    }

    /// Whether the coded bytes are the named ones. What was sent raw needs no more.
    pub(crate) fn check(&self, segment: &Segment, coded: &[u8]) -> Result<()> {
        if coded.len() != segment.coded_bytes as usize {
            return Err(wrong_length(segment.number));
        }
        if sha256(coded) != segment.digest {
            return Err(Error::SegmentDigest {
                segment: segment.number,
            });
        }
        Ok(())
    }

    fn unpack(&mut self, coded: &[u8], out: &mut [u8]) -> Result<(), String> {
        if !coded.starts_with(&ZSTD_MAGIC) {
            return Err("it does not start with a zstd frame".to_string());
        }
        let frame = zstd_safe::find_frame_compressed_size(coded).map_err(reason)?;
        if frame != coded.len() {
            return Err(format!(
                "{} bytes follow its zstd frame",
                coded.len() - frame
            ));
        }
        if zstd_safe::get_dict_id_from_frame(coded).is_some() {
            return Err("its zstd frame asks for a dictionary".to_string());
        }
        match zstd_safe::get_frame_content_size(coded) {
            Ok(Some(size)) if size == out.len() as u64 => {}
            Ok(Some(size)) => return Err(format!("it names {size} bytes, not {}", out.len())),
            Ok(None) | Err(_) => return Err("its zstd frame names no content size".to_string()),
        }
        let written = self.context.decompress(out, coded).map_err(reason)?;
        if written != out.len() {
            return Err(format!("it yields {written} bytes, not {}", out.len()));
        }
        Ok(())
    }
}

fn wrong_length(segment: u32) -> Error {
    let what = "a buffer of the wrong length was given".to_string();
    Error::SegmentInvalid { segment, what }
}

/// What zstd says of one of its error codes.
pub(crate) fn reason(code: usize) -> String {
    format!("zstd says '{}'", zstd_safe::get_error_name(code))
}
