//! `GET /metrics`: figures of the newest picture in the OpenMetrics text format. Names and labels are
//! an interface: the alert rules in `docs/observability` live from them.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use twinroot_core::update::PhaseName;
use twinroot_core::wire::FallbackStatus;

use crate::daemon::Picture;

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

fn family(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Gauge> {
    let family = Family::<Labels, Gauge>::default();
    registry.register(name, help, family.clone());
    family
}

fn about_the_node(registry: &mut Registry, picture: &Picture) {
    let status = &picture.status;
    let version = status.booted.release.as_ref().map(|r| r.version.clone());
    family(registry, "node", "What the node is, as labels")
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
    let help = "Whether the other slot would carry the node: 2 proven, 1 unproven, 0 absent";
    registry.register("fallback", help, ConstGauge::new(fallback));
    let denied = i64::try_from(status.denied.len()).unwrap_or(i64::MAX);
    registry.register(
        "denied_releases",
        "Releases remembered as bad",
        ConstGauge::new(denied),
    );
    let fresh = status.verified_fresh.map_or(0, |at| at.0);
    let help = "When signed metadata was last found fresh, in seconds since 1970; 0 for never";
    registry.register(
        "verified_fresh_timestamp_seconds",
        help,
        ConstGauge::new(fresh),
    );
}

fn about_the_update(registry: &mut Registry, picture: &Picture) {
    let status = &picture.status;
    let phases = family(registry, "phase", "1 for the phase the update is in");
    for phase in PhaseName::ALL {
        let here = i64::from(phase.as_str() == status.phase);
        let labels = vec![("phase", phase.as_str().to_owned())];
        phases.get_or_create(&labels).set(here);
    }
    let waits = family(
        registry,
        "waits_for",
        "1 for each reason that the update waits for",
    );
    for reason in &status.waits_for {
        let labels = vec![("reason", reason.reason.code().to_owned())];
        waits.get_or_create(&labels).set(1);
    }
    let failures = family(
        registry,
        "last_failure",
        "1 for what failed last, by its code",
    );
    if let Some(failure) = &status.last_failure {
        let labels = vec![("code", failure.code.as_str().to_owned())];
        failures.get_or_create(&labels).set(1);
    }
    let health = family(
        registry,
        "health_check",
        "1 for a check that passed, 0 for one that did not",
    );
    for result in &picture.health.results {
        let passed = result.outcome == twinroot_core::health::Outcome::Passed;
        let labels = vec![("check", result.check.clone())];
        health.get_or_create(&labels).set(i64::from(passed));
    }
}

fn counters(registry: &mut Registry, picture: &Picture) {
    let totals = &picture.totals;
    for (name, help, value) in [
        (
            "fetched_bytes",
            "Bytes of payloads from the network",
            totals.fetched,
        ),
        (
            "reused_bytes",
            "Bytes taken from the booted slot",
            totals.reused,
        ),
        ("written_bytes", "Bytes written to a slot", totals.written),
        ("checks", "Looks at the repository", picture.checks.0),
        (
            "failed_checks",
            "Looks at the repository that failed",
            picture.checks.1,
        ),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
}
