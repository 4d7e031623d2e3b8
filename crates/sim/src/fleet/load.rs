//! When nodes look, and what that makes of the server's day.

use twinroot_core::facts::BootTime;
use twinroot_core::update::pace;

use super::{HOUR, Random, node, polling};

/// Seconds in which the server does not answer, from the beginning of the simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// First second.
    pub from: u64,
    /// First second after it.
    pub until: u64,
}

/// The looks of one node, in seconds, without end.
#[derive(Debug)]
pub(super) struct Looks<'a> {
    random: &'a mut Random,
    outage: Option<Outage>,
    next: BootTime,
    failures: u32,
}

impl<'a> Looks<'a> {
    /// The fleet has been running for a while: the first look falls anywhere in a pause.
    pub(super) fn of(random: &'a mut Random, outage: Option<Outage>) -> Self {
        let longest = (polling().interval.0 + polling().jitter.0) * 1000;
        let next = BootTime(random.draw() % longest);
        Self {
            random,
            outage,
            next,
            failures: 0,
        }
    }
}

impl Iterator for Looks<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let now = self.next;
        let at = now.0 / 1000;
        let away = self
            .outage
            .is_some_and(|outage| (outage.from..outage.until).contains(&at));
        self.failures = if away { self.failures + 1 } else { 0 };
        self.next = pace::next_check(&polling(), now, self.failures, self.random.draw());
        Some(at)
    }
}

/// Looks a minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Polls {
    /// Mean over the days before the outage.
    pub mean: f64,
    /// The busiest minute of the days after it.
    pub peak_after: u64,
    /// The busiest minute while the server was away.
    pub peak_during: u64,
    /// All looks.
    pub total: u64,
}

/// Polls for so many days, with a server that is away for some hours in the middle.
#[must_use]
pub fn polls(fleet: u64, nodes: u64, days: u64, outage_hours: u64) -> Polls {
    let end = days * 24 * HOUR;
    let from = end / 2;
    let outage = Outage {
        from,
        until: from + outage_hours * HOUR,
    };
    let minute = |second: u64| usize::try_from(second / 60).unwrap_or(usize::MAX);
    let mut minutes = vec![0_u64; minute(end)];
    for number in 0..nodes {
        let (mut random, _) = node(fleet, number);
        for at in Looks::of(&mut random, Some(outage)).take_while(|at| *at < end) {
            minutes[minute(at)] += 1;
        }
    }
    // The first day is left out: the fleet settles from the way it was begun.
    let before = &minutes[minute(24 * HOUR)..minute(outage.from)];
    let peak = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts here stay far below 2^52"
    )]
    let mean = before.iter().sum::<u64>() as f64 / before.len() as f64;
    Polls {
        mean,
        peak_after: peak(&minutes[minute(outage.until)..]),
        peak_during: peak(&minutes[minute(outage.from)..minute(outage.until)]),
        total: minutes.iter().sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_comes_back_meets_no_crowd() {
        // 60,000 nodes: about 920 looks a minute, whose noise is 30.
        let polls = polls(3, 60_000, 4, 6);
        let hourly = polls.mean * 60.0;
        // A pause is an hour and five minutes on average.
        assert!((hourly - 60_000.0 * 60.0 / 65.0).abs() < 300.0, "{polls:?}");
        #[expect(clippy::cast_precision_loss, reason = "a count below 2^52")]
        let peak = polls.peak_after as f64;
        assert!(peak < 2.0 * polls.mean, "{polls:?}");
    }

    #[test]
    fn looks_never_come_closer_than_half_a_minute() {
        let (mut random, _) = node(1, 2);
        let outage = Outage {
            from: 10 * HOUR,
            until: 16 * HOUR,
        };
        let looks: Vec<u64> = Looks::of(&mut random, Some(outage)).take(100).collect();
        assert!(
            looks.windows(2).all(|pair| pair[1] - pair[0] >= 29),
            "{looks:?}"
        );
    }
}
