//! Writing the index of a delta: the exact reverse of `delta::read`.

use alloc::vec::Vec;

use crate::delta::model::{FORMAT, HEADER_BYTES, Header, MAGIC};
use crate::delta::{Piece, Source};
use crate::encode::delta::draft::DraftSegment;
use crate::encode::delta::patch::PatchMeta;

pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn signed(out: &mut Vec<u8>, value: i64) {
    number(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn header(header: &Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&header.body_bytes.to_le_bytes());
    out.extend_from_slice(&header.base_bytes.to_le_bytes());
    out.extend_from_slice(&header.target_bytes.to_le_bytes());
    out.extend_from_slice(&header.file_bytes.to_le_bytes());
    out.extend_from_slice(&header.segments.to_le_bytes());
    out.extend_from_slice(&header.runs.to_le_bytes());
    out.push(header.kind.byte());
    out.extend_from_slice(&[0; 15]);
    out.extend_from_slice(&header.base);
    out.extend_from_slice(&header.target);
    out
}

pub(super) fn body(pieces: &[Piece], segments: &[DraftSegment], metas: &[PatchMeta]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        let kind = match piece.source {
            Source::Zero => 0,
            Source::Base(_) => 1,
            Source::Data => 2,
        };
        number(&mut out, (piece.count - 1) << 2 | kind);
    }
    let mut before = 0;
    for piece in pieces {
        if let Source::Base(start) = piece.source {
            let shift = start as i64 - piece.target as i64;
            signed(&mut out, shift - before);
            before = shift;
        }
    }
    // A segment that turned out best without its base has no ranges.
    let ranges = |segment: &DraftSegment, meta: &PatchMeta| {
        let used = meta.coding.has_base();
        segment
            .ranges
            .iter()
            .copied()
            .take(if used { usize::MAX } else { 0 })
            .collect::<Vec<_>>()
    };
    for (segment, meta) in segments.iter().zip(metas) {
        out.push(meta.coding.byte());
        number(&mut out, segment.blocks.len() as u64 - 1);
        number(&mut out, u64::from(meta.coded_bytes));
        number(&mut out, ranges(segment, meta).len() as u64);
    }
    let mut after = 0;
    for (segment, meta) in segments.iter().zip(metas) {
        for (start, count) in ranges(segment, meta) {
            signed(&mut out, i64::from(start) - after);
            number(&mut out, u64::from(count) - 1);
            after = i64::from(start) + i64::from(count);
        }
    }
    for meta in metas {
        out.extend_from_slice(&meta.probe);
        out.extend_from_slice(&meta.output);
        out.extend_from_slice(&meta.digest);
    }
    out
}
