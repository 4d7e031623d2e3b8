//! A target in order, first byte to last, for what cannot be written at positions: a file that is
//! digested on its way. One request, one segment in memory.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::OnceCell;

use crate::delta::apply::{gather, read_padded};
use crate::delta::{Decoder, DeltaIndex, Expect, Head, Piece, Source, Splitter};
use crate::error::{Error, Result};
use crate::io::{CodedSource, Fault, FaultKind, ReadAt};
use crate::verity::{BLOCK, Hash};

/// Bytes of copies and zeroes handed out at a time.
const CHUNK: usize = 256 << 10;

/// Takes the target's bytes in order.
pub type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Fault> + 'a;

/// What the signed manifest says of a delta.
#[derive(Debug, Clone, Copy)]
pub struct Signed {
    /// Size of its index.
    pub index_size: u64,
    /// SHA-256 of its index.
    pub index_digest: Hash,
    /// What the index must say.
    pub expect: Expect,
}

/// Makes the whole target out of base and delta, and fetches the delta in one request. Nothing proves
/// the target but its digest, which is the caller's to compute and compare.
///
/// # Errors
/// [`Error::SegmentOutput`] where the base is not the one it should be, [`Error::IndexDigest`] and
/// [`Error::SegmentDigest`] where what came is not what was named; else what the doors report.
pub fn stream(
    signed: &Signed,
    base: &dyn ReadAt,
    source: &dyn CodedSource,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut head = Head::new(signed.index_size, &signed.index_digest)?;
    let opened = OnceCell::new();
    let mut sink = Some(sink);
    let mut making = None;
    let mut take = |mut bytes: &[u8]| -> Result<()> {
        if making.is_none() {
            let Some((index, rest)) = head.take(bytes)? else {
                return Ok(());
            };
            let index = DeltaIndex::open(&index, &signed.expect)?;
            let index: &DeltaIndex = opened.get_or_init(|| index);
            let sink = sink.take().expect("the index is opened once");
            making = Some((Maker::new(index, base, sink)?, Splitter::all(index)));
            bytes = rest;
        }
        match &mut making {
            Some((maker, splitter)) => maker.push(splitter, bytes),
            None => Ok(()),
        }
    };
    let mut refused = None;
    let fetched = source.fetch(0..signed.expect.file_bytes, &mut |bytes| {
        take(bytes).map_err(|error| {
            refused = Some(error);
            Fault::new(FaultKind::Cancelled, "a segment was refused")
        })
    });
    if let Some(error) = refused {
        return Err(error);
    }
    let whole = || match making {
        Some((_, splitter)) => splitter.finish(),
        None => Err(Fault::network("the source ended within the index")),
    };
    let doing = "fetch the delta";
    fetched.and_then(|()| whole()).map_err(Error::io(doing))
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

impl<'a, 'b> Maker<'a, 'b> {
    /// Hands out what stands before the first segment.
    fn new(index: &'a DeltaIndex, base: &'a dyn ReadAt, sink: &'a mut Sink<'b>) -> Result<Self> {
        let mut pieces = Vec::new();
        index.pieces(&mut |piece| {
            pieces.push(piece);
            Ok(())
        })?;
        let mut maker = Self {
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
        Ok(maker)
    }

    /// Takes coded bytes and hands out what is complete with them.
    fn push(&mut self, splitter: &mut Splitter<'_>, bytes: &[u8]) -> Result<()> {
        let mut refused = None;
        let pushed = splitter.push(bytes, &mut |number, coded| {
            self.segment(number as usize, &coded).map_err(|error| {
                refused = Some(error);
                Fault::new(FaultKind::Cancelled, "a segment was refused")
            })
        });
        match refused {
            Some(error) => Err(error),
            None => pushed.map_err(Error::io("fetch the delta")),
        }
    }

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
