//! A fleet as arithmetic: a million nodes that poll, take a release when their wave opens, meet a server
//! that is away, leave a release that is bad, or are on trial while everything around them is lost.
//!
//! Each node is driven by the functions that decide on a real one (`update::pace`, `rollout`, `health`,
//! `update::step`); only time is made here. Nodes do not meet, so each is walked from the first to the
//! last day by itself, and a month of a million of them takes seconds and no memory.

mod load;
mod remote;

use twinroot_core::config::Polling;
use twinroot_core::rollout::{Position, Seed, wave_open_at};
use twinroot_trust::digest::Digest;
use twinroot_trust::policy::{Schedule, Wave};
use twinroot_trust::time::{Seconds, UnixTime};

pub use load::{Outage, Polls, polls};
pub use remote::{Loss, Trials, trials};

/// Seconds of an hour.
const HOUR: u64 = 3600;

/// A sequence of numbers from a seed (Steele, Lea, Flood: 'Fast splittable pseudorandom number
/// generators', 2014): good enough to spread nodes, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of that number.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True for that share of draws, in percent.
    pub const fn percent(&mut self, share: u64) -> bool {
        self.draw() % 100 < share
    }
}

/// How often nodes look: the shipped defaults.
#[must_use]
pub const fn polling() -> Polling {
    Polling {
        interval: Seconds(HOUR),
        jitter: Seconds(600),
    }
}

/// The node with that number: its random numbers, and its place in rollouts.
fn node(fleet: u64, number: u64) -> (Random, Seed) {
    let mut random = Random::new(fleet ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&random.draw().to_le_bytes());
    }
    (random, Seed::from_bytes(bytes))
}

/// Waves as (percent, hours of soak).
///
/// # Panics
/// Where they are no schedule.
#[must_use]
pub fn schedule(waves: &[(u8, u64)]) -> Schedule {
    let wave = |(percent, hours): &(u8, u64)| Wave {
        percent: *percent,
        soak: Seconds(hours * HOUR),
    };
    Schedule::new(waves.iter().map(wave).collect()).expect("the caller gives waves that widen")
}

/// When a node takes a release that is offered from `start` on: at its first look after its wave has
/// opened. In seconds, as all times here.
#[derive(Debug, Clone, Copy)]
struct Taker<'a> {
    schedule: &'a Schedule,
    start: u64,
    release: Digest,
}

impl Taker<'_> {
    fn opens(&self, seed: &Seed) -> Option<u64> {
        let position = Position::of(seed, &self.release);
        let start = UnixTime(i64::try_from(self.start).unwrap_or(i64::MAX));
        let at = wave_open_at(self.schedule, start, position)?;
        u64::try_from(at.0).ok()
    }
}

/// How a release spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Nodes that took it before the next wave opened, wave by wave.
    pub in_wave: Vec<u64>,
    /// Seconds from the start until 99 of 100 nodes had it.
    pub until_99_percent: u64,
}

/// Spreads a release over `nodes` that poll.
#[must_use]
pub fn spread(fleet: u64, nodes: u64, schedule: &Schedule, days: u64) -> Spread {
    let start = 24 * HOUR;
    let taker = Taker {
        schedule,
        start,
        release: Digest::of(&fleet.to_le_bytes()),
    };
    let openings: Vec<u64> = schedule
        .openings()
        .map(|(after, _)| start + after.0)
        .collect();
    let mut in_wave = vec![0; openings.len()];
    let mut taken = Vec::new();
    for number in 0..nodes {
        let (mut random, seed) = node(fleet, number);
        let Some(opens) = taker.opens(&seed) else {
            continue;
        };
        let looks = load::Looks::of(&mut random, None);
        let Some(at) = looks
            .take_while(|at| *at < days * 24 * HOUR)
            .find(|at| *at >= opens)
        else {
            continue;
        };
        let wave = openings
            .iter()
            .rposition(|opening| *opening <= opens)
            .unwrap_or(0);
        in_wave[wave] += 1;
        taken.push(u32::try_from(at - start).unwrap_or(u32::MAX));
    }
    taken.sort_unstable();
    let needed = usize::try_from(nodes.saturating_mul(99).div_ceil(100)).unwrap_or(usize::MAX);
    let until = needed.checked_sub(1).and_then(|last| taken.get(last));
    Spread {
        in_wave,
        until_99_percent: until.map_or(u64::MAX, |at| u64::from(*at)),
    }
}

/// What a publisher knows and does.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// Failures that have to be reported before anybody looks.
    pub reports: usize,
    /// Seconds from then until the withdrawal is signed and on the servers.
    pub reaction: u64,
}

/// How far a bad release came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRelease {
    /// Nodes that restarted into it.
    pub reached: u64,
    /// Those of them that had to go back.
    pub failed: u64,
    /// Seconds from the first wave until the last node that the release reached took it.
    pub until_held: u64,
    /// Seconds from the first wave until the withdrawal was there.
    pub until_withdrawn: u64,
}

/// Seconds from taking a release to the report that it failed: staging and restart of a container host
/// (3 min), and a health check that fails for good or a deadline that passes, 15 min after the boot, at
/// the latest.
const STAGED_AND_RESTARTED: u64 = 180;
const VERDICT: (u64, u64) = (30, 900);

/// A release that fails on `percent` of the nodes, under the eyes of a publisher who withdraws it.
#[must_use]
pub fn bad_release(
    fleet: u64,
    nodes: u64,
    (schedule, percent): (&Schedule, u64),
    watch: Watch,
) -> BadRelease {
    let start = 24 * HOUR;
    let taker = Taker {
        schedule,
        start,
        release: Digest::of(&(fleet ^ percent).to_le_bytes()),
    };
    let mut restarts = Vec::new();
    let mut reports = Vec::new();
    for number in 0..nodes {
        let (mut random, seed) = node(fleet, number);
        let fails = random.percent(percent);
        let verdict = VERDICT.0 + random.draw() % (VERDICT.1 - VERDICT.0);
        let mut looks = load::Looks::of(&mut random, None);
        let Some(opens) = taker.opens(&seed) else {
            continue;
        };
        let Some(at) = looks.find(|at| *at >= opens) else {
            continue;
        };
        // It looks once more right before the restart; what is withdrawn by then is dropped.
        let restart = at + STAGED_AND_RESTARTED;
        restarts.push((restart, fails));
        if fails {
            reports.push(restart + verdict);
        }
    }
    reports.sort_unstable();
    let noticed = reports.get(watch.reports.saturating_sub(1));
    let withdrawn = noticed.map_or(u64::MAX, |at| at + watch.reaction);
    let reached = || restarts.iter().filter(|(at, _)| *at < withdrawn);
    BadRelease {
        reached: reached().count() as u64,
        failed: reached().filter(|(_, fails)| *fails).count() as u64,
        until_held: reached().map(|(at, _)| at - start).max().unwrap_or(0),
        until_withdrawn: withdrawn.saturating_sub(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAVES: &[(u8, u64)] = &[(1, 24), (10, 72), (100, 0)];

    #[test]
    fn every_node_takes_the_release_once_and_about_in_its_wave() {
        let spread = spread(7, 20_000, &schedule(WAVES), 30);
        assert_eq!(spread.in_wave.iter().sum::<u64>(), 20_000);
        // Five standard deviations of a share of 1 % and of 9 % among 20,000.
        assert!((130..=270).contains(&spread.in_wave[0]), "{spread:?}");
        assert!((1590..=2010).contains(&spread.in_wave[1]), "{spread:?}");
        // The last wave opens after four days, and nobody looks later than 70 minutes after.
        let last = 96 * HOUR;
        assert!(
            (last..last + 4200).contains(&spread.until_99_percent),
            "{spread:?}"
        );
    }

    #[test]
    fn a_withdrawal_holds_a_bad_release_within_its_first_wave() {
        let watch = Watch {
            reports: 20,
            reaction: 1800,
        };
        let bad = bad_release(7, 20_000, (&schedule(WAVES), 30), watch);
        assert!(bad.reached < 300, "{bad:?}");
        assert!(bad.failed * 2 < bad.reached && bad.failed >= 20, "{bad:?}");
        assert!(bad.until_held < bad.until_withdrawn, "{bad:?}");
        let blind = Watch {
            reports: usize::MAX,
            reaction: 0,
        };
        let nobody_looks = bad_release(7, 20_000, (&schedule(WAVES), 30), blind);
        assert_eq!(nobody_looks.reached, 20_000);
    }

    #[test]
    fn the_same_number_makes_the_same_fleet() {
        let once = spread(7, 500, &schedule(WAVES), 30);
        assert_eq!(once, spread(7, 500, &schedule(WAVES), 30));
        assert_ne!(once, spread(8, 500, &schedule(WAVES), 30));
    }
}
