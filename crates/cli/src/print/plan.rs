//! `check` and `plan`.

use twinroot_core::text::size;
use twinroot_core::wire::{CheckReport, ContentsChange, Plan};

use super::{release, row};

/// `twinroot check`.
pub(crate) fn check(report: &CheckReport) -> String {
    let mut text = String::new();
    match &report.available {
        Some(available) => row(&mut text, "available", release(available)),
        None if report.held_back.is_empty() => row(&mut text, "available", "nothing newer"),
        None => row(
            &mut text,
            "available",
            "nothing that this host may take now",
        ),
    }
    for held in &report.held_back {
        let reason = &held.reason;
        row(
            &mut text,
            "held back",
            format!("{}; {}", reason.sentence, reason.remedy),
        );
    }
    if let Some(fresh) = report.fresh_until {
        row(&mut text, "fresh until", fresh.to_string());
    }
    for warning in &report.warnings {
        row(&mut text, "warning", warning);
    }
    text
}

/// `twinroot plan`.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    match &plan.release {
        Some(planned) => {
            row(&mut text, "release", release(planned));
            let bytes = format!(
                "fetch {} by {} in {} requests, reuse {}, write {}",
                size(plan.fetch),
                plan.payload.as_deref().unwrap_or("full"),
                plan.requests,
                size(plan.reuse),
                size(plan.write)
            );
            row(&mut text, "bytes", bytes);
        }
        None => row(&mut text, "release", "none would be installed"),
    }
    for space in &plan.space {
        let line = format!(
            "{}: {} needed, {} there",
            space.place,
            size(space.needed),
            size(space.available)
        );
        row(&mut text, "room", line);
    }
    for part in &plan.bytes {
        let line = format!(
            "{} of the {} from: {}",
            size(part.bytes),
            part.what,
            part.from
        );
        row(&mut text, "of it", line);
    }
    if let Some(esp) = &plan.esp {
        let line = format!(
            "{} free now, {} afterwards",
            size(esp.before),
            size(esp.after)
        );
        row(&mut text, "ESP", line);
    }
    if let Some(restart) = &plan.restart {
        row(&mut text, "restart", restart);
    }
    if let Some(contents) = &plan.contents {
        contents_rows(&mut text, contents);
    }
    if let Some(floor) = &plan.floor_after {
        row(&mut text, "floor", format!("{floor} after commit"));
    }
    if let Some(barrier) = &plan.barrier {
        row(
            &mut text,
            "barrier",
            format!("{barrier} must be installed first"),
        );
    }
    for (number, step) in plan.steps.iter().enumerate() {
        row(&mut text, &format!("step {}", number + 1), step);
    }
    for reason in &plan.blocked_by {
        let line = format!("{}; {}", reason.sentence, reason.remedy);
        row(&mut text, "in the way", line);
    }
    text
}

/// Packages that change: all of them, since that is what a person who plans wants to see.
fn contents_rows(text: &mut String, contents: &ContentsChange) {
    if let Some(why) = &contents.unknown {
        row(
            text,
            "contents",
            format!("compared by {} only ({why})", contents.source),
        );
    }
    for package in &contents.changed {
        let (before, after) = (&package.before, &package.after);
        let version = |v: &Option<String>| v.clone().unwrap_or_default();
        let line = format!("{} {} to {}", package.name, version(before), version(after));
        row(text, "changed", line);
    }
    for (word, list) in [("added", &contents.added), ("removed", &contents.removed)] {
        for package in list {
            let version = package.after.as_ref().or(package.before.as_ref());
            let version = version.map_or("", String::as_str);
            row(text, word, format!("{} {version}", package.name));
        }
    }
}
