//! `GET /metrics`: figures of the newest picture in the OpenMetrics text format. Names and labels are
//! an interface: the dashboard and the alert rules in `docs/observability` live from them.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use twinroot_core::update::PhaseName;
use twinroot_core::wire::FallbackStatus;

use crate::daemon::Picture;

/// Every metric: its name behind `twinroot_`, as it stands in the text, and what it means. What is not in
/// here cannot be registered.
pub const METRICS: [(&str, &str); 18] = [
    ("node", "What the node is, as labels"),
    (
        "fallback",
        "Whether the other slot would carry the node: 2 proven, 1 unproven, 0 absent",
    ),
    ("denied_releases", "Releases remembered as bad"),
    ("paused", "1 while the node does nothing by itself"),
    ("pinned", "1 while the node stays at a version"),
    (
        "verified_fresh_timestamp_seconds",
        "When signed metadata was last found fresh, in seconds since 1970; 0 for never",
    ),
    ("phase", "1 for the phase the update is in"),
    ("waits_for", "1 for each reason that the update waits for"),
    ("last_failure", "1 for what failed last, by its code"),
    (
        "health_check",
        "1 for a check that passed, 0 for one that did not",
    ),
    ("progress_bytes", "Bytes done of the transfer under way"),
    ("progress_total_bytes", "Bytes of the transfer under way"),
    ("fetched_bytes_total", "Bytes of payloads from the network"),
    ("reused_bytes_total", "Bytes taken from the booted slot"),
    ("written_bytes_total", "Bytes written to a slot"),
    ("checks_total", "Looks at the repository"),
    ("failed_checks_total", "Looks at the repository that failed"),
    (
        "warnings",
        "Things that a person should know and that stop nothing",
    ),
];

type Labels = Vec<(&'static str, String)>;

/// The text.
#[must_use]
pub fn metrics(picture: &Picture) -> String {
    let mut registry = Registry::with_prefix("twinroot");
    about_the_node(&mut registry, picture);
    about_the_update(&mut registry, picture);
    counters(&mut registry, picture);
    let mut text = String::new();
    // Writing to a string cannot fail; an empty text would be an empty answer, not a wrong one.
    let _ = encode(&mut text, &registry);
    text
}

/// What [`METRICS`] says of a name.
fn help(name: &str) -> &'static str {
    let found = METRICS.iter().find(|(known, _)| *known == name);
    found.expect("every metric is in the table").1
}

fn family(registry: &mut Registry, name: &str) -> Family<Labels, Gauge> {
    let family = Family::<Labels, Gauge>::default();
    registry.register(name, help(name), family.clone());
    family
}

fn gauge(registry: &mut Registry, name: &str, value: i64) {
    registry.register(name, help(name), ConstGauge::new(value));
}

fn signed(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn about_the_node(registry: &mut Registry, picture: &Picture) {
    let status = &picture.status;
    let version = status.booted.release.as_ref().map(|r| r.version.clone());
    family(registry, "node")
        .get_or_create(&vec![
            ("product", status.node.product.clone()),
            ("channel", status.node.channel.clone()),
            ("strategy", status.node.strategy.clone()),
            ("version", version.unwrap_or_default()),
        ])
        .set(1);
    let fallback = match status.fallback {
        FallbackStatus::Proven => 2,
        FallbackStatus::Unproven => 1,
        FallbackStatus::Absent => 0,
    };
    gauge(registry, "fallback", fallback);
    gauge(registry, "denied_releases", signed(status.denied.len()));
    gauge(registry, "paused", status.paused.into());
    gauge(registry, "pinned", status.pinned.is_some().into());
    gauge(registry, "warnings", signed(status.warnings.len()));
    let fresh = status.verified_fresh.map_or(0, |at| at.0);
    gauge(registry, "verified_fresh_timestamp_seconds", fresh);
}

fn about_the_update(registry: &mut Registry, picture: &Picture) {
    let status = &picture.status;
    let phases = family(registry, "phase");
    for phase in PhaseName::ALL {
        let here = i64::from(phase.as_str() == status.phase);
        let labels = vec![("phase", phase.as_str().to_owned())];
        phases.get_or_create(&labels).set(here);
    }
    let waits = family(registry, "waits_for");
    for reason in &status.waits_for {
        let labels = vec![("reason", reason.reason.code().to_owned())];
        waits.get_or_create(&labels).set(1);
    }
    let failures = family(registry, "last_failure");
    if let Some(failure) = &status.last_failure {
        let labels = vec![("code", failure.code.as_str().to_owned())];
        failures.get_or_create(&labels).set(1);
    }
    let health = family(registry, "health_check");
    for result in &picture.health.results {
        let passed = result.outcome == twinroot_core::health::Outcome::Passed;
        let labels = vec![("check", result.check.clone())];
        health.get_or_create(&labels).set(i64::from(passed));
    }
    let (done, total) = status
        .progress
        .as_ref()
        .map_or((0, 0), |progress| (progress.done, progress.total));
    gauge(registry, "progress_bytes", signed(done));
    gauge(registry, "progress_total_bytes", signed(total));
}

fn counters(registry: &mut Registry, picture: &Picture) {
    let totals = &picture.totals;
    for (name, value) in [
        ("fetched_bytes_total", totals.fetched),
        ("reused_bytes_total", totals.reused),
        ("written_bytes_total", totals.written),
        ("checks_total", picture.checks.0),
        ("failed_checks_total", picture.checks.1),
    ] {
        // The library adds the suffix that the format asks of counters.
        let bare = name.trim_end_matches("_total");
        registry.register(bare, help(name), ConstCounter::new(value));
    }
}
