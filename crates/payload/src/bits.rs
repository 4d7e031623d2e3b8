//! A bitmap: one bit a block or a segment is the most that may grow with an image here.

use alloc::vec;
use alloc::vec::Vec;

/// A fixed number of bits, all clear at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn new(len: u64) -> Self {
        Self {
            words: vec![0; len.div_ceil(64) as usize],
        }
    }

    pub(crate) fn get(&self, at: u64) -> bool {
        self.words[(at / 64) as usize] >> (at % 64) & 1 == 1
    }

    /// Sets a bit and says whether it was clear before.
    pub(crate) fn set(&mut self, at: u64) -> bool {
        let word = &mut self.words[(at / 64) as usize];
        let clear = *word >> (at % 64) & 1 == 0;
        *word |= 1 << (at % 64);
        clear
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }
}
