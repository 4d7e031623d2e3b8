//! Decoding one segment of a delta: coded bytes and base in, blocks out.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::delta::code::{content, frame_into};
use crate::delta::model::{CONTROL_MAX, Coding, Segment};
use crate::delta::walk::Numbers;
use crate::error::{Error, Result};
use crate::verity::sha256;

/// Decodes segments, one after another. Keeps its buffers: as large as the largest segment coded
/// as a difference, and its control stream.
#[derive(Debug, Default)]
pub struct Decoder {
    control: Vec<u8>,
    streams: Vec<u8>,
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
            Coding::Difference => self.difference(coded, base, out),
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

    /// `docs/formats/payload.md`, 'Difference'.
    pub(crate) fn difference(
        &mut self,
        coded: &[u8],
        base: &[u8],
        out: &mut [u8],
    ) -> Result<(), String> {
        let mut numbers = Numbers::new(coded, 0);
        let mut part = || usize::try_from(numbers.number()?).ok();
        let lengths = (part(), part());
        let (Some(control), Some(add)) = lengths else {
            return Err("its lengths are malformed".to_string());
        };
        let early = || "its streams end early".to_string();
        let control = numbers.take(control).ok_or_else(early)?;
        let add = numbers.take(add).ok_or_else(early)?;
        let extra = &coded[numbers.at()..];
        let bytes = stream_bytes(control)?;
        if bytes > CONTROL_MAX {
            return Err(format!("{bytes} bytes of control"));
        }
        self.control.resize(bytes, 0);
        stream_into(control, &[], &mut self.control)?;
        let (added, between) = (stream_bytes(add)?, stream_bytes(extra)?);
        if added.checked_add(between) != Some(out.len()) {
            return Err("its streams do not add up to its length".to_string());
        }
        if self.streams.len() < out.len() {
            self.streams = vec![0; out.len()];
        }
        let (first, second) = self.streams[..out.len()].split_at_mut(added);
        stream_into(add, &[], first)?;
        stream_into(extra, base, second)?;
        patch(&self.control, first, second, base, out)
    }
}

/// What a stream decodes to; nothing stands for nothing.
fn stream_bytes(stream: &[u8]) -> Result<usize, String> {
    if stream.is_empty() {
        return Ok(0);
    }
    let size = content(stream).and_then(|size| usize::try_from(size).ok());
    match size {
        Some(0) | None => Err("a stream names no content size".to_string()),
        Some(size) => Ok(size),
    }
}

fn stream_into(stream: &[u8], prefix: &[u8], out: &mut [u8]) -> Result<(), String> {
    match stream {
        [] => Ok(()),
        _ => frame_into(stream, prefix, out),
    }
}

/// Puts the output together: pieces of the base with something added, and what is between them.
fn patch(
    control: &[u8],
    mut add: &[u8],
    mut extra: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> Result<(), String> {
    let malformed = || "its control is malformed".to_string();
    let mut adds = Numbers::new(control, 0);
    let pieces = adds.number().ok_or_else(malformed)?;
    // Each piece has three numbers of at least one byte.
    if pieces > control.len() as u64 / 3 {
        return Err(malformed());
    }
    let mut extras = adds;
    for _ in 0..pieces {
        extras.number().ok_or_else(malformed)?;
    }
    let mut jumps = extras;
    for _ in 0..pieces {
        jumps.number().ok_or_else(malformed)?;
    }
    let (mut position, mut filled) = (0usize, 0usize);
    for _ in 0..pieces {
        let next = |numbers: &mut Numbers<'_>| usize::try_from(numbers.number()?).ok();
        let (Some(added), Some(between)) = (next(&mut adds), next(&mut extras)) else {
            return Err(malformed());
        };
        let old = (position.checked_add(added)).and_then(|end| base.get(position..end));
        let (Some(old), Some(new)) = (old, add.split_off(..added)) else {
            return Err("a piece leaves its base or its stream".to_string());
        };
        let to = &mut out[filled..filled + added]; // as long as the streams, which are not passed
        for ((to, old), new) in to.iter_mut().zip(old).zip(new) {
            *to = old.wrapping_add(*new);
        }
        filled += added;
        let Some(new) = extra.split_off(..between) else {
            return Err("a piece leaves its stream".to_string());
        };
        out[filled..filled + between].copy_from_slice(new);
        filled += between;
        let jump = jumps.signed().and_then(|jump| isize::try_from(jump).ok());
        position = jump
            .and_then(|jump| (position + added).checked_add_signed(jump))
            .filter(|position| *position <= base.len())
            .ok_or_else(|| "a jump leaves its base".to_string())?;
    }
    if !add.is_empty() || !extra.is_empty() || jumps.at() != control.len() {
        return Err("bytes are left in its streams".to_string());
    }
    Ok(())
}
