//! Writing an index: the exact reverse of `read`.

use alloc::vec::Vec;

use crate::index::{FORMAT, Header, KEY_WIDTHS, MAGIC, Run, Segment};
use crate::verity::BLOCK;

/// Appends the header.
pub(crate) fn header(out: &mut Vec<u8>, header: &Header) {
    debug_assert!(
        KEY_WIDTHS.contains(&header.key_width),
        "checked with the parameters"
    );
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&(BLOCK as u32).to_le_bytes());
    out.extend_from_slice(&header.segment_blocks.to_le_bytes());
    out.extend_from_slice(&header.segments.to_le_bytes());
    out.extend_from_slice(&header.image_blocks.to_le_bytes());
    out.extend_from_slice(&header.distinct_blocks.to_le_bytes());
    out.extend_from_slice(&header.runs_bytes.to_le_bytes());
    out.extend_from_slice(&header.file_bytes.to_le_bytes());
    out.extend_from_slice(&[header.key_width, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&header.root_hash);
    out.extend_from_slice(&[0; 32]);
}

/// Appends one segment's record.
pub(crate) fn record(out: &mut Vec<u8>, segment: &Segment) {
    out.extend_from_slice(&[segment.coding.byte(), 0]);
    out.extend_from_slice(&segment.age.to_le_bytes());
    out.extend_from_slice(&segment.blocks.to_le_bytes());
    out.extend_from_slice(&segment.coded_bytes.to_le_bytes());
    out.extend_from_slice(&segment.runs_bytes.to_le_bytes());
    out.extend_from_slice(&segment.coded_start.to_le_bytes());
    out.extend_from_slice(&segment.runs_start.to_le_bytes());
    out.extend_from_slice(&segment.first_key.to_le_bytes());
    out.extend_from_slice(&segment.digest);
}

/// The runs of a segment, in order of the image. In a zero segment `from` is left out of account.
pub(crate) fn runs(runs: &[Run], zero: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut target, mut from) = (0, 0);
    for run in runs {
        varint(&mut out, run.target - target);
        let jump = if zero { 0 } else { i64::from(run.from) - from };
        varint(&mut out, ((jump << 1) ^ (jump >> 63)) as u64);
        varint(&mut out, u64::from(run.count - 1));
        target = run.target + u64::from(run.count);
        from = i64::from(run.from) + i64::from(run.count);
    }
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
