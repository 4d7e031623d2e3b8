//! Cutting what comes from the source: the index at its start, then coded segments.

use alloc::vec::Vec;

use crate::delta::read::check_size;
use crate::delta::{DeltaIndex, Plan, Segment};
use crate::error::{Error, Result};
use crate::io::Fault;
use crate::plan::FetchRun;
use crate::verity::{Hash, sha256};

/// Collects the index from the start of a stream that goes on with segments.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    size: usize,
    digest: Hash,
}

impl Head {
    /// For an index of `size` bytes with this digest, both from the signed manifest.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where no index may have that size.
    pub fn new(size: u64, digest: &Hash) -> Result<Self> {
        check_size(size)?;
        let size = size as usize;
        Ok(Self {
            bytes: Vec::with_capacity(size),
            size,
            digest: *digest,
        })
    }

    /// Takes the next bytes of the stream. Once the index is whole and its digest right, gives it, and
    /// the bytes behind it.
    ///
    /// # Errors
    /// [`Error::IndexDigest`] where it is not the one that the manifest names.
    pub fn take<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<(Vec<u8>, &'b [u8])>> {
        let (now, rest) = bytes.split_at(bytes.len().min(self.size - self.bytes.len()));
        self.bytes.extend_from_slice(now);
        if self.bytes.len() < self.size {
            return Ok(None);
        }
        if sha256(&self.bytes) != self.digest {
            return Err(Error::IndexDigest);
        }
        Ok(Some((core::mem::take(&mut self.bytes), rest)))
    }
}

/// Cuts the bytes of a fetched run into the coded segments that it holds.
#[derive(Debug)]
pub struct Splitter<'a> {
    /// What is wanted; everything without a plan.
    plan: Option<&'a Plan>,
    segments: &'a [Segment],
    coded: Vec<u8>,
    /// Bytes of the segment at hand that have come.
    filled: usize,
}

/// Takes the number of a segment and its coded bytes.
pub type TakeCoded<'a> = dyn FnMut(u32, Vec<u8>) -> Result<(), Fault> + 'a;

impl<'a> Splitter<'a> {
    /// For one run of this plan, from its first byte on.
    #[must_use]
    pub fn new(index: &'a DeltaIndex, plan: &'a Plan, run: &FetchRun) -> Self {
        Self {
            plan: Some(plan),
            segments: &index.segments()[run.segments.start as usize..run.segments.end as usize],
            coded: Vec::new(),
            filled: 0,
        }
    }

    /// For all segments, whatever is there already.
    #[must_use]
    pub fn all(index: &'a DeltaIndex) -> Self {
        Self {
            plan: None,
            segments: index.segments(),
            coded: Vec::new(),
            filled: 0,
        }
    }

    /// Takes the next bytes, and hands on each wanted segment that is complete with them.
    pub fn push(&mut self, mut bytes: &[u8], take: &mut TakeCoded<'_>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let Some((segment, later)) = self.segments.split_first() else {
                return Err(Fault::network("the source sent more than was asked for"));
            };
            let left = segment.coded_bytes as usize - self.filled;
            let (now, rest) = bytes.split_at(bytes.len().min(left));
            bytes = rest;
            self.filled += now.len();
            let wanted = self.plan.is_none_or(|p| p.is_fetched(segment.number));
            if wanted {
                self.coded.reserve_exact(left);
                self.coded.extend_from_slice(now);
            }
            if now.len() == left {
                (self.segments, self.filled) = (later, 0);
                if wanted {
                    take(segment.number, core::mem::take(&mut self.coded))?;
                }
            }
        }
        Ok(())
    }

    /// Whether every segment was handed on.
    pub fn finish(self) -> Result<(), Fault> {
        if self.segments.is_empty() {
            return Ok(());
        }
        Err(Fault::network(
            "the source ended before the end of the range",
        ))
    }
}
