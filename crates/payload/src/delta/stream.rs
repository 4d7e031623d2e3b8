//! A target in order, first byte to last, for what cannot be written at positions: a file that is
//! digested on its way. One request, one segment in memory.

use alloc::vec;
use alloc::vec::Vec;

use crate::delta::apply::{Splitter, gather, read_padded};
use crate::delta::{Decoder, DeltaIndex, Piece, Source};
use crate::error::{Error, Result};
use crate::io::{CodedSource, Fault, FaultKind, ReadAt};
use crate::verity::BLOCK;

/// Bytes of copies and zeroes handed out at a time.
const CHUNK: usize = 256 << 10;

/// Takes the target's bytes in order.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Fault> + 'a;

/// Makes the whole target out of base and delta. Nothing proves it but its digest, which is the
/// caller's to compute and compare.
///
/// # Errors
/// [`Error::SegmentOutput`] where the base is not the one it should be, [`Error::SegmentDigest`]
/// where the coded bytes are not the named ones; else what the doors report.
pub fn stream(
    index: &DeltaIndex,
    base: &dyn ReadAt,
    source: &dyn CodedSource,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut pieces = Vec::new();
    index.pieces(&mut |piece| {
        pieces.push(piece);
        Ok(())
    })?;
    let mut maker = Maker {
        index,
        base,
        sink,
        pieces: pieces.into_iter(),
        open: None,
        left: index.header().target_bytes,
        decoder: Decoder::new(),
        held: Vec::new(),
    };
    maker.up_to_data()?;
    let segments = index.segments();
    if let (Some(first), Some(last)) = (segments.first(), segments.last()) {
        let all = 0..segments.len() as u32;
        let mut splitter = Splitter::new(index, all);
        let mut refused = None;
        let fetched = source.fetch(first.coded().start..last.coded().end, &mut |bytes| {
            splitter.push(bytes, &mut |number, coded| {
                maker.segment(number as usize, &coded).map_err(|error| {
                    refused = Some(error);
                    Fault::new(FaultKind::Cancelled, "a segment was refused")
                })
            })
        });
        if let Some(error) = refused {
            return Err(error);
        }
        fetched
            .and_then(|()| splitter.finish())
            .map_err(Error::io("fetch the delta"))?;
    }
    Ok(())
}

struct Maker<'a, 'b> {
    index: &'a DeltaIndex,
    base: &'a dyn ReadAt,
    sink: &'a mut Sink<'b>,
    pieces: vec::IntoIter<Piece>,
    /// What is left of the data run at hand, in blocks.
    open: Option<u64>,
    /// Bytes of the target that are left.
    left: u64,
    decoder: Decoder,
    held: Vec<u8>,
}

impl Maker<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let now = self.left.min(bytes.len() as u64);
        self.left -= now;
        (self.sink)(&bytes[..now as usize]).map_err(Error::io("write the target"))
    }

    /// Copies and zeroes up to the next run that needs a segment.
    fn up_to_data(&mut self) -> Result<()> {
        while self.open.is_none() {
            let Some(piece) = self.pieces.next() else {
                return Ok(());
            };
            match piece.source {
                Source::Data => self.open = Some(piece.count),
                Source::Zero => self.plain(None, piece.count)?,
                Source::Base(start) => self.plain(Some(start), piece.count)?,
            }
        }
        Ok(())
    }

    fn plain(&mut self, start: Option<u64>, blocks: u64) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < blocks {
            let now = (blocks - done).min((CHUNK / BLOCK) as u64);
            let bytes = &mut buffer[..now as usize * BLOCK];
            if let Some(start) = start {
                let at = (start + done) * BLOCK as u64;
                if !read_padded(self.base, self.index.header().base_bytes, at, bytes) {
                    let fault = Fault::disk("the base cannot be read");
                    return Err(Error::io("copy from the base")(fault));
                }
            }
            self.put(bytes)?;
            done += now;
        }
        Ok(())
    }

    /// Decodes a segment and hands out its blocks, each run at its place.
    fn segment(&mut self, number: usize, coded: &[u8]) -> Result<()> {
        let segment = &self.index.segments()[number];
        let mut held = core::mem::take(&mut self.held);
        held.resize(segment.base_bytes() + segment.output_bytes(), 0);
        let (base, out) = held.split_at_mut(segment.base_bytes());
        if !gather(self.index, segment, self.base, base)? {
            return Err(Error::SegmentOutput {
                segment: segment.number,
            });
        }
        self.decoder.decode(segment, coded, base, out)?;
        let mut rest = &out[..];
        while !rest.is_empty() {
            self.up_to_data()?;
            let Some(open) = self.open.take() else {
                return Err(crate::index::invalid("the runs end before the segments"));
            };
            let now = open.min((rest.len() / BLOCK) as u64);
            let (bytes, later) = rest.split_at(now as usize * BLOCK);
            self.put(bytes)?;
            rest = later;
            self.open = (open > now).then_some(open - now);
        }
        self.held = held;
        self.up_to_data()
    }
}
