//! The rate limit: an update must not starve the workload's own traffic.

use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bytes a second that all transfers together may take. Pieces are small (64 KiB), so what comes is even.
#[derive(Debug)]
pub struct Pace {
    rate: NonZeroU64,
    /// When the next byte may be taken.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most `rate` bytes a second.
    #[must_use]
    pub const fn new(rate: NonZeroU64) -> Self {
        Self {
            rate,
            next: Mutex::new(None),
        }
    }

    /// Waits until `bytes` more may have come. The server notices by the connection's window being full.
    #[expect(
        clippy::disallowed_methods,
        reason = "a duration of waiting, not a point in time"
    )]
    pub(super) fn wait(&self, bytes: u64) {
        let now = Instant::now();
        let until = {
            // A poisoned lock still holds a time; a thread that died took none of it along.
            let mut next = self
                .next
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            // Time in which nothing came is not made up for later.
            let from = next.map_or(now, |next| next.max(now));
            let until = from + due(bytes, self.rate);
            *next = Some(until);
            until
        };
        std::thread::sleep(until.saturating_duration_since(now));
    }
}

/// How long `bytes` may take at the least.
fn due(bytes: u64, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_takes_its_share_of_a_second() {
        let rate = |rate| NonZeroU64::new(rate).unwrap();
        assert_eq!(due(65_536, rate(65_536)), Duration::from_secs(1));
        assert_eq!(due(1, rate(1 << 20)), Duration::from_nanos(953));
        assert_eq!(due(0, rate(1)), Duration::ZERO);
        assert!(due(u64::MAX, rate(1)) > Duration::from_secs(1 << 30));
    }

    #[test]
    fn two_that_share_a_pace_get_it_together() {
        #[expect(clippy::disallowed_methods, reason = "a test of waiting")]
        let start = Instant::now();
        let pace = Pace::new(NonZeroU64::new(1_000_000).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..5).for_each(|_| pace.wait(10_000)));
            }
        });
        // 100 kB at 1 MB/s: never faster, however many ask.
        assert!(start.elapsed() >= Duration::from_millis(100));
    }
}
