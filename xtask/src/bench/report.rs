//! The figures of one run: what was measured, against what, and whether the bar was met.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::table::Table;

/// One figure.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The measured value, for people.
    pub value: String,
    /// What it is compared with, for people.
    pub against: String,
    /// Measured value over reference; for bars without a reference, over the bar itself.
    pub ratio: Option<f64>,
    /// The ratio that must not be passed.
    pub limit: Option<f64>,
}

impl Row {
    /// True, false, or nothing where the row only informs.
    pub fn met(&self) -> Option<bool> {
        match (self.ratio, self.limit) {
            (Some(ratio), Some(limit)) => Some(ratio <= limit),
            // A bar without a figure is a bar that was not met.
            (None, Some(_)) => Some(false),
            (_, None) => None,
        }
    }
}

/// All figures of one run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    skipped: Vec<(String, String)>,
    about: Vec<(String, String)>,
}

impl Report {
    /// Says something about the run that the figures depend on (image sizes, tool versions).
    pub fn about(&mut self, name: &str, value: impl Into<String>) {
        self.about.push((name.to_owned(), value.into()));
    }

    /// Adds a figure and prints it, so that a long run can be watched.
    pub fn row(&mut self, row: Row) {
        println!(
            "  {}: {} against {}{}",
            row.what,
            row.value,
            row.against,
            verdict(&row)
        );
        self.rows.push(row);
    }

    /// Records a measurement that cannot be made here, and why.
    pub fn skip(&mut self, what: &str, reason: &str) {
        println!("SKIP {what}: {reason}");
        self.skipped.push((what.to_owned(), reason.to_owned()));
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut table = Table::new(&["what", "measured", "against", "ratio", "limit", ""]);
        for row in &self.rows {
            let number =
                |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
            let met = match row.met() {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let cells = [
                row.what.clone(),
                row.value.clone(),
                row.against.clone(),
                number(row.ratio),
                number(row.limit),
            ];
            table.row(cells.into_iter().chain([met.to_owned()]));
        }
        let mut text = String::new();
        for (name, value) in &self.about {
            text.push_str(&format!("- {name}: {value}\n"));
        }
        text.push('\n');
        text.push_str(&table.markdown());
        for (what, reason) in &self.skipped {
            text.push_str(&format!("\nNot measured: {what}: {reason}\n"));
        }
        text
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({ "what": row.what, "measured": row.value, "against": row.against,
                    "ratio": row.ratio, "limit": row.limit, "met": row.met() })
            })
            .collect();
        let pairs = |pairs: &[(String, String)]| -> Value {
            pairs
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({ "schema": 1, "about": pairs(&self.about), "rows": rows, "skipped": pairs(&self.skipped) })
    }

    /// Prints the table and writes both forms into `folder`; fails where a bar was missed.
    pub fn finish(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        for (name, text) in [
            ("bench.md", self.markdown()),
            ("bench.json", format!("{:#}\n", self.json())),
        ] {
            let file = folder.join(name);
            std::fs::write(&file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        println!("\n{}", self.markdown());
        let missed = self
            .rows
            .iter()
            .filter(|row| row.met() == Some(false))
            .count();
        if missed > 0 {
            bail!("{missed} bar(s) missed");
        }
        Ok(())
    }
}

fn verdict(row: &Row) -> &'static str {
    match row.met() {
        Some(true) => "  (met)",
        Some(false) => "  (MISSED)",
        None => "",
    }
}

/// Bytes for people, in millions: `33.61 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", ratio(bytes, 1_000_000))
}

/// Bytes for people, in binary units: `19.4 MiB`.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", ratio(bytes, 1 << 20))
}

/// `part` over `whole`.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes and times here stay far below 2^52"
)]
pub fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ratio: Option<f64>, limit: Option<f64>) -> Row {
        Row {
            what: "w".into(),
            value: "v".into(),
            against: "a".into(),
            ratio,
            limit,
        }
    }

    #[test]
    fn a_missed_bar_fails_the_run_and_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        report.row(row(Some(1.31), Some(1.3)));
        assert!(report.finish(dir.path()).is_err());
        let written = std::fs::read_to_string(dir.path().join("bench.md")).unwrap();
        assert!(written.contains("MISSED"), "{written}");
    }

    #[test]
    fn a_bar_without_a_figure_is_missed_and_a_figure_without_a_bar_is_not_judged() {
        assert_eq!(row(None, Some(1.0)).met(), Some(false));
        assert_eq!(row(Some(7.0), None).met(), None);
        assert_eq!(row(Some(1.3), Some(1.3)).met(), Some(true));
    }
}
