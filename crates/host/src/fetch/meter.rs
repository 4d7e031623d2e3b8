//! Slow retrieval (TUF: 'the client should … abort if the download is too slow') and statistics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a mirror must deliver at the least. An idle time-out alone does not stop a mirror that
/// sends one byte every 59 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinimumThroughput {
    /// Bytes per second of waiting.
    pub bytes_per_second: u64,
    /// Over how much waiting it is measured: long enough to sit out a short outage.
    pub window: Duration,
}

impl Default for MinimumThroughput {
    /// 1 KiB/s over a minute: slower than any link that could carry an update in a day.
    fn default() -> Self {
        Self {
            bytes_per_second: 1024,
            window: Duration::from_secs(60),
        }
    }
}

/// Measures one transfer. Only the time spent waiting for the network counts: a node that decodes
/// or writes slowly must not blame the mirror.
#[derive(Debug)]
pub(super) struct Meter {
    minimum: MinimumThroughput,
    waited: Duration,
    received: u64,
}

impl Meter {
    pub(super) const fn new(minimum: MinimumThroughput) -> Self {
        Self {
            minimum,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// Notes that `bytes` came after `waited`. `Err` gives the bytes per second when a whole window
    /// brought too little.
    pub(super) fn note(&mut self, waited: Duration, bytes: u64) -> Result<(), u64> {
        self.waited = self.waited.saturating_add(waited);
        self.received = self.received.saturating_add(bytes);
        if self.waited < self.minimum.window {
            return Ok(());
        }
        // In milliseconds, so that windows shorter than a second are judged too.
        let elapsed = u64::try_from(self.waited.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let rate = self.received.saturating_mul(1000) / elapsed;
        self.waited = Duration::ZERO;
        self.received = 0;
        if rate < self.minimum.bytes_per_second {
            Err(rate)
        } else {
            Ok(())
        }
    }
}

/// What was moved so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Body bytes received.
    pub bytes: u64,
    /// Requests made.
    pub requests: u64,
}

/// Counts traffic from any thread.
#[derive(Debug, Default)]
pub(super) struct Counter {
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Counter {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Traffic {
        Traffic {
            bytes: self.bytes.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}
