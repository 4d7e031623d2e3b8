//! The rules, looked at when the node has come to rest after a cut.

use std::collections::BTreeMap;

use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::LoaderEntry;
use twinroot_core::records::{Denial, Records};
use twinroot_trust::version::Version;

use super::drive::Driver;
use crate::watch::{Rule, Violation, slot_holds};
use crate::world::{Behaviour, Machine};

/// What a node must not fall behind: its records as they were durable before the step.
#[derive(Debug, Clone)]
pub struct Baseline {
    records: Records,
    metadata: BTreeMap<String, u64>,
}

impl Baseline {
    /// What is durable on `machine`.
    #[must_use]
    pub fn of(machine: &Machine, driver: &dyn Driver) -> Self {
        Self {
            records: driver.records(machine),
            metadata: driver.metadata(machine),
        }
    }
}

/// Every rule that the resting machine breaks.
pub(super) fn judge(machine: &Machine, driver: &dyn Driver, before: &Baseline) -> Vec<Violation> {
    let mut found = machine.watch.violations.clone();
    let mut broken = |rule, detail: String| found.push(Violation { rule, detail });
    let records = driver.records(machine);
    if let Some(running) = &machine.running {
        let image = machine.images.get(&running.root);
        match image.map(|image| image.behaviour) {
            None => broken(
                Rule::UnverifiedStarted,
                format!("root {} runs", running.root),
            ),
            Some(Behaviour::Good) => {}
            Some(bad) => {
                let version = &running.version;
                broken(
                    Rule::NotConverged,
                    format!("at rest on {version}, which is {bad:?}"),
                );
            }
        }
        if !slot_holds(&machine.slots[running.slot.index()], &running.root) {
            let detail = format!("slot {} is not what was signed", running.slot);
            broken(Rule::UnverifiedStarted, detail);
        }
        if records.denies_root(&running.root, machine.wall).is_some() {
            broken(
                Rule::DeniedStarted,
                format!("{} runs and is denied", running.version),
            );
        }
        let stamped = image.and_then(|image| image.stamped_floor.as_ref());
        if records
            .floor(stamped)
            .is_some_and(|floor| running.version < *floor)
        {
            broken(Rule::BelowFloorStarted, running.version.to_string());
        }
        if let Some(fallback) = fallback_version(machine)
            && records
                .floor
                .as_ref()
                .is_some_and(|floor| fallback < *floor)
        {
            broken(
                Rule::FloorAboveFallback,
                format!("{fallback} in the other slot"),
            );
        }
        // An entry that still counts would be given up by the loader, good as it is.
        let entries = machine.loader_state().entries;
        let booted = |entry: &&LoaderEntry| running.entry.starts_with(entry.name.stem());
        let mut names = entries.iter().filter(booted);
        if names.all(|entry| entry.name.tries().is_some()) {
            broken(
                Rule::NotConverged,
                format!("{} rests without blessing", running.version),
            );
        }
    } else {
        broken(Rule::NotConverged, "nothing runs".to_owned());
    }
    found.extend(fallen(&records, &driver.metadata(machine), before));
    found
}

/// The release that the other slot holds and an entry boots.
fn fallback_version(machine: &Machine) -> Option<Version> {
    let running = machine.running.as_ref()?;
    let root = machine.claimed(running.slot.other())?;
    let image = machine.images.get(&root)?;
    let names = |name: &EntryName| name.names(&image.uki) && !name.is_exhausted();
    let entries = machine.loader_state().entries;
    let booted = entries.iter().any(|entry| names(&entry.name));
    booted.then(|| image.version.clone())
}

/// What only rises has fallen.
fn fallen(
    records: &Records,
    metadata: &BTreeMap<String, u64>,
    before: &Baseline,
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut broken = |rule, detail: String| found.push(Violation { rule, detail });
    if records.floor < before.records.floor {
        broken(
            Rule::FloorFell,
            format!("{:?} to {:?}", before.records.floor, records.floor),
        );
    }
    for denial in &before.records.denied {
        let kept = |d: &&Denial| d.root_hash == denial.root_hash;
        if !records.denied.iter().any(|d| kept(&d)) {
            broken(Rule::DenialForgotten, denial.version.to_string());
        }
    }
    let root = |versions: &BTreeMap<String, u64>| versions.get("root").copied().unwrap_or(0);
    let rotated = root(metadata) > root(&before.metadata);
    for (role, version) in &before.metadata {
        let now = metadata.get(role).copied().unwrap_or(0);
        // DESIGN section 5: timestamp and snapshot may fall after a verified root has replaced
        // their keys.
        let excused = rotated && matches!(role.as_str(), "timestamp" | "snapshot");
        if now < *version && !excused {
            broken(Rule::MetadataFell, format!("{role}: {version} to {now}"));
        }
    }
    found
}
