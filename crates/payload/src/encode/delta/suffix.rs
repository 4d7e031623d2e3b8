//! Longest matches of a needle anywhere in a text, by a suffix array.

use alloc::vec;
use alloc::vec::Vec;

/// A text of at most 4 MiB with its suffixes in order, and where those begin that share their first
/// two bytes.
pub(super) struct Suffixes<'a> {
    text: &'a [u8],
    order: Vec<i32>,
    /// For each two bytes: the first suffix in order that starts with them or something greater.
    starts: Vec<u32>,
}

impl<'a> Suffixes<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let mut order = vec![0; text.len()];
        divsufsort::sort_in_place(text, &mut order);
        let mut starts = vec![0u32; (1 << 16) + 1];
        for pair in text.windows(2) {
            starts[two(pair) + 1] += 1;
        }
        // The last suffix has one byte and stands before all others that start with it.
        if let Some(last) = text.last() {
            starts[(usize::from(*last) << 8) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        Self {
            text,
            order,
            starts,
        }
    }

    /// Where the longest beginning of `needle` that the text has lies, and how long it is.
    pub(super) fn longest(&self, needle: &[u8]) -> (usize, usize) {
        if needle.len() < 2 {
            return (0, 0);
        }
        let pair = two(needle);
        let (mut low, mut high) = (self.starts[pair] as usize, self.starts[pair + 1] as usize);
        if low == high {
            return (0, 0);
        }
        // All suffixes before `low` are less than the needle, all from `high` on greater; how much
        // the nearest of either side share with it is known, and so is that all between share
        // the less of both.
        let (mut with_low, mut with_high) = (2, 2);
        let (mut best, mut length) = (self.order[low] as usize, 0);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.order[middle] as usize;
            let known = with_low.min(with_high).min(self.text.len() - at);
            let suffix = &self.text[at + known..];
            let rest = &needle[known..];
            let shared = known + common(suffix, rest);
            if shared > length {
                (best, length) = (at, shared);
            }
            let less = match (needle.get(shared), self.text.get(at + shared)) {
                (None, _) => return (best, length),
                (Some(_), None) => true,
                (Some(needle), Some(text)) => text < needle,
            };
            if less {
                (low, with_low) = (middle + 1, shared);
            } else {
                (high, with_high) = (middle, shared);
            }
        }
        (best, length)
    }
}

fn two(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// How many bytes two texts have in common at their beginning.
pub(super) fn common(one: &[u8], other: &[u8]) -> usize {
    let (words, _) = one.as_chunks::<8>();
    let (others, _) = other.as_chunks::<8>();
    let mut same = 0;
    for (a, b) in words.iter().zip(others) {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return same + differ.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    let rest = one[same..].iter().zip(&other[same..]);
    same + rest.take_while(|(a, b)| a == b).count()
}
