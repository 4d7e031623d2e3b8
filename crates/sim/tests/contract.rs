//! The simulated ports keep the same promises as the real ones.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use twinroot_core::slot::SlotName;
use twinroot_ports::Store;
use twinroot_ports::contract::bootloader::{Image as Uki, bootloader_contract};
use twinroot_ports::contract::disk::disk_contract;
use twinroot_ports::contract::facts::facts_running;
use twinroot_ports::contract::fetch::{CONTENT, fetch_contract};
use twinroot_ports::contract::gate::gate_contract;
use twinroot_ports::contract::store::store_contract;
use twinroot_sim::medium::sectors::Sectors;
use twinroot_sim::provision::{First, Sizes, install};
use twinroot_sim::source::{Repository, Source};
use twinroot_sim::toy::Release;
use twinroot_sim::world::{Behaviour, Image, World};
use twinroot_trust::time::UnixTime;

/// A machine on which 3.0 runs.
fn machine() -> (World, Release) {
    let release = Release::make("3.0", 8);
    let image = Image {
        version: release.version.clone(),
        uki: release.uki_digest(),
        behaviour: Behaviour::Good,
        stamped_floor: None,
        built: UnixTime(0),
    };
    let first = First {
        version: &release.version,
        data: &release.data,
        tree: &release.tree,
        uki: &release.uki,
        tries: 3,
    };
    let images = BTreeMap::from([(release.root, image)]);
    let repository = Arc::new(Repository::default());
    let machine = install(
        Sizes::default(),
        &first,
        images,
        repository,
        UnixTime(1_800_000_000),
    );
    let world = World::new(machine);
    world.boot();
    (world, release)
}

#[test]
fn the_store_keeps_its_contract() {
    store_contract(&mut || Box::new(machine().0) as Box<dyn Store>);
}

#[test]
fn the_disk_keeps_its_contract() {
    let (world, release) = machine();
    world.outside(|m| {
        for slot in &mut m.slots {
            slot.data = Sectors::new(1 << 20, 0);
            slot.tree = Sectors::new(1 << 16, 0);
        }
    });
    let facts = facts_running(SlotName::A, release.root);
    let handle = world.clone();
    disk_contract(&world, &facts, &mut |written| {
        handle.outside(|m| {
            let mut hasher = DefaultHasher::new();
            m.esp.fingerprint(&mut hasher);
            m.files.fingerprint(&mut hasher, None);
            hasher.write_u64(m.slot_print(written.other()));
            hasher.finish().to_le_bytes().to_vec()
        })
    });
}

#[test]
fn the_bootloader_keeps_its_contract() {
    let (world, _) = machine();
    // The contract arms entries of slots that it never wrote and blesses what nobody judged: the
    // oracle would rightly complain, and is not asked here.
    let uki = |version: &str| {
        let release = Release::make(version, 8);
        Uki {
            version: release.version,
            root_hash: release.root,
            uki: release.uki,
        }
    };
    bootloader_contract(&world, &uki("1.0"), &uki("2.0"));
}

#[test]
fn the_source_keeps_its_contract() {
    let (world, _) = machine();
    let files: BTreeMap<String, Arc<[u8]>> = CONTENT
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), Arc::from(*bytes)))
        .collect();
    let repository = Repository {
        metadata: files.clone(),
        targets: files,
    };
    world.outside(|m| m.source = Source::new(Arc::new(repository)));
    fetch_contract(&world);
}

#[test]
fn the_gate_keeps_its_contract() {
    let (world, _) = machine();
    let handle = world.clone();
    gate_contract(&world, &mut |reason| {
        let first_line = reason
            .and_then(|text| text.lines().next())
            .map(str::to_owned);
        handle.outside(|m| m.gate = first_line);
    });
}
