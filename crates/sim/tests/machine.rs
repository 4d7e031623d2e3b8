//! The simulated machine by itself: it boots as it should, loses what it may, keeps what it must.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use twinroot_core::bootfmt::loader::Quirk;
use twinroot_ports::{Arming, Bootloader, Store, System};
use twinroot_sim::boot::Boot;
use twinroot_sim::cut::{Cut, Ended, Side, until_power_cut};
use twinroot_sim::provision::{First, Sizes, install};
use twinroot_sim::source::Repository;
use twinroot_sim::survive::{Outcomes, Regime, survivors};
use twinroot_sim::toy::Release;
use twinroot_sim::world::{Behaviour, Image, World};
use twinroot_trust::time::UnixTime;

/// Nothing is sampled in these small tests.
const ALL: Outcomes = Outcomes {
    exhaustive: 4096,
    samples: 4096,
};

fn image(release: &Release, behaviour: Behaviour) -> Image {
    Image {
        version: release.version.clone(),
        uki: release.uki_digest(),
        behaviour,
        stamped_floor: None,
        built: UnixTime(0),
    }
}

/// A machine with release 1.0 in slot A, and 2.0 known to be signed, behaving as given.
fn machine(second: Behaviour) -> (World, Release, Release) {
    let (one, two) = (Release::make("1.0", 8), Release::make("2.0", 8));
    let images = BTreeMap::from([
        (one.root, image(&one, Behaviour::Good)),
        (two.root, image(&two, second)),
    ]);
    let first = First {
        version: &one.version,
        data: &one.data,
        tree: &one.tree,
        uki: &one.uki,
        tries: 3,
    };
    let repository = Arc::new(Repository::default());
    let machine = install(
        Sizes::default(),
        &first,
        images,
        repository,
        UnixTime(1_800_000_000),
    );
    (World::new(machine), one, two)
}

/// Puts release `two` into slot B and its UKI beside the entries, as a finished staging would.
fn stage(world: &World, two: &Release) {
    world.outside(|m| {
        m.slots[1].data.write(0, &two.data).unwrap();
        m.slots[1].tree.write(0, &two.tree).unwrap();
        m.slots[1].data.flush().unwrap();
        m.slots[1].tree.flush().unwrap();
    });
    let mut writer = world
        .stage_image(&two.uki_digest(), two.uki.len() as u64)
        .unwrap();
    writer.write(&two.uki).unwrap();
    writer.finish().unwrap();
}

fn version(world: &World) -> String {
    System::observe(world).unwrap().version.to_string()
}

#[test]
fn the_first_boot_counts_and_blessing_takes_the_counter_off() {
    let (world, one, _) = machine(Behaviour::Good);
    assert_eq!(world.boot(), Boot::Up { starts: 1 });
    let seen = Bootloader::observe(&world).unwrap();
    let tries = seen.entries[0].tries.unwrap();
    assert_eq!((tries.left, tries.done), (2, 1));
    assert_eq!(seen.booted.as_deref(), Some(seen.entries[0].stem.as_str()));
    world.outside(|m| m.watch.healthy_runs = 1);
    world.bless(&seen.entries[0].stem).unwrap();
    let seen = Bootloader::observe(&world).unwrap();
    assert!(seen.entries.len() == 1 && seen.entries[0].is_blessed());
    assert_eq!(seen.entries[0].uki, one.uki_digest());
    assert_eq!(seen.counting, twinroot_core::facts::Counting::Proven);
    assert_eq!(world.outside(|m| m.watch.violations.clone()), []);
}

#[test]
fn a_release_that_panics_uses_up_its_tries_and_the_good_one_returns() {
    let (world, _, two) = machine(Behaviour::Panics);
    world.boot();
    let stem = Bootloader::observe(&world).unwrap().entries[0].stem.clone();
    world.outside(|m| m.watch.healthy_runs = 1);
    world.bless(&stem).unwrap();
    stage(&world, &two);
    world
        .arm(
            &two.version,
            &two.uki_digest(),
            Arming::Counted { tries: 3 },
        )
        .unwrap();
    assert_eq!(world.boot(), Boot::Up { starts: 4 });
    assert_eq!(version(&world), "1.0");
}

#[test]
fn a_loader_that_does_not_count_never_leaves_a_release_that_panics() {
    let (world, _, two) = machine(Behaviour::Panics);
    world.boot();
    stage(&world, &two);
    world
        .arm(
            &two.version,
            &two.uki_digest(),
            Arming::Counted { tries: 3 },
        )
        .unwrap();
    world.outside(|m| m.quirks = vec![Quirk::NoCounting]);
    assert!(
        matches!(world.boot(), Boot::Bricked { .. }),
        "the model sees what a real one would do"
    );
}

#[test]
fn an_entry_armed_one_shot_is_left_after_one_start_when_the_good_one_is_pinned() {
    let (world, _, two) = machine(Behaviour::Hangs);
    world.boot();
    let stem = Bootloader::observe(&world).unwrap().entries[0].stem.clone();
    stage(&world, &two);
    world.pin(Some(&stem)).unwrap();
    world
        .arm(
            &two.version,
            &two.uki_digest(),
            Arming::OneShot { tries: 3 },
        )
        .unwrap();
    world.outside(|m| m.quirks = vec![Quirk::NoCounting]);
    assert_eq!(world.boot(), Boot::Up { starts: 2 });
    assert_eq!(version(&world), "1.0");
}

#[test]
fn one_wrong_bit_in_a_slot_is_found_by_dm_verity_and_the_other_slot_boots() {
    let (world, _, two) = machine(Behaviour::Good);
    world.boot();
    stage(&world, &two);
    world
        .arm(
            &two.version,
            &two.uki_digest(),
            Arming::Counted { tries: 2 },
        )
        .unwrap();
    world.outside(|m| m.slots[1].data.rot(20_000, 4));
    assert_eq!(world.boot(), Boot::Up { starts: 3 });
    assert_eq!(version(&world), "1.0");
}

#[test]
fn arming_a_slot_that_does_not_hold_its_release_is_noticed() {
    let (world, _, two) = machine(Behaviour::Good);
    world.boot();
    stage(&world, &two);
    world.outside(|m| m.slots[1].data.rot(4096, 1));
    world
        .arm(
            &two.version,
            &two.uki_digest(),
            Arming::Counted { tries: 3 },
        )
        .unwrap();
    assert_eq!(world.outside(|m| m.watch.violations.len()), 1);
}

/// Every cut in a write to the store, with every loss: the record is the old one or the new one.
#[test]
fn a_record_is_old_or_new_wherever_its_write_was_cut() {
    let (world, ..) = machine(Behaviour::Good);
    world.write("a/record", b"old").unwrap();
    let before = world.snapshot();
    let mut outcomes = BTreeMap::new();
    for at in 1.. {
        let world = World::new(before.clone());
        world.cut_at(Some(Cut {
            at,
            side: Side::After,
        }));
        let ended = until_power_cut(|| world.write("a/record", b"new").unwrap());
        let survivors = survivors(&world.snapshot(), ALL, 1);
        assert_ne!(survivors.regime, Regime::Sampled);
        for machine in survivors.machines {
            *outcomes
                .entry(machine.files.read("a/record").unwrap())
                .or_insert(0) += 1;
        }
        if matches!(ended, Ended::Normally(())) {
            break;
        }
    }
    assert_eq!(
        outcomes.keys().map(Vec::as_slice).collect::<Vec<_>>(),
        [&b"new"[..], b"old"]
    );
}

/// Every cut in blessing the only entry of a machine: it still boots.
#[test]
fn blessing_the_only_entry_never_loses_it() {
    let (world, ..) = machine(Behaviour::Good);
    world.boot();
    world.outside(|m| m.watch.healthy_runs = 1);
    let stem = Bootloader::observe(&world).unwrap().entries[0].stem.clone();
    let before = world.snapshot();
    let mut machines = 0;
    for at in 1.. {
        let world = World::new(before.clone());
        world.cut_at(Some(Cut {
            at,
            side: Side::After,
        }));
        let ended = until_power_cut(|| world.bless(&stem).unwrap());
        for machine in survivors(&world.snapshot(), ALL, 1).machines {
            machines += 1;
            let story = format!("cut after effect {at}: {:?}", machine.esp.names());
            assert!(
                matches!(World::new(machine).boot(), Boot::Up { .. }),
                "{story}"
            );
        }
        if matches!(ended, Ended::Normally(())) {
            break;
        }
    }
    assert!(
        machines > 30,
        "{machines} outcomes are too few to mean anything"
    );
}
