//! Finding in the base what a segment has in common with it, whatever the file system: hashes of
//! short strings, of which one in 64 is kept, the same ones in either image.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::encode::delta::runs::each_block;
use crate::error::Result;
use crate::io::ReadAt;

/// Length of the strings: shorter ones match by chance, longer ones are seldom whole in code of
/// which every few bytes are an address.
const STRING: usize = 24;
/// One string in 64 is kept: of a block with anything in common some remain.
const KEEP: u64 = 64;
/// Strings at more places than this say nothing of where they are from.
const PLACES_MAX: usize = 8;

/// Kept strings of the base: hash and block, ascending.
#[derive(Debug)]
pub(super) struct Samples {
    kept: Vec<(u32, u32)>,
}

const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hashes of the kept strings of a block; strings of one byte over and over are passed by.
fn kept(block: &[u8], take: &mut dyn FnMut(u32)) {
    // A polynomial in PRIME over the string; what leaves it is taken off by its highest power.
    let highest = (0..STRING).fold(1u64, |power, _| power.wrapping_mul(PRIME));
    let mut hash = 0u64;
    let mut same = 0;
    for (i, byte) in block.iter().enumerate() {
        hash = hash.wrapping_mul(PRIME).wrapping_add(u64::from(*byte) + 1);
        same = if i > 0 && block[i - 1] == *byte {
            same + 1
        } else {
            0
        };
        if i >= STRING {
            hash = hash.wrapping_sub((u64::from(block[i - STRING]) + 1).wrapping_mul(highest));
        }
        let mixed = (hash ^ hash >> 29).wrapping_mul(PRIME);
        if i + 1 >= STRING && same < STRING - 1 && mixed >> 58 == 0 {
            take((mixed >> 20) as u32);
        }
    }
    const { assert!(KEEP == 1 << (64 - 58)) };
}

impl Samples {
    pub(super) fn of(base: &dyn ReadAt) -> Result<Self> {
        let mut all = Vec::new();
        each_block(base, &mut |number, block| {
            kept(block, &mut |hash| all.push((hash, number as u32)));
            Ok(())
        })?;
        all.sort_unstable();
        all.dedup();
        Ok(Self { kept: all })
    }

    /// Adds to `votes` how much each block of the base has in common with a block of the target.
    pub(super) fn vote(&self, block: &[u8], votes: &mut BTreeMap<u32, u32>) {
        kept(block, &mut |hash| {
            let first = self.kept.partition_point(|entry| entry.0 < hash);
            let same = self.kept[first..].iter();
            let places = same
                .take_while(|entry| entry.0 == hash)
                .take(PLACES_MAX + 1)
                .count();
            if places <= PLACES_MAX {
                for (_, at) in &self.kept[first..first + places] {
                    *votes.entry(*at).or_default() += (PLACES_MAX / places) as u32;
                }
            }
        });
    }
}
