//! The `Clock` port: the only place on a node that reads a clock.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use twinroot_core::facts::{BootTime, Now};
use twinroot_ports::Clock;
use twinroot_trust::time::UnixTime;

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now {
            wall: wall(),
            boot: BootTime(since_boot()),
        }
    }
}

/// The clocks of a machine in files: the wall clock moved by the seconds in a file, if there is one,
/// and the time since that machine was booted. A second file lets time pass that the host has not
/// spent, for both clocks.
#[derive(Debug, Clone)]
pub struct FilesClock {
    /// File with the seconds by which the machine's wall clock is off; absent means it is right.
    pub offset: PathBuf,
    /// File with the seconds that have passed on the machine beyond the host's; absent means none.
    pub passed: PathBuf,
    /// [`FilesClock::uptime`] when the machine was booted.
    pub booted_at: u64,
}

/// How stale a look at the clocks of a machine in files may be.
const LOOK: Duration = Duration::from_millis(20);

impl FilesClock {
    /// The host's time since boot and the time that has passed beyond it, in milliseconds.
    #[must_use]
    pub fn uptime(passed: &Path) -> u64 {
        let extra = u64::try_from(seconds_in(passed)).unwrap_or(0);
        since_boot().saturating_add(extra.saturating_mul(1000))
    }
}

/// The seconds that a file holds; none where it does not exist or holds something else.
fn seconds_in(file: &Path) -> i64 {
    let text = std::fs::read_to_string(file).ok();
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

impl Clock for FilesClock {
    fn now(&self) -> Now {
        let off = seconds_in(&self.offset).saturating_add(seconds_in(&self.passed));
        // A host that was restarted counts from nothing again; so does the machine then.
        let boot = Self::uptime(&self.passed).saturating_sub(self.booted_at);
        Now {
            wall: UnixTime(wall().0.saturating_add(off)),
            boot: BootTime(boot),
        }
    }

    /// A machine that nobody has given another time keeps the host's, which needs no looking after.
    fn trusted_for(&self) -> Option<Duration> {
        (self.offset.exists() || self.passed.exists()).then_some(LOOK)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
fn wall() -> UnixTime {
    // A clock before 1970 is as wrong as one at 1970; `core::clock` judges both.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Milliseconds since the kernel started, suspend included.
#[must_use]
pub fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux since 2.6.39 has it");
    let (seconds, nanos) = (time.tv_sec(), time.tv_nsec());
    u64::try_from(seconds).unwrap_or(0) * 1000 + u64::try_from(nanos).unwrap_or(0) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_rises_and_starts_anew_with_the_machine() {
        let offset = PathBuf::from("/does/not/exist");
        let clock = FilesClock {
            offset: offset.clone(),
            passed: offset.clone(),
            booted_at: since_boot(),
        };
        let first = clock.now();
        assert!(first.boot.0 < 60_000, "{first:?}");
        assert!(clock.now().boot >= first.boot);
        let future = FilesClock {
            passed: offset.clone(),
            offset,
            booted_at: u64::MAX,
        };
        assert_eq!(
            future.now().boot,
            BootTime(0),
            "the host was restarted since"
        );
    }
}
