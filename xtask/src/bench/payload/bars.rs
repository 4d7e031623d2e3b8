//! The bars: what must hold, as arithmetic over the rows of one run. A bar without its figures is missed.

use serde_json::{Value, json};

use super::row::Row;
use crate::table::Table;

/// A promise with its figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What is promised.
    pub what: String,
    /// The figure, for people.
    pub measured: String,
    /// What it is compared with, for people.
    pub against: String,
    /// Figure over reference; nothing where one of them was not measured.
    pub ratio: Option<f64>,
    /// The ratio that must not be passed.
    pub limit: f64,
    /// Why there is no figure.
    pub missing: Option<String>,
}

impl Bar {
    /// A bar with its figures.
    pub fn new(what: &str, measured: f64, reference: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            measured: format!("{} {unit}", short(measured)),
            against: format!("{} {unit}", short(reference)),
            ratio: (reference > 0.0).then(|| measured / reference),
            limit,
            missing: None,
        }
    }

    /// A bar that could not be measured here.
    pub fn missing(what: &str, limit: f64, reason: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            measured: String::from("-"),
            against: String::from("-"),
            ratio: None,
            limit,
            missing: Some(reason.into()),
        }
    }

    /// The reference named: `against bsdiff`.
    #[must_use]
    pub fn against(mut self, name: &str) -> Self {
        self.against = format!("{name}, {}", self.against);
        self
    }

    /// True where the figure is there and within the limit.
    pub fn met(&self) -> bool {
        self.ratio.is_some_and(|ratio| ratio <= self.limit)
    }

    /// For docs/benchmarks.json.
    pub fn json(&self) -> Value {
        json!({ "what": self.what, "measured": self.measured, "against": self.against,
            "ratio": self.ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0),
            "limit": self.limit, "met": self.met(), "not_measured_because": self.missing })
    }
}

/// Three significant places and no more: `11.5`, `0.49`.
fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// The bars as one table.
pub fn markdown(bars: &[Bar]) -> String {
    let mut table = Table::new(&["promise", "measured", "against", "ratio", "limit", ""]);
    for bar in bars {
        let ratio = bar
            .ratio
            .map_or(String::from("-"), |ratio| format!("{ratio:.3}"));
        let verdict = match (&bar.missing, bar.met()) {
            (Some(reason), _) => format!("NOT MEASURED: {reason}"),
            (None, true) => "met".into(),
            (None, false) => "MISSED".into(),
        };
        table.row([
            bar.what.clone(),
            bar.measured.clone(),
            bar.against.clone(),
            ratio,
            short(bar.limit),
            verdict,
        ]);
    }
    table.markdown()
}

/// Where a reference row comes from.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a>(pub &'a str, pub &'a str, pub &'a str);

/// Finds the row of (pair, format, tool).
pub fn find<'r>(rows: &'r [Row], key: Key<'_>) -> Option<&'r Row> {
    rows.iter().find(|row| {
        (row.pair.as_str(), row.format.as_str(), row.tool.as_str()) == (key.0, key.1, key.2)
    })
}

/// Bytes of ours over bytes of a reference.
pub fn bytes(rows: &[Row], what: &str, ours: Key<'_>, reference: Key<'_>, limit: f64) -> Bar {
    match (find(rows, ours), find(rows, reference)) {
        (Some(mine), Some(theirs)) => {
            let bar = Bar::new(
                what,
                mega(mine.made.bytes),
                mega(theirs.made.bytes),
                limit,
                "MB",
            );
            let other = if ours.0 == reference.0 && ours.1 == reference.1 {
                String::from(reference.2)
            } else {
                format!("{} of {} ({})", reference.2, reference.0, reference.1)
            };
            bar.against(&other)
        }
        (mine, _) => {
            let gone = if mine.is_none() { ours } else { reference };
            Bar::missing(
                what,
                limit,
                format!("no row of {} for {} ({})", gone.2, gone.0, gone.1),
            )
        }
    }
}

/// Bytes of ours over those of the best peer of the same pair.
pub fn bytes_best(rows: &[Row], what: &str, (pair, format): (&str, &str), limit: f64) -> Bar {
    let best = rows
        .iter()
        .filter(|row| row.pair == pair && row.format == format && !row.tool.starts_with("twinroot"))
        .min_by_key(|row| row.made.bytes);
    match best {
        Some(best) => bytes(
            rows,
            what,
            Key(pair, format, "twinroot-delta"),
            Key(pair, format, &best.tool),
            limit,
        ),
        None => Bar::missing(
            what,
            limit,
            format!("no peer was measured for {pair} ({format})"),
        ),
    }
}

/// Millions of bytes.
#[expect(clippy::cast_precision_loss, reason = "sizes here stay far below 2^52")]
pub fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::payload::row::tests::row;

    #[test]
    fn a_bar_is_met_at_its_limit_and_missed_beyond_it_or_without_a_figure() {
        let rows = [
            row("refresh", "erofs", "twinroot-delta", 900),
            row("refresh", "erofs", "bsdiff", 1000),
        ];
        let (ours, peer) = (
            Key("refresh", "erofs", "twinroot-delta"),
            Key("refresh", "erofs", "bsdiff"),
        );
        assert!(bytes(&rows, "w", ours, peer, 0.9).met());
        assert!(!bytes(&rows, "w", ours, peer, 0.89).met());
        let absent = bytes(&rows, "w", ours, Key("refresh", "erofs", "xdelta3"), 2.0);
        assert!(!absent.met() && absent.missing.is_some());
        assert!(markdown(&[absent]).contains("NOT MEASURED"));
        assert!(!Bar::new("w", 1.0, 0.0, 2.0, "s").met());
    }

    #[test]
    fn the_best_peer_is_the_smallest_of_the_same_pair_and_never_one_of_ours() {
        let rows = [
            row("week", "erofs", "twinroot-delta", 90),
            row("week", "erofs", "twinroot-full", 10),
            row("week", "erofs", "xdelta3", 200),
            row("week", "erofs", "ostree-static-delta", 100),
            row("hotfix", "erofs", "bsdiff", 1),
        ];
        let bar = bytes_best(&rows, "w", ("week", "erofs"), 1.0);
        assert_eq!(bar.ratio, Some(0.9));
        assert!(
            bar.against.starts_with("ostree-static-delta"),
            "{}",
            bar.against
        );
    }
}
