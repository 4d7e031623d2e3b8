//! Which time to judge by, on a machine whose clock may be wrong.
//!
//! `now = max(system clock, build time of the booted root, last trusted time)`. The floor under the
//! clock comes from things that cannot lie about being too late: the booted root is covered by
//! dm-verity, and the trusted time rises on authenticated evidence only. It never rises from the
//! system clock alone: one start in 2099 would otherwise poison the node for ever.

use serde::{Deserialize, Serialize};
use twinroot_trust::time::{Seconds, UnixTime};

/// How far ahead of everything signed a clock may be before it is suspected. Releases are supported
/// for about two years and machines lie in a store room for less than ten; a clock beyond that is
/// broken far more likely than right.
pub const PLAUSIBLE: Seconds = Seconds(10 * 365 * 86_400);

/// Why a clock is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspect {
    /// It is before the floor: lost its battery (1970) or was set back. Time does not pass while
    /// it is used, so that expiry is not judged: nothing may be installed on its word alone.
    Behind,
    /// It is implausibly far ahead (2099): everything would look expired. What runs is kept,
    /// nothing is deleted, and nothing that was stored is forgotten.
    Ahead,
}

/// The time to judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedNow {
    /// The time.
    pub now: UnixTime,
    /// Why the system clock is not believed, if it is not.
    pub suspect: Option<Suspect>,
}

impl TrustedNow {
    /// Decides.
    ///
    /// `built` is the build time stamped into the booted root, `last_trusted` the stored time that
    /// rose on evidence.
    #[must_use]
    pub fn decide(system: UnixTime, built: UnixTime, last_trusted: Option<UnixTime>) -> Self {
        let floor = last_trusted.map_or(built, |trusted| trusted.max(built));
        let suspect = if system < floor {
            Some(Suspect::Behind)
        } else if system > floor.plus(PLAUSIBLE) {
            Some(Suspect::Ahead)
        } else {
            None
        };
        Self {
            now: system.max(floor),
            suspect,
        }
    }

    /// The trusted time to store once signed metadata was seen to be fresh. `evidence` is a time
    /// that the signed documents themselves prove to have passed, never the system clock.
    #[must_use]
    pub fn raised(last_trusted: Option<UnixTime>, evidence: UnixTime) -> UnixTime {
        last_trusted.map_or(evidence, |trusted| trusted.max(evidence))
    }

    /// Whether expiry can be judged and something new be installed.
    #[must_use]
    pub const fn may_install(&self) -> bool {
        self.suspect.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> UnixTime {
        text.parse().expect("a time")
    }

    #[test]
    fn clocks_at_1970_and_2099_are_suspected_and_never_go_below_the_floor() {
        let (built, trusted) = (at("2026-11-01T00:00:00Z"), at("2026-11-20T00:00:00Z"));
        for (system, now, suspect) in [
            (
                "1970-01-01T00:00:10Z",
                "2026-11-20T00:00:00Z",
                Some(Suspect::Behind),
            ),
            (
                "2026-11-10T00:00:00Z",
                "2026-11-20T00:00:00Z",
                Some(Suspect::Behind),
            ),
            ("2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", None),
            ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00Z", None),
            (
                "2099-01-01T00:00:00Z",
                "2099-01-01T00:00:00Z",
                Some(Suspect::Ahead),
            ),
        ] {
            let decided = TrustedNow::decide(at(system), built, Some(trusted));
            assert_eq!(
                decided,
                TrustedNow {
                    now: at(now),
                    suspect
                },
                "{system}"
            );
            assert_eq!(decided.may_install(), suspect.is_none());
        }
    }

    #[test]
    fn a_wiped_record_leaves_the_build_time_as_floor() {
        let built = at("2026-11-01T00:00:00Z");
        let decided = TrustedNow::decide(UnixTime(0), built, None);
        assert_eq!(
            decided,
            TrustedNow {
                now: built,
                suspect: Some(Suspect::Behind)
            }
        );
    }

    proptest! {
        #[test]
        fn time_never_goes_below_what_is_proven(system: i64, built: i64, trusted: Option<i64>) {
            let trusted = trusted.map(UnixTime);
            let decided = TrustedNow::decide(UnixTime(system), UnixTime(built), trusted);
            prop_assert!(decided.now >= UnixTime(built) && trusted.is_none_or(|t| decided.now >= t));
        }

        #[test]
        fn the_stored_time_only_rises(stored: Option<i64>, evidence: i64) {
            let raised = TrustedNow::raised(stored.map(UnixTime), UnixTime(evidence));
            prop_assert!(stored.is_none_or(|s| raised >= UnixTime(s)));
        }
    }
}
