//! The `Clock` port: the only place on a node that reads a clock.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

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
/// and the time since that machine was booted.
#[derive(Debug, Clone)]
pub struct FilesClock {
    /// File with the seconds by which the machine's wall clock is off; absent means it is right.
    pub offset: PathBuf,
    /// The host's time since boot, in milliseconds, when the machine was booted.
    pub booted_at: u64,
}

impl Clock for FilesClock {
    fn now(&self) -> Now {
        let offset = std::fs::read_to_string(&self.offset).ok();
        let offset = offset
            .and_then(|text| text.trim().parse::<i64>().ok())
            .unwrap_or(0);
        // A host that was restarted counts from nothing again; so does the machine then.
        let boot = since_boot().saturating_sub(self.booted_at);
        Now {
            wall: UnixTime(wall().0.saturating_add(offset)),
            boot: BootTime(boot),
        }
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
            booted_at: since_boot(),
        };
        let first = clock.now();
        assert!(first.boot.0 < 60_000, "{first:?}");
        assert!(clock.now().boot >= first.boot);
        let future = FilesClock {
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
