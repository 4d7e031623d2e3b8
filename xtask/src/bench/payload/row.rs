//! One measured tool on one pair of images, and how it is written down.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::usage::Usage;

/// What making an artefact cost the publisher. Kept beside the artefact, since making is slow.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Bytes that a node fetches, index and all.
    pub bytes: u64,
    /// Requests that it makes for them.
    pub requests: u64,
    /// Publisher's CPU seconds; nothing where it was not measured by itself.
    pub cpu_s: Option<f64>,
    /// Publisher's peak memory in KiB.
    pub rss_kib: Option<u64>,
    /// Day on which it was made, as `2026-11-26`.
    pub day: String,
}

/// What applying cost the node.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// User and system seconds.
    pub cpu_s: f64,
    /// Seconds from start to end.
    pub wall_s: f64,
    /// Peak resident memory of the largest process, in KiB.
    pub rss_kib: u64,
    /// Bytes of files that the tool needs on the side: a patch that it cannot read from a pipe, and what it
    /// unpacks on the way.
    pub temp_bytes: u64,
}

impl Applied {
    /// The costs of commands that ran one after the other.
    pub fn of(steps: &[Usage], temp_bytes: u64) -> Self {
        let sum = |part: fn(&Usage) -> Duration| steps.iter().map(part).sum::<Duration>();
        Self {
            cpu_s: sum(|usage| usage.cpu).as_secs_f64(),
            wall_s: sum(|usage| usage.wall).as_secs_f64(),
            rss_kib: peak_kib(steps),
            temp_bytes,
        }
    }
}

/// Peak memory of the largest of several processes, in KiB.
pub fn peak_kib(steps: &[Usage]) -> u64 {
    steps
        .iter()
        .map(|usage| usage.peak_rss / 1024)
        .max()
        .unwrap_or(0)
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name of the pair: `refresh`, `hotfix`, ….
    pub pair: String,
    /// Format of the images: `erofs`, `erofs-lz4`, `ext4`, `uki`.
    pub format: String,
    /// The tool; ours are `twinroot-delta`, `twinroot-reuse`, `twinroot-full`.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// What it takes to make.
    pub made: Made,
    /// True where the artefact was made in this run; applying always is.
    pub fresh: bool,
    /// What it takes to apply with the inputs in the page cache; nothing where it was not applied.
    pub warm: Option<Applied>,
    /// The same with the cache dropped for the inputs.
    pub cold: Option<Applied>,
    /// What a reader has to know to compare.
    pub note: String,
}

impl Row {
    /// The row as JSON, with the keys that docs/benchmarks.json promises.
    pub fn json(&self) -> Value {
        let warm = |part: fn(&Applied) -> Value| self.warm.as_ref().map(part);
        let cold = |part: fn(&Applied) -> Value| self.cold.as_ref().map(part);
        json!({
            "pair": self.pair,
            "format": self.format,
            "tool": self.tool,
            "version": self.version,
            "bytes": self.made.bytes,
            "requests": self.made.requests,
            "apply_cpu_s": warm(|a| rounded(a.cpu_s)),
            "apply_wall_s": warm(|a| rounded(a.wall_s)),
            "apply_rss_kib": warm(|a| json!(a.rss_kib)),
            "apply_temp_bytes": warm(|a| json!(a.temp_bytes)),
            "apply_cold_cpu_s": cold(|a| rounded(a.cpu_s)),
            "apply_cold_wall_s": cold(|a| rounded(a.wall_s)),
            "make_cpu_s": self.made.cpu_s.map(rounded),
            "make_rss_kib": self.made.rss_kib,
            "made": self.made.day,
            "made_in_this_run": self.fresh,
            "note": self.note,
        })
    }
}

impl Made {
    /// For the cache.
    pub fn json(&self) -> Value {
        json!({ "bytes": self.bytes, "requests": self.requests, "cpu_s": self.cpu_s,
            "rss_kib": self.rss_kib, "day": self.day })
    }

    /// From the cache.
    pub fn from_json(value: &Value) -> Result<Self> {
        let number = |key: &str| {
            value[key]
                .as_u64()
                .with_context(|| format!("the kept figures lack {key}"))
        };
        Ok(Self {
            bytes: number("bytes")?,
            requests: number("requests")?,
            cpu_s: value["cpu_s"].as_f64(),
            rss_kib: value["rss_kib"].as_u64(),
            day: value["day"]
                .as_str()
                .context("the kept figures lack their day")?
                .to_owned(),
        })
    }
}

/// Seconds to the hundredth: the kernel's clock ticks say no more.
fn rounded(seconds: f64) -> Value {
    json!((seconds * 100.0).round() / 100.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row with a size and nothing else that matters.
    pub(in crate::bench::payload) fn row(pair: &str, format: &str, tool: &str, bytes: u64) -> Row {
        Row {
            pair: pair.into(),
            format: format.into(),
            tool: tool.into(),
            version: "1".into(),
            made: Made {
                bytes,
                requests: 1,
                cpu_s: Some(2.5),
                rss_kib: Some(7),
                day: "2026-11-26".into(),
            },
            fresh: true,
            warm: Some(Applied {
                cpu_s: 0.123,
                wall_s: 0.456,
                rss_kib: 9,
                temp_bytes: 0,
            }),
            cold: None,
            note: String::new(),
        }
    }

    #[test]
    fn the_promised_keys_are_there_and_a_missing_figure_is_null_not_zero() {
        let mut row = row("refresh", "erofs", "bsdiff", 13);
        let json = row.json();
        assert_eq!(json["apply_cpu_s"], 0.12);
        assert_eq!(json["bytes"], 13);
        row.warm = None;
        let json = row.json();
        for key in ["apply_cpu_s", "apply_wall_s", "apply_rss_kib"] {
            assert!(json.as_object().unwrap().contains_key(key), "{key}");
            assert!(json[key].is_null(), "{key}");
        }
    }

    #[test]
    fn kept_figures_come_back_as_they_were() {
        let made = row("a", "b", "c", 5).made;
        assert_eq!(Made::from_json(&made.json()).unwrap(), made);
        assert!(Made::from_json(&json!({ "bytes": 1 })).is_err());
    }
}
