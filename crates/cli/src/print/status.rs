//! `status` and the end of a request.

use twinroot_agent::Totals;
use twinroot_core::text::size;
use twinroot_core::wire::{FallbackStatus, SlotStatus, Status};

use super::{release, row};

/// `twinroot status`.
pub(crate) fn status(status: &Status) -> String {
    let mut text = String::new();
    row(&mut text, status.phase.as_str(), &status.sentence);
    let node = &status.node;
    let variant = node
        .variant
        .as_ref()
        .map_or(String::new(), |v| format!(" {v}"));
    let follows = format!(
        "{}{variant} on {}, channel {}, {}",
        node.product, node.architecture, node.channel, node.strategy
    );
    row(&mut text, "node", follows);
    if let Some(key) = &node.key {
        row(&mut text, "key", key);
    }
    row(&mut text, "booted", slot(&status.booted));
    row(&mut text, "other", slot(&status.other));
    row(&mut text, "fallback", fallback(status.fallback));
    if let Some(loader) = &status.loader {
        let level = match loader.revocation.as_slice() {
            [] => String::from("no revocation level"),
            levels => format!("revocation level {}", levels.join(" ")),
        };
        row(&mut text, "loader", format!("{}, {level}", loader.name));
    }
    if let Some(target) = &status.target {
        row(&mut text, "target", release(target));
    }
    if let Some(floor) = &status.floor {
        row(&mut text, "floor", floor);
    }
    if let Some(pinned) = &status.pinned {
        row(&mut text, "pinned", pinned);
    }
    for denied in &status.denied {
        let by = if denied.automatic {
            "this host"
        } else {
            "a person"
        };
        let line = format!(
            "{} by {by} since {}{}: {}",
            release(&denied.release),
            denied.since,
            denied
                .until
                .map_or(String::new(), |at| format!(" until {at}")),
            denied.reason
        );
        row(&mut text, "denied", line);
    }
    for reason in &status.waits_for {
        row(&mut text, "waits for", &reason.sentence);
    }
    if let Some(failure) = &status.last_failure {
        row(&mut text, "failed", failure.to_string());
    }
    if let Some(fresh) = status.verified_fresh {
        row(&mut text, "fresh at", fresh.to_string());
    }
    for warning in &status.warnings {
        row(&mut text, "warning", warning);
    }
    text
}

fn slot(slot: &SlotStatus) -> String {
    let mut text = format!("slot {}: ", slot.slot);
    match &slot.release {
        Some(held) => text.push_str(&release(held)),
        None => text.push_str("no whole release"),
    }
    match (&slot.entry, slot.tries) {
        (Some(_), Some(tries)) => text.push_str(&format!(", on trial, {} tries left", tries.left)),
        (Some(_), None) => text.push_str(", blessed"),
        (None, _) if slot.release.is_some() => text.push_str(", no boot entry"),
        (None, _) => {}
    }
    if slot.denied {
        text.push_str(", denied");
    }
    text
}

const fn fallback(fallback: FallbackStatus) -> &'static str {
    match fallback {
        FallbackStatus::Proven => "proven: the other slot has run and was good",
        FallbackStatus::Unproven => "unproven: the other slot should boot, but was never seen to",
        FallbackStatus::Absent => "absent: no other slot would carry this host",
    }
}

/// Where it stands after a request.
pub(crate) fn done(status: &Status, totals: &Totals) -> String {
    // Idle with a reason: the reason says it all.
    let mut text = match (status.phase.as_str(), status.waits_for.is_empty()) {
        ("idle", false) => String::new(),
        _ => format!("{}\n", status.sentence),
    };
    if totals.written + totals.right > 0 {
        text.push_str(&format!(
            "{} fetched, {} reused, {} were right already, {} written\n",
            size(totals.fetched),
            size(totals.reused),
            size(totals.right),
            size(totals.written)
        ));
    }
    for reason in &status.waits_for {
        text.push_str(&format!("{}; {}\n", reason.sentence, reason.remedy));
    }
    text
}
