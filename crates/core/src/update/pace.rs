//! When the loop has something to look at again, if nobody asks before.
//!
//! Two clocks: what was promised by the calendar (a window, the end of a hold) waits by wall time,
//! which may jump; pauses wait by time since boot. Between the times named here nothing wakes up.

use super::state::{ActivateStep, BackStep, Phase, State};
use super::{Cause, Goal};
use crate::config::Polling;
use crate::facts::{BootTime, Now};
use crate::why::WaitReason;
use twinroot_trust::time::UnixTime;

/// Pause between two looks at something that gives no sign when it changes (a gate, a workload that
/// is ill). Each look may refresh metadata, and once a minute is what a static file server of a
/// fleet bears.
const AGAIN: u64 = 60_000;
/// Pause between two steps of something that goes on by itself.
const STEP: u64 = 500;
/// Pause after the first failed check; it doubles with each that follows.
const FIRST_BACKOFF: u64 = 60_000;

/// When to tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// At this wall time.
    At(UnixTime),
    /// After so many milliseconds.
    After(u64),
    /// Not at all: only a check or a request moves it.
    Never,
}

/// When a state is looked at again. `round` is the pause in milliseconds between two rounds of
/// health checks on trial.
#[must_use]
pub fn next_tick(state: &State, round: u64) -> Tick {
    match &state.phase {
        // Waves open for many nodes at one moment. They are found by the regular check, which is
        // spread, and so are releases that wait for their time to be staged.
        Phase::Idle { .. } if !state.healthy => Tick::After(AGAIN),
        Phase::Idle { .. } | Phase::Available { .. } | Phase::Blocked { .. } => Tick::Never,
        Phase::Staged { reason, .. } => waiting(reason),
        Phase::Activated {
            reason,
            step: ActivateStep::Armed,
            ..
        } => match reason {
            WaitReason::RebootNeeded { .. } if state.wish.goal < Goal::Reboot => Tick::Never,
            WaitReason::RebootNeeded { .. } => Tick::After(AGAIN),
            reason => waiting(reason),
        },
        Phase::Trial { .. } => Tick::After(round),
        Phase::RollingBack {
            step: BackStep::Reboot,
            cause: Cause::Person { reboot: false, .. },
            ..
        }
        | Phase::Rebooting { .. } => Tick::Never,
        Phase::RollingBack {
            step: BackStep::Reboot,
            ..
        } => Tick::After(AGAIN),
        Phase::Checking { .. }
        | Phase::Staging { .. }
        | Phase::Activated { .. }
        | Phase::Blessing { .. }
        | Phase::Committing { .. }
        | Phase::RollingBack { .. }
        | Phase::Denying { .. }
        | Phase::Repairing { .. } => Tick::After(STEP),
    }
}

/// Whether the node runs and is well, with nothing under way: then a place that a gate gave out for
/// a restart can be given back.
#[must_use]
pub const fn is_steady(state: &State) -> bool {
    state.healthy && matches!(state.phase, Phase::Idle { .. } | Phase::Available { .. })
}

/// What a reason to wait waits for.
fn waiting(reason: &WaitReason) -> Tick {
    match reason {
        WaitReason::WindowOpensAt { at }
        | WaitReason::Held {
            until: Some(at), ..
        } => Tick::At(*at),
        WaitReason::StagedOnly { .. }
        | WaitReason::NextCheckAt { .. }
        | WaitReason::NoWindow { .. }
        | WaitReason::PausedLocally { .. }
        | WaitReason::Held { until: None, .. } => Tick::Never,
        _ => Tick::After(AGAIN),
    }
}

/// When to check again after a check at `last` that was the `failures`th in a row to fail (0: it did
/// not fail). `random` spreads the nodes: evenly over the jitter after a success; after failures over
/// the whole pause, which grows to the polling interval, so that a server which comes back meets
/// the fleet as evenly as before.
#[must_use]
pub fn next_check(polling: &Polling, last: BootTime, failures: u32, random: u64) -> BootTime {
    let (interval, jitter) = (
        polling.interval.0.saturating_mul(1000),
        polling.jitter.0.saturating_mul(1000),
    );
    let pause = if failures == 0 {
        interval.saturating_add(random % jitter.saturating_add(1))
    } else {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let most = doubled.min(interval.saturating_add(jitter)).max(1);
        most / 2 + random % (most / 2 + 1)
    };
    BootTime(last.0.saturating_add(pause))
}

/// When the first check after a start comes: within the jitter, since a whole fleet may have started
/// at once.
#[must_use]
pub fn first_check(polling: &Polling, start: BootTime, random: u64) -> BootTime {
    let jitter = polling.jitter.0.saturating_mul(1000);
    BootTime(start.0.saturating_add(random % jitter.saturating_add(1)))
}

/// Milliseconds until a tick; none where there is none.
#[must_use]
pub fn until(tick: Tick, since: BootTime, now: Now) -> Option<u64> {
    match tick {
        Tick::Never => None,
        Tick::At(at) => Some(at.since(now.wall).0.saturating_mul(1000)),
        Tick::After(pause) => Some(since.0.saturating_add(pause).saturating_sub(now.boot.0)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use twinroot_trust::time::Seconds;

    use super::*;

    const POLLING: Polling = Polling {
        interval: Seconds(3600),
        jitter: Seconds(600),
    };

    proptest! {
        #[test]
        fn a_node_never_asks_more_often_than_once_in_half_a_minute(
            last: u32, failures in 0u32..40, random: u64,
        ) {
            let next = next_check(&POLLING, BootTime(last.into()), failures, random);
            prop_assert!(next.0 >= u64::from(last) + 30_000);
        }

        #[test]
        fn it_never_waits_longer_than_interval_and_jitter(
            last: u32, failures in 0u32..40, random: u64,
        ) {
            let next = next_check(&POLLING, BootTime(last.into()), failures, random);
            prop_assert!(next.0 <= u64::from(last) + 4_200_000);
        }
    }

    #[test]
    fn a_long_outage_leaves_checks_spread_over_at_least_half_the_interval() {
        let at = |random| next_check(&POLLING, BootTime(0), 12, random).0;
        let half = 2_100_000;
        assert_eq!((at(0), at(half)), (half, 2 * half));
    }

    #[test]
    fn the_first_check_comes_within_the_jitter() {
        let at = |random| first_check(&POLLING, BootTime(5), random).0;
        assert_eq!((at(0), at(600_000), at(600_001)), (5, 600_005, 5));
    }

    #[test]
    fn a_calendar_tick_follows_the_wall_clock_and_a_pause_does_not() {
        let now = Now {
            wall: UnixTime(1000),
            boot: BootTime(50_000),
        };
        let since = BootTime(20_000);
        assert_eq!(until(Tick::At(UnixTime(1010)), since, now), Some(10_000));
        assert_eq!(until(Tick::At(UnixTime(900)), since, now), Some(0));
        assert_eq!(until(Tick::After(60_000), since, now), Some(30_000));
        assert_eq!(until(Tick::Never, since, now), None);
    }
}
