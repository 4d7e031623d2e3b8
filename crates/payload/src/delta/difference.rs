//! A segment coded as a difference: pieces of the base with additions, and what stands between them
//! (`docs/formats/payload.md`, 'Difference').

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::delta::code::{content, frame_into};
use crate::delta::model::{CONTROL_MAX, STREAMS_PER_BYTE, VALUE_STREAMS};
use crate::delta::walk::Numbers;

/// Lengths at the begin of the coded bytes: control, gaps, lengths, and the streams of values.
const LENGTHS: usize = 3 + VALUE_STREAMS;

/// Decodes differences, one after another. Keeps its buffer.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    streams: Vec<u8>,
}

impl Difference {
    pub(crate) fn decode(
        &mut self,
        coded: &[u8],
        base: &[u8],
        out: &mut [u8],
    ) -> Result<(), String> {
        let (frames, extra) = split(coded)?;
        let mut sizes = [0; LENGTHS];
        for (size, frame) in sizes.iter_mut().zip(frames) {
            *size = stream_bytes(frame)?;
        }
        if sizes[0] > CONTROL_MAX {
            return Err(format!("{} bytes of control", sizes[0]));
        }
        let between = stream_bytes(extra)?;
        let sum = sizes[1..]
            .iter()
            .try_fold(between, |sum, size| sum.checked_add(*size));
        if sum.is_none_or(|sum| sum > STREAMS_PER_BYTE * out.len()) {
            return Err("its streams are longer than it needs".to_string());
        }
        let all: usize = sizes.iter().sum::<usize>() + between;
        if self.streams.len() < all {
            self.streams.resize(all, 0);
        }
        let mut left = &mut self.streams[..all];
        let mut streams = [&[][..]; LENGTHS];
        for ((stream, size), frame) in streams.iter_mut().zip(sizes).zip(frames) {
            let (to, rest) = left.split_at_mut(size);
            stream_into(frame, &[], to)?;
            (*stream, left) = (to, rest);
        }
        stream_into(extra, base, left)?;
        let [control, gaps, lengths, values @ ..] = streams;
        let mut runs = Runs::new(gaps, lengths, values);
        patch(control, &mut runs, left, base, out)?;
        runs.end()
    }
}

/// The frames in their order, and what is left: that of *extra*.
fn split(coded: &[u8]) -> Result<([&[u8]; LENGTHS], &[u8]), String> {
    let mut numbers = Numbers::new(coded, 0);
    let mut lengths = [0; LENGTHS];
    for length in &mut lengths {
        let number = numbers.number().and_then(|n| usize::try_from(n).ok());
        *length = number.ok_or_else(|| "its lengths are malformed".to_string())?;
    }
    let mut frames = [&[][..]; LENGTHS];
    for (frame, length) in frames.iter_mut().zip(lengths) {
        let taken = numbers.take(length);
        *frame = taken.ok_or_else(|| "its streams end early".to_string())?;
    }
    Ok((frames, &coded[numbers.at()..]))
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
    runs: &mut Runs<'_>,
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
    let (mut position, mut left) = (0usize, out);
    for _ in 0..pieces {
        let next = |numbers: &mut Numbers<'_>| usize::try_from(numbers.number()?).ok();
        let (Some(added), Some(between)) = (next(&mut adds), next(&mut extras)) else {
            return Err(malformed());
        };
        let old = (position.checked_add(added)).and_then(|end| base.get(position..end));
        let (Some(old), Some(to)) = (old, left.split_off_mut(..added)) else {
            return Err("a piece leaves its base or the output".to_string());
        };
        to.copy_from_slice(old);
        runs.add_to(to)?;
        let (Some(new), Some(to)) = (extra.split_off(..between), left.split_off_mut(..between))
        else {
            return Err("a piece leaves its stream or the output".to_string());
        };
        to.copy_from_slice(new);
        let jump = jumps.signed().and_then(|jump| isize::try_from(jump).ok());
        position = jump
            .and_then(|jump| (position + added).checked_add_signed(jump))
            .filter(|position| *position <= base.len())
            .ok_or_else(|| "a jump leaves its base".to_string())?;
    }
    if !left.is_empty() || !extra.is_empty() || jumps.at() != control.len() {
        return Err("bytes are left in its streams or its output".to_string());
    }
    Ok(())
}

/// Runs of bytes to which something is added, over all pieces.
struct Runs<'a> {
    gaps: Numbers<'a>,
    lengths: Numbers<'a>,
    values: [&'a [u8]; VALUE_STREAMS],
    /// Bytes of pieces up to the next run, and its length; nothing after the last.
    next: Option<(usize, usize)>,
    /// The first number that cannot be read.
    malformed: bool,
}

impl<'a> Runs<'a> {
    fn new(gaps: &'a [u8], lengths: &'a [u8], values: [&'a [u8]; VALUE_STREAMS]) -> Self {
        let mut runs = Self {
            gaps: Numbers::new(gaps, 0),
            lengths: Numbers::new(lengths, 0),
            values,
            next: None,
            malformed: false,
        };
        runs.advance();
        runs
    }

    /// Goes to the run after the one at hand.
    fn advance(&mut self) {
        self.next = None;
        if self.gaps.is_at_end() && self.lengths.is_at_end() {
            return;
        }
        let next = |numbers: &mut Numbers<'_>| usize::try_from(numbers.number()?).ok();
        match (next(&mut self.gaps), next(&mut self.lengths)) {
            (Some(gap), Some(length)) if length > 0 => self.next = Some((gap, length)),
            _ => self.malformed = true,
        }
    }

    /// Adds what belongs to the next piece, which holds the base's bytes.
    fn add_to(&mut self, piece: &mut [u8]) -> Result<(), String> {
        let (mut at, mut carry) = (0usize, 0i16);
        while let Some((gap, length)) = self.next {
            let Some(begin) = at.checked_add(gap).filter(|begin| *begin < piece.len()) else {
                break;
            };
            let end = begin.checked_add(length).filter(|end| *end <= piece.len());
            let values = self.values[length.min(VALUE_STREAMS) - 1].split_off(..length);
            let (Some(end), Some(values)) = (end, values) else {
                return Err("a run leaves its piece or its stream".to_string());
            };
            carry = ripple(&mut piece[at..begin], carry);
            for (byte, value) in piece[begin..end].iter_mut().zip(values) {
                carry = add(byte, i16::from(*value as i8) + carry);
            }
            at = end;
            self.advance();
        }
        ripple(&mut piece[at..], carry);
        if let Some((gap, _)) = &mut self.next {
            *gap -= piece.len() - at; // it begins behind the piece
        }
        Ok(())
    }

    /// Everything was used.
    fn end(&self) -> Result<(), String> {
        let used = self.next.is_none() && !self.malformed;
        match used && self.values.iter().all(|values| values.is_empty()) {
            true => Ok(()),
            false => Err("its runs are malformed, or more than its pieces".to_string()),
        }
    }
}

/// Adds to a byte; gives what the next one has to take.
fn add(byte: &mut u8, value: i16) -> i16 {
    let sum = i16::from(*byte) + value;
    *byte = sum as u8; // modulo 256
    sum >> 8
}

/// Takes what is carried through bytes to which nothing else is added.
fn ripple(bytes: &mut [u8], mut carry: i16) -> i16 {
    for byte in bytes {
        if carry == 0 {
            break;
        }
        carry = add(byte, carry);
    }
    carry
}
