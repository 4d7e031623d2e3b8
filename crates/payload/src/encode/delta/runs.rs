//! Which blocks of the target are zeroes, which the base has, and which have to be coded.

use alloc::vec::Vec;

use crate::delta::apply::read_padded;
use crate::delta::{Piece, Source};
use crate::error::{Error, Result};
use crate::io::{Fault, ReadAt};
use crate::verity::{BLOCK, STREAM, sha256};

/// Half of a SHA-256: no two blocks that differ share it by chance.
type Key = u128;

/// Calls `take` with each block of an image, the last one padded with zeroes.
pub(super) fn each_block(
    image: &dyn ReadAt,
    take: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let failed = Error::io("read an image");
    let size = image.len().map_err(failed)?;
    let mut buffer = alloc::vec![0; STREAM];
    let mut at = 0;
    while at < size {
        let bytes = (size - at).div_ceil(BLOCK as u64) * BLOCK as u64;
        let piece = &mut buffer[..bytes.min(STREAM as u64) as usize];
        read_block_range(image, size, at, piece)?;
        for block in piece.chunks_exact(BLOCK) {
            take(at / BLOCK as u64, block)?;
            at += BLOCK as u64;
        }
    }
    Ok(())
}

/// Reads whole blocks, padded behind the end.
pub(super) fn read_block_range(
    image: &dyn ReadAt,
    size: u64,
    at: u64,
    to: &mut [u8],
) -> Result<()> {
    if read_padded(image, size, at, to) {
        return Ok(());
    }
    let fault = Fault::disk(alloc::format!("{} bytes at {at} cannot be read", to.len()));
    Err(Error::io("read an image")(fault))
}

/// The blocks of a base by content.
struct Blocks {
    by_key: Vec<(Key, u32)>,
    keys: Vec<Key>,
}

fn key(block: &[u8]) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&sha256(block)[..16]);
    Key::from_le_bytes(key)
}

impl Blocks {
    fn of(base: &dyn ReadAt) -> Result<Self> {
        let mut keys = Vec::new();
        each_block(base, &mut |_, block| {
            keys.push(key(block));
            Ok(())
        })?;
        let mut by_key: Vec<_> = keys.iter().copied().zip(0u32..).collect();
        by_key.sort_unstable();
        Ok(Self { by_key, keys })
    }

    /// Where the base has a block; of several places the one that `near` names, else the nearest.
    fn find(&self, key: Key, near: i64) -> Option<u32> {
        if let Ok(at) = usize::try_from(near)
            && self.keys.get(at) == Some(&key)
        {
            return Some(at as u32);
        }
        let first = self.by_key.partition_point(|entry| entry.0 < key);
        let same = self.by_key[first..]
            .iter()
            .take_while(|entry| entry.0 == key);
        same.map(|entry| entry.1)
            .min_by_key(|at| (i64::from(*at) - near).unsigned_abs())
    }
}

/// The pieces of the target, in order.
pub(super) fn pieces(base: &dyn ReadAt, target: &dyn ReadAt) -> Result<Vec<Piece>> {
    let blocks = Blocks::of(base)?;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut shift = 0i64;
    each_block(target, &mut |number, block| {
        let source = if block.iter().all(|byte| *byte == 0) {
            Source::Zero
        } else {
            match blocks.find(key(block), number as i64 + shift) {
                Some(at) => {
                    shift = i64::from(at) - number as i64;
                    Source::Base(u64::from(at))
                }
                None => Source::Data,
            }
        };
        match pieces.last_mut() {
            Some(last) if joins(last, source) => last.count += 1,
            _ => pieces.push(Piece {
                target: number,
                count: 1,
                source,
            }),
        }
        Ok(())
    })?;
    Ok(pieces)
}

fn joins(last: &Piece, next: Source) -> bool {
    match (last.source, next) {
        (Source::Zero, Source::Zero) | (Source::Data, Source::Data) => true,
        (Source::Base(start), Source::Base(at)) => start + last.count == at,
        _ => false,
    }
}
