//! Reading the index of a delta: one pass over all of it before anything is believed.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::delta::code::frame_into;
use crate::delta::model::{
    BASE_BLOCKS_MAX, BODY_MAX, CODED_MAX, Coding, DIGESTS_BYTES, Expect, FORMAT, HEADER_BYTES,
    HELD_BLOCKS_MAX, Header, Kind, MAGIC, Piece, SEGMENT_BLOCKS_MAX, Segment, Source,
};
use crate::delta::walk::{Cursor, Numbers, Walk};
use crate::error::{Error, Result};
use crate::index::{invalid, u32_at, u64_at};
use crate::io::CodedSource;
use crate::verity::{BLOCK, BLOCKS_MAX, Hash, hex};

/// Largest index as it is sent: a body that does not shrink, and the header.
const INDEX_MAX: u64 = (BODY_MAX + HEADER_BYTES + 4096) as u64;

/// Blocks of the target that one job of copying covers: 4 MiB, few enough that workers end together,
/// enough that a job costs nothing beside its copies.
pub(crate) const STRETCH_BLOCKS: u64 = 1024;

/// Fetches the index, the first `size` bytes of the delta, and checks its digest.
///
/// # Errors
/// [`Error::TooLarge`] before anything is fetched; [`Error::IndexDigest`] where the bytes are not
/// the ones that the manifest names.
pub fn load(source: &dyn CodedSource, size: u64, digest: &Hash) -> Result<Vec<u8>> {
    check_size(size)?;
    crate::index::load(source, size, digest)
}

/// Refuses a size that no index of a delta has.
pub(crate) fn check_size(size: u64) -> Result<()> {
    if size > INDEX_MAX {
        return Err(Error::TooLarge {
            what: "the size of the delta's index",
            found: size,
            limit: INDEX_MAX,
        });
    }
    Ok(())
}

/// A checked index. Memory: its body, at most 4 MiB, and some 200 bytes a segment.
#[derive(Clone)]
pub struct DeltaIndex {
    header: Header,
    body: Vec<u8>,
    start: Cursor,
    segments: Vec<Segment>,
    stretches: Vec<Cursor>,
}

impl core::fmt::Debug for DeltaIndex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("DeltaIndex").field(&self.header).finish()
    }
}

impl DeltaIndex {
    /// Reads an index whose digest was checked, and checks that it is for what the manifest says,
    /// that its runs cover the target once, that no range leaves the base, and that its segments
    /// fill the file.
    pub fn open(bytes: &[u8], expect: &Expect) -> Result<Self> {
        let header = read_header(bytes)?;
        agree(&header, expect)?;
        let mut body = vec![0; header.body_bytes as usize];
        frame_into(&bytes[HEADER_BYTES..], &[], &mut body)
            .map_err(|what| invalid(format!("the delta's body: {what}")))?;
        let mut index = Self {
            header,
            body,
            start: Cursor::default(),
            segments: Vec::new(),
            stretches: Vec::new(),
        };
        index.find_sections(bytes.len() as u64)?;
        index.place_segments()?;
        Ok(index)
    }

    /// What its first bytes say.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The segments, in the order of the file.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How many stretches of 4 MiB the target has; see [`DeltaIndex::copies`].
    #[must_use]
    pub fn stretches(&self) -> u32 {
        self.stretches.len() as u32
    }

    /// Every piece of the target, in order.
    pub fn pieces(&self, take: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let mut walk = Walk::new(&self.body, self.start);
        while let Some(piece) = walk.next()? {
            take(piece)?;
        }
        Ok(())
    }

    /// The pieces of one stretch of the target that come from no segment.
    pub fn copies(&self, stretch: u32, take: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let end = (u64::from(stretch) + 1) * STRETCH_BLOCKS;
        let mut walk = Walk::new(&self.body, self.stretches[stretch as usize]);
        while let Some(mut piece) = walk.next()? {
            if piece.target >= end {
                break;
            }
            piece.count = piece.count.min(end - piece.target);
            if piece.source != Source::Data {
                take(piece)?;
            }
        }
        Ok(())
    }

    /// Where in the target the blocks of a segment go, in order: first block and count.
    pub fn targets(
        &self,
        segment: &Segment,
        take: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut walk = Walk::new(&self.body, segment.cursor);
        let mut left = u64::from(segment.blocks);
        while left > 0 {
            let Some(piece) = walk.next()? else {
                return Err(invalid("the runs end before the segments"));
            };
            if piece.source == Source::Data {
                let count = piece.count.min(left);
                take(piece.target, count)?;
                left -= count;
            }
        }
        Ok(())
    }

    /// The ranges of a segment's base, in order: first block and count.
    pub fn ranges(
        &self,
        segment: &Segment,
        take: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut numbers = Numbers::new(&self.body, segment.ranges.start);
        let mut after = segment.ranges_after;
        while numbers.at() < segment.ranges.end {
            let (start, count) = range(&mut numbers, after)?;
            take(start, count)?;
            after = start + count;
        }
        Ok(())
    }

    /// Walks the whole body once: notes where its sections and segments lie, and checks them.
    fn find_sections(&mut self, index_bytes: u64) -> Result<()> {
        let early = || invalid("the body of the delta's index ends early");
        let mut numbers = Numbers::new(&self.body, 0);
        let mut copies = 0u32;
        for _ in 0..self.header.runs {
            copies += u32::from(numbers.number().ok_or_else(early)? & 3 == 1);
        }
        self.start = Cursor {
            shifts: numbers.at(),
            left: self.header.runs,
            ..Cursor::default()
        };
        for _ in 0..copies {
            numbers.signed().ok_or_else(early)?;
        }
        // Each has at least its digests in the body, so that what is reserved here is bounded by it; and
        // lists that grow step by step would hold up to twice what they need.
        let count = self.header.segments as usize;
        if count > self.body.len() / DIGESTS_BYTES {
            return Err(early());
        }
        self.segments.reserve_exact(count);
        let mut coded = index_bytes;
        let mut ranges = Vec::with_capacity(count);
        for number in 0..self.header.segments {
            let (segment, count) = read_record(&mut numbers, number, coded)?;
            coded += u64::from(segment.coded_bytes);
            ranges.push(count);
            self.segments.push(segment);
        }
        if coded != self.header.file_bytes {
            return Err(invalid("the segments do not fill the delta's file"));
        }
        let mut after = 0;
        for (segment, count) in self.segments.iter_mut().zip(ranges) {
            (segment.ranges.start, segment.ranges_after) = (numbers.at(), after);
            for _ in 0..count {
                let (start, count) = range(&mut numbers, after)?;
                after = start + count;
                // A count of nearly 2^64 passes the check of its own range.
                let blocks = u64::from(segment.base_blocks).saturating_add(count);
                if after > self.header.base_blocks() || blocks > u64::from(BASE_BLOCKS_MAX) {
                    let number = segment.number;
                    return Err(invalid(format!(
                        "a base range of segment {number} leaves its bounds"
                    )));
                }
                segment.base_blocks = blocks as u32;
            }
            segment.ranges.end = numbers.at();
        }
        for segment in &mut self.segments {
            check_bounds(segment)?;
            let digests = numbers.take(DIGESTS_BYTES).ok_or_else(early)?;
            segment.probe.copy_from_slice(&digests[..4]);
            segment.output.copy_from_slice(&digests[4..36]);
            segment.digest.copy_from_slice(&digests[36..]);
        }
        if numbers.at() != self.body.len() {
            return Err(invalid("bytes follow the body of the delta's index"));
        }
        Ok(())
    }

    /// Walks the runs once: they cover the target, copies stay in the base, data is what the
    /// segments have; notes where each segment and each stretch starts.
    fn place_segments(&mut self) -> Result<()> {
        let (blocks, base) = (self.header.target_blocks(), self.header.base_blocks());
        let mut walk = Walk::new(&self.body, self.start);
        let mut waiting = self.segments.iter_mut();
        // Blocks of the segment at hand that are still to be placed.
        let mut left = 0u64;
        let mut covered = 0u64;
        loop {
            let before = walk.cursor();
            let Some(piece) = walk.next()? else { break };
            covered = (piece.target.checked_add(piece.count))
                .filter(|end| *end <= blocks)
                .ok_or_else(|| invalid("the runs of the delta leave the target"))?;
            while (self.stretches.len() as u64) * STRETCH_BLOCKS < covered {
                let skip = self.stretches.len() as u64 * STRETCH_BLOCKS - piece.target;
                self.stretches.push(Cursor { skip, ..before });
            }
            match piece.source {
                Source::Zero => {}
                Source::Base(start) => {
                    if start.checked_add(piece.count).is_none_or(|end| end > base) {
                        return Err(invalid("a copied run leaves the base"));
                    }
                }
                Source::Data => {
                    let mut placed = 0;
                    while placed < piece.count {
                        if left == 0 {
                            let segment = waiting
                                .next()
                                .ok_or_else(|| invalid("the runs need more than the segments"))?;
                            segment.cursor = Cursor {
                                skip: placed,
                                ..before
                            };
                            left = u64::from(segment.blocks);
                        }
                        let now = left.min(piece.count - placed);
                        (left, placed) = (left - now, placed + now);
                    }
                }
            }
        }
        if covered != blocks || left > 0 || waiting.next().is_some() {
            return Err(invalid("runs, segments and target of the delta differ"));
        }
        Ok(())
    }
}

fn range(numbers: &mut Numbers<'_>, after: u64) -> Result<(u64, u64)> {
    let read = (|| {
        let start = after.checked_add_signed(numbers.signed()?)?;
        let count = numbers.number()?.checked_add(1)?;
        start.checked_add(count)?;
        Some((start, count))
    })();
    read.ok_or_else(|| invalid("a base range of the delta is malformed"))
}

/// One record, and how many base ranges it has; these and the digests come later.
fn read_record(numbers: &mut Numbers<'_>, number: u32, coded_start: u64) -> Result<(Segment, u64)> {
    let read = (|| {
        let coding = numbers.byte()?;
        let blocks = u32::try_from(numbers.number()?.checked_add(1)?).ok()?;
        let coded_bytes = u32::try_from(numbers.number()?).ok()?;
        let ranges = numbers.number()?;
        Some((coding, blocks, coded_bytes, ranges))
    })();
    let (coding, blocks, coded_bytes, ranges) =
        read.ok_or_else(|| invalid(format!("the record of segment {number} is malformed")))?;
    let Some(coding) = Coding::from_byte(coding) else {
        return Err(Error::CodingUnknown {
            segment: number,
            coding,
        });
    };
    if blocks > SEGMENT_BLOCKS_MAX || coded_bytes == 0 || coded_bytes > CODED_MAX {
        return Err(invalid(format!(
            "segment {number} has {blocks} blocks in {coded_bytes} coded bytes"
        )));
    }
    let segment = Segment {
        number,
        coding,
        blocks,
        base_blocks: 0,
        coded_start,
        coded_bytes,
        probe: [0; 4],
        output: [0; 32],
        digest: [0; 32],
        ranges: 0..0,
        ranges_after: 0,
        cursor: Cursor::default(),
    };
    Ok((segment, ranges))
}

fn check_bounds(segment: &Segment) -> Result<()> {
    let right = segment.coding.has_base() == (segment.base_blocks > 0)
        && segment.blocks + segment.base_blocks <= HELD_BLOCKS_MAX
        && (segment.coding != Coding::Raw
            || segment.coded_bytes as usize == segment.output_bytes());
    if right {
        return Ok(());
    }
    Err(invalid(format!(
        "segment {} has {} blocks and {} of base in {} coded bytes",
        segment.number, segment.blocks, segment.base_blocks, segment.coded_bytes
    )))
}

fn read_header(bytes: &[u8]) -> Result<Header> {
    if bytes.len() < HEADER_BYTES || bytes[..8] != *MAGIC {
        return Err(Error::NotAPayload {
            found: format!("first bytes {}", hex(&bytes[..bytes.len().min(8)])),
        });
    }
    let format = u32_at(bytes, 8);
    if format != FORMAT {
        return Err(Error::FormatUnknown {
            found: format,
            known: FORMAT,
        });
    }
    let kind = Kind::from_byte(bytes[48])
        .ok_or_else(|| invalid(format!("a delta of kind {}", bytes[48])))?;
    let mut header = Header {
        kind,
        body_bytes: u32_at(bytes, 12),
        base_bytes: u64_at(bytes, 16),
        target_bytes: u64_at(bytes, 24),
        file_bytes: u64_at(bytes, 32),
        segments: u32_at(bytes, 40),
        runs: u32_at(bytes, 44),
        base: [0; 32],
        target: [0; 32],
    };
    header.base.copy_from_slice(&bytes[64..96]);
    header.target.copy_from_slice(&bytes[96..128]);
    if bytes[49..64].iter().any(|byte| *byte != 0) {
        return Err(invalid("reserved bytes of the delta's header are set"));
    }
    if header.body_bytes as usize > BODY_MAX {
        return Err(Error::TooLarge {
            what: "the body of the delta's index",
            found: header.body_bytes.into(),
            limit: BODY_MAX as u64,
        });
    }
    for size in [header.base_bytes, header.target_bytes] {
        let whole = size.is_multiple_of(BLOCK as u64) || kind == Kind::File;
        if size == 0 || size > BLOCKS_MAX * BLOCK as u64 || !whole {
            return Err(Error::ImageSize {
                size,
                why: "a delta has no such base or target",
            });
        }
    }
    Ok(header)
}

fn agree(header: &Header, expect: &Expect) -> Result<()> {
    let differ = |what| Err(Error::IndexForAnotherImage { what });
    if header.kind != expect.kind {
        return differ(format!("a delta of kind {:?}", header.kind));
    }
    for (name, found, signed) in [
        ("base", &header.base, &expect.base),
        ("target", &header.target, &expect.target),
    ] {
        if found != signed {
            let (found, signed) = (hex(found), hex(signed));
            return differ(format!("{name} {found}, not {signed} as signed"));
        }
    }
    for (name, found, signed) in [
        ("target", header.target_bytes, expect.target_bytes),
        ("delta", header.file_bytes, expect.file_bytes),
    ] {
        if found != signed {
            return differ(format!("a {name} of {found} bytes, not {signed} as signed"));
        }
    }
    Ok(())
}
