use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use twinroot_trust::policy::{Offer as PolicyOffer, Wave};
use twinroot_trust::time::Seconds;

use super::*;

const START: UnixTime = UnixTime(1_795_435_200);
const HOUR: u64 = 3600;

fn schedule(waves: &[(u8, u64)]) -> Schedule {
    let waves = waves.iter().map(|(percent, soak)| Wave {
        percent: *percent,
        soak: Seconds(*soak),
    });
    Schedule::new(waves.collect()).expect("good waves")
}

fn seed(n: u32) -> Seed {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    Seed::from_bytes(bytes)
}

fn nodes_reached(schedule: &Schedule, release: &Digest, after: u64, nodes: u32) -> BTreeSet<u32> {
    let now = START.plus(Seconds(after));
    let open = |n: &u32| {
        let position = Position::of(&seed(*n), release);
        wave_open_at(schedule, START, position).is_some_and(|at| at <= now)
    };
    (0..nodes).filter(open).collect()
}

#[test]
fn a_position_is_what_the_documented_hash_says() {
    // Computed with Python's hashlib: the first 8 bytes of the SHA-256 as a big-endian number,
    // modulo 10000.
    let release = Digest::from_bytes([0; 32]);
    assert_eq!(
        Position::of(&Seed::from_bytes([0; 32]), &release).number(),
        4624
    );
    let release = Digest::of(b"abc");
    assert_eq!(
        Position::of(&Seed::from_bytes([1; 32]), &release).number(),
        817
    );
}

#[test]
fn waves_reach_their_share_of_a_fleet_at_their_time() {
    let waves = schedule(&[(1, HOUR), (10, 12 * HOUR), (100, 0)]);
    let release = Digest::of(b"release");
    for (after, percent) in [
        (0, 1),
        (HOUR - 1, 1),
        (HOUR, 10),
        (13 * HOUR - 1, 10),
        (13 * HOUR, 100),
    ] {
        let reached = nodes_reached(&waves, &release, after, 20_000).len() as f64 / 200.0;
        // Five standard deviations of a binomial at 20 000 nodes are below 1.1 percent.
        assert!(
            (reached - f64::from(percent)).abs() < 1.1,
            "{after} s: {reached} %, not {percent}"
        );
    }
}

#[test]
fn the_last_wave_that_is_no_hundred_leaves_nodes_out_for_good() {
    let waves = schedule(&[(50, 0)]);
    let release = Digest::of(b"release");
    let outside = (0..100)
        .map(|n| Position::of(&seed(n), &release))
        .find(|p| !p.within(50));
    assert_eq!(
        wave_open_at(&waves, START, outside.expect("some node")),
        None
    );
}

#[test]
fn who_goes_first_differs_from_release_to_release() {
    let waves = schedule(&[(10, HOUR), (100, 0)]);
    let [first, second] =
        ["one", "two"].map(|name| nodes_reached(&waves, &Digest::of(name.as_bytes()), 0, 20_000));
    // Of about 2000 nodes each, about 200 are in both if the two draws are independent.
    let both = first.intersection(&second).count();
    assert!((120..280).contains(&both), "{both} nodes go first twice");
}

fn limit() -> RolloutLimit {
    RolloutLimit {
        earliest: START,
        schedule: schedule(&[(100, 0)]),
    }
}

fn policy(version: &str) -> RolloutPolicy {
    RolloutPolicy {
        channel: "stable".parse().expect("a name"),
        offer: Some(PolicyOffer {
            version: version.parse().expect("a version"),
            start: START.plus(Seconds(HOUR)),
            schedule: schedule(&[(100, 0)]),
        }),
        paused: false,
        withdrawn: vec![],
    }
}

#[test]
fn pause_withdrawal_and_other_offers_hold_a_release_back() {
    let manifest = Digest::of(b"manifest");
    let (version, limit) = ("2.0".parse().expect("a version"), limit());
    let subject = Subject {
        version: &version,
        manifest: &manifest,
        limit: &limit,
    };
    let at = |policy: Option<&RolloutPolicy>, after| {
        judge(policy, &subject, &seed(1), START.plus(Seconds(after)))
    };
    let paused = RolloutPolicy {
        paused: true,
        ..policy("2.0")
    };
    let gone = RolloutPolicy {
        withdrawn: vec![manifest],
        paused: true,
        ..policy("2.0")
    };
    let nothing = RolloutPolicy {
        offer: None,
        ..policy("2.0")
    };
    let opening = START.plus(Seconds(HOUR));
    assert_eq!(at(None, 0), Offer::Now);
    assert_eq!(at(Some(&policy("2.0")), 0), Offer::At(opening));
    assert_eq!(at(Some(&policy("2.0")), HOUR), Offer::Now);
    assert_eq!(at(Some(&paused), HOUR), Offer::Paused);
    assert_eq!(at(Some(&gone), HOUR), Offer::Withdrawn);
    assert_eq!(at(Some(&nothing), HOUR), Offer::NotOffered);
    assert_eq!(
        at(Some(&policy("1.0")), HOUR),
        Offer::NotOffered,
        "an older one is on offer"
    );
    assert_eq!(
        at(Some(&policy("3.0")), 0),
        Offer::Now,
        "its own rollout is over"
    );
}

#[test]
fn a_policy_never_opens_earlier_than_the_manifest_allows() {
    let manifest = Digest::of(b"manifest");
    let version = "2.0".parse().expect("a version");
    let earliest = START.plus(Seconds(5 * HOUR));
    let limit = RolloutLimit {
        earliest,
        ..limit()
    };
    let subject = Subject {
        version: &version,
        manifest: &manifest,
        limit: &limit,
    };
    assert_eq!(
        judge(Some(&policy("2.0")), &subject, &seed(1), START),
        Offer::At(earliest)
    );
    assert_eq!(judge(None, &subject, &seed(1), START), Offer::At(earliest));
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let percents = proptest::collection::btree_set(1u8..=100, 1..6);
    let soaks = proptest::collection::vec(0u64..1_000_000, 6);
    (percents, soaks).prop_map(|(percents, soaks)| {
        let waves: Vec<_> = percents.into_iter().zip(soaks).collect();
        schedule(&waves)
    })
}

proptest! {
    #[test]
    fn what_is_open_stays_open(waves in any_schedule(), n: u32, early in 0u64..5_000_000, more in 0u64..5_000_000) {
        let position = Position::of(&seed(n), &Digest::of(b"release"));
        let open = |after| wave_open_at(&waves, START, position).is_some_and(|at| at <= START.plus(Seconds(after)));
        prop_assert!(!open(early) || open(early + more));
    }

    #[test]
    fn a_lower_position_is_never_reached_later(waves in any_schedule(), a: u32, b: u32) {
        let [low, high] = {
            let mut pair = [a, b].map(|n| Position::of(&seed(n), &Digest::of(b"release")));
            pair.sort();
            pair
        };
        let at = |position| wave_open_at(&waves, START, position).map_or(i64::MAX, |at| at.0);
        prop_assert!(at(low) <= at(high));
    }

    #[test]
    fn nobody_is_reached_before_the_start_and_everybody_by_a_wave_of_a_hundred(n: u32, soak in 0u64..1_000_000) {
        let waves = schedule(&[(1, soak), (100, 0)]);
        let at = wave_open_at(&waves, START, Position::of(&seed(n), &Digest::of(b"r")));
        let at = at.expect("a wave of a hundred reaches everybody");
        prop_assert!(at >= START && at <= START.plus(Seconds(soak)));
    }
}
