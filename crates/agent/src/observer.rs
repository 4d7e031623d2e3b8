//! Who watches: a terminal, a log, nobody. Watching changes nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use twinroot_core::update::{HealthPurpose, HealthVerdict, Note, Phase};

/// How far a long effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// In a word: `writing`, `proving`, `fetching the boot image`.
    pub doing: &'static str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// Bytes fetched so far.
    pub fetched: u64,
}

/// Told of what happens. Called from the loop and from its workers.
pub trait Observer: Sync {
    /// The update entered a phase or a step of it.
    fn phase(&self, _phase: &Phase) {}
    /// A long effect went on.
    fn progress(&self, _progress: &Progress) {}
    /// Health was judged.
    fn health(&self, _purpose: HealthPurpose, _verdict: &HealthVerdict) {}
    /// The loop waits for something that is bounded in time.
    fn alive(&self) {}
    /// A line of history.
    fn note(&self, _note: &Note) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Observer for Quiet {}

/// Bytes of all staging in this run of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Came over the network.
    pub fetched: u64,
    /// Taken from the booted slot.
    pub reused: u64,
    /// Were right in the target already.
    pub right: u64,
    /// Written to the target.
    pub written: u64,
}

/// The same, counted by several workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    fetched: AtomicU64,
    reused: AtomicU64,
    right: AtomicU64,
    written: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, more: Totals) {
        // Plain sums: nothing is ordered by them.
        self.fetched.fetch_add(more.fetched, Ordering::Relaxed);
        self.reused.fetch_add(more.reused, Ordering::Relaxed);
        self.right.fetch_add(more.right, Ordering::Relaxed);
        self.written.fetch_add(more.written, Ordering::Relaxed);
    }

    /// Counts bytes that came and did nothing else: an index, a damaged segment, a boot image.
    pub(crate) fn fetched(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            fetched: self.fetched.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            right: self.right.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        }
    }
}
