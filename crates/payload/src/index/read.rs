//! Reading an index: a digest check over the whole, one pass of consistency checks, then by parts.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::bits::Bits;
use crate::error::{Error, Result};
use crate::index::walk::{Keys, Runs};
use crate::index::{
    Coding, FORMAT, HEADER_BYTES, Header, INDEX_MAX, KEY_WIDTHS, MAGIC, RECORD_BYTES,
    SEGMENT_BLOCKS_MAX, Segment,
};
use crate::io::{CodedSource, Fault, ReadAt, WriteAt, fetch_into};
use crate::verity::{BLOCK, Hash, TreeShape, hex, sha256};

/// What the signed manifest says of the image; the index must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Size of the image in bytes.
    pub image_bytes: u64,
    /// Root hash of its verity tree.
    pub root_hash: Hash,
    /// Size of the payload file in bytes.
    pub file_bytes: u64,
}

/// Fetches the index, the first `size` bytes of the payload, and checks its digest.
///
/// # Errors
/// [`Error::TooLarge`] above [`INDEX_MAX`], before anything is fetched or allocated;
/// [`Error::IndexDigest`] where the bytes are not the ones that the manifest names.
pub fn load(source: &dyn CodedSource, size: u64, digest: &Hash) -> Result<Vec<u8>> {
    check_size(size)?;
    let mut bytes = vec![0; size as usize];
    fetch_into(source, 0, &mut bytes).map_err(Error::io("fetch the payload's index"))?;
    if sha256(&bytes) == *digest {
        Ok(bytes)
    } else {
        Err(Error::IndexDigest)
    }
}

/// The same for an index that shall not be held in memory: writes it to `to`, from byte `at` on. What
/// is read from there later is not proven any more; it is checked wherever it is used, and the image
/// made by it by its root hash.
pub fn load_to(
    source: &dyn CodedSource,
    size: u64,
    digest: &Hash,
    to: &dyn WriteAt,
    at: u64,
) -> Result<()> {
    check_size(size)?;
    let mut hasher = Sha256::new();
    let mut done = 0;
    let doing = "fetch the payload's index";
    source
        .fetch(0..size, &mut |bytes| {
            let end = done + bytes.len() as u64;
            if end > size {
                return Err(Fault::network("the source sent more than the index"));
            }
            hasher.update(bytes);
            to.write_at(at + done, bytes)?;
            done = end;
            Ok(())
        })
        .map_err(Error::io(doing))?;
    if done < size {
        let short = Fault::network("the source ended within the index");
        return Err(Error::io(doing)(short));
    }
    if Hash::from(hasher.finalize()) == *digest {
        Ok(())
    } else {
        Err(Error::IndexDigest)
    }
}

fn check_size(size: u64) -> Result<()> {
    if size > INDEX_MAX {
        return Err(Error::TooLarge {
            what: "the index's size",
            found: size,
            limit: INDEX_MAX,
        });
    }
    Ok(())
}

/// A checked index, read by parts.
#[derive(Clone, Copy)]
pub struct Index<'a> {
    bytes: &'a dyn ReadAt,
    header: Header,
}

impl core::fmt::Debug for Index<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Index").field(&self.header).finish()
    }
}

pub(crate) fn invalid(what: impl Into<String>) -> Error {
    Error::IndexInvalid { what: what.into() }
}

impl<'a> Index<'a> {
    /// Reads the header and checks the whole index once: it is for the expected image, its
    /// sections and the coded ranges join without gap or overlap, and its runs cover each block of
    /// the image exactly once. Memory: one bit a block of the image.
    pub fn open(bytes: &'a dyn ReadAt, expect: &Expect) -> Result<Self> {
        let size = bytes.len().map_err(Error::io("read the payload's index"))?;
        let header = read_header(bytes, size)?;
        agree(&header, expect)?;
        let index = Self { bytes, header };
        index.check_segments()?;
        Ok(index)
    }

    /// What the index says of the whole payload.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The record of segment `number`, its bounds checked again: the index may lie on a disk, and what
    /// a disk gives may change.
    pub fn segment(&self, number: u32) -> Result<Segment> {
        let segment = self.record(number)?;
        check_lengths(&segment, &self.header)?;
        let header = &self.header;
        let ends = |start: u64, length: u32, limit: u64| {
            start
                .checked_add(length.into())
                .is_some_and(|end| end <= limit)
        };
        if ends(segment.coded_start, segment.coded_bytes, header.file_bytes)
            && ends(segment.runs_start, segment.runs_bytes, header.runs_bytes)
            && ends(segment.first_key, segment.blocks, header.distinct_blocks)
        {
            return Ok(segment);
        }
        Err(invalid(format!("segment {number} leaves its sections")))
    }

    fn record(&self, number: u32) -> Result<Segment> {
        if number >= self.header.segments {
            return Err(invalid(format!("there is no segment {number}")));
        }
        let mut record = [0; RECORD_BYTES];
        let at = HEADER_BYTES as u64 + u64::from(number) * RECORD_BYTES as u64;
        self.bytes
            .read_at(at, &mut record)
            .map_err(Error::io("read the payload's index"))?;
        decode_record(number, &record)
    }

    /// The runs of a segment, in order of the image.
    #[must_use]
    pub(crate) fn runs(&self, segment: &Segment) -> Runs<'a> {
        Runs::new(self.bytes, &self.header, segment)
    }

    /// Access to the keys of all distinct blocks.
    #[must_use]
    pub(crate) fn keys(&self) -> Keys<'a> {
        Keys::new(self.bytes, &self.header)
    }

    fn check_segments(&self) -> Result<()> {
        let header = &self.header;
        let mut covered = Bits::new(header.image_blocks);
        let (mut runs, mut keys) = (0, 0);
        let mut coded = header.index_bytes().expect("read_header has added it up");
        for number in 0..header.segments {
            let segment = self.record(number)?;
            if segment.runs_start != runs
                || segment.first_key != keys
                || segment.coded_start != coded
            {
                return Err(invalid(format!(
                    "segment {number} does not join the one before"
                )));
            }
            check_lengths(&segment, header)?;
            runs += u64::from(segment.runs_bytes);
            keys += u64::from(segment.blocks);
            coded = coded
                .checked_add(u64::from(segment.coded_bytes))
                .ok_or_else(|| invalid(format!("segment {number} ends beyond all bounds")))?;
            if runs > header.runs_bytes {
                return Err(invalid(format!(
                    "the runs of segment {number} leave their section"
                )));
            }
            self.check_runs(&segment, &mut covered)?;
        }
        let ends = (runs, keys, coded);
        if ends != (header.runs_bytes, header.distinct_blocks, header.file_bytes) {
            return Err(invalid(
                "the segments do not add up to the sizes in the header",
            ));
        }
        if covered.count() != header.image_blocks {
            return Err(invalid("some blocks of the image are in no segment"));
        }
        Ok(())
    }

    /// Each image block once over all segments; each block of the segment used at least once.
    fn check_runs(&self, segment: &Segment, covered: &mut Bits) -> Result<()> {
        let mut used = Bits::new(u64::from(segment.blocks));
        let mut runs = self.runs(segment);
        while let Some(run) = runs.next()? {
            for i in 0..run.count {
                if !covered.set(run.target + u64::from(i)) {
                    let (block, number) = (run.target + u64::from(i), segment.number);
                    return Err(invalid(format!(
                        "segment {number} yields block {block} again"
                    )));
                }
                if segment.coding != Coding::Zero {
                    used.set(u64::from(run.from + i));
                }
            }
        }
        if used.count() != u64::from(segment.blocks) {
            let number = segment.number;
            return Err(invalid(format!(
                "segment {number} holds blocks that no run names"
            )));
        }
        Ok(())
    }
}

fn read_header(bytes: &dyn ReadAt, size: u64) -> Result<Header> {
    let mut raw = [0; HEADER_BYTES];
    if size < HEADER_BYTES as u64 {
        return Err(Error::NotAPayload {
            found: format!("an index of {size} bytes"),
        });
    }
    bytes
        .read_at(0, &mut raw)
        .map_err(Error::io("read the payload's index"))?;
    if raw[..8] != *MAGIC {
        return Err(Error::NotAPayload {
            found: format!("first bytes {}", hex(&raw[..8])),
        });
    }
    let format = u32_at(&raw, 8);
    if format != FORMAT {
        return Err(Error::FormatUnknown {
            found: format,
            known: FORMAT,
        });
    }
    if u32_at(&raw, 12) as usize != BLOCK {
        return Err(invalid(format!(
            "blocks of {} bytes, not {BLOCK}",
            u32_at(&raw, 12)
        )));
    }
    let mut root_hash = [0; 32];
    root_hash.copy_from_slice(&raw[64..96]);
    let header = Header {
        segment_blocks: u32_at(&raw, 16),
        segments: u32_at(&raw, 20),
        image_blocks: u64_at(&raw, 24),
        distinct_blocks: u64_at(&raw, 32),
        runs_bytes: u64_at(&raw, 40),
        file_bytes: u64_at(&raw, 48),
        key_width: raw[56],
        root_hash,
    };
    if raw[57..64].iter().chain(&raw[96..]).any(|byte| *byte != 0) {
        return Err(invalid("reserved bytes of the header are set"));
    }
    if header.segment_blocks == 0 || header.segment_blocks > SEGMENT_BLOCKS_MAX {
        let (found, limit) = (header.segment_blocks.into(), SEGMENT_BLOCKS_MAX.into());
        return Err(Error::TooLarge {
            what: "the number of blocks in a segment",
            found,
            limit,
        });
    }
    if !KEY_WIDTHS.contains(&header.key_width) {
        return Err(invalid(format!("keys of {} bytes", header.key_width)));
    }
    TreeShape::new(header.image_blocks)?;
    if header.index_bytes() != Some(size) {
        return Err(invalid(format!(
            "its counts do not add up to its {size} bytes"
        )));
    }
    Ok(header)
}

fn agree(header: &Header, expect: &Expect) -> Result<()> {
    let image_bytes = header.image_blocks * BLOCK as u64;
    if image_bytes != expect.image_bytes {
        let what = format!("{image_bytes} bytes, not {} as signed", expect.image_bytes);
        return Err(Error::IndexForAnotherImage { what });
    }
    if header.root_hash != expect.root_hash {
        let (found, signed) = (hex(&header.root_hash), hex(&expect.root_hash));
        let what = format!("root hash {found}, not {signed} as signed");
        return Err(Error::IndexForAnotherImage { what });
    }
    if header.file_bytes != expect.file_bytes {
        let (found, signed) = (header.file_bytes, expect.file_bytes);
        let what = format!("a payload of {found} bytes, not {signed} as signed");
        return Err(Error::IndexForAnotherImage { what });
    }
    Ok(())
}

fn check_lengths(segment: &Segment, header: &Header) -> Result<()> {
    let (number, blocks) = (segment.number, segment.blocks);
    let coded = segment.coded_bytes as usize;
    let right = match segment.coding {
        Coding::Zero => blocks == 0 && coded == 0,
        Coding::Raw => blocks > 0 && coded == segment.decoded_bytes(),
        // A frame no shorter than its content is sent raw: so coded bytes always fit the buffer
        // of a worker.
        Coding::Zstd => blocks > 0 && coded > 0 && coded < segment.decoded_bytes(),
    };
    if right && blocks <= header.segment_blocks && segment.runs_bytes > 0 {
        return Ok(());
    }
    Err(invalid(format!(
        "segment {number} has {blocks} blocks in {coded} coded bytes"
    )))
}

fn decode_record(number: u32, raw: &[u8; RECORD_BYTES]) -> Result<Segment> {
    let Some(coding) = Coding::from_byte(raw[0]) else {
        return Err(Error::CodingUnknown {
            segment: number,
            coding: raw[0],
        });
    };
    if raw[1] != 0 {
        return Err(invalid(format!(
            "a reserved byte of segment {number} is set"
        )));
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&raw[40..72]);
    Ok(Segment {
        number,
        coding,
        age: u16::from_le_bytes([raw[2], raw[3]]),
        blocks: u32_at(raw, 4),
        coded_bytes: u32_at(raw, 8),
        runs_bytes: u32_at(raw, 12),
        coded_start: u64_at(raw, 16),
        runs_start: u64_at(raw, 24),
        first_key: u64_at(raw, 32),
        digest,
    })
}

pub(crate) fn u32_at(raw: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&raw[at..at + 4]);
    u32::from_le_bytes(bytes)
}

pub(crate) fn u64_at(raw: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&raw[at..at + 8]);
    u64::from_le_bytes(bytes)
}
