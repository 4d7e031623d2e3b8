//! `why`, `health`, `verify`, `history`, `config show`.

use twinroot_agent::history::HistoryLine;
use twinroot_core::health::Outcome;
use twinroot_core::text::size;
use twinroot_core::wire::{ConfigShow, DriftReport, HealthStatus, Status, VerifyReport, Why};

use super::release;

/// `twinroot why`.
pub(crate) fn why(why: &Why) -> String {
    if why.reasons.is_empty() {
        return String::from("nothing is waited for: an update is going on\n");
    }
    let line =
        |reason: &twinroot_core::wire::Reason| format!("{}; {}\n", reason.sentence, reason.remedy);
    why.reasons.iter().map(line).collect()
}

/// `twinroot health`.
pub(crate) fn health(health: &HealthStatus, status: &Status) -> String {
    let mut text = format!("{}\n", status.sentence);
    for result in &health.results {
        let word = match result.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed | Outcome::FailedForGood => "FAILED",
            Outcome::Unreachable => "UNREACHABLE",
            Outcome::NotRun => "NOT RUN",
        };
        text.push_str(&format!("{word:<12} {}: {}\n", result.check, result.detail));
    }
    text
}

/// `twinroot verify`.
pub(crate) fn verify(report: &VerifyReport) -> String {
    let mut text = String::new();
    for slot in &report.slots {
        let verdict = if slot.good { "good" } else { "NOT PROVEN" };
        let expected = slot
            .expected
            .as_ref()
            .map_or(String::from("nothing known"), release);
        text.push_str(&format!("slot {}  {verdict}  {expected}\n", slot.slot));
        if let Some(computed) = &slot.computed {
            text.push_str(&format!("        root hash {computed}\n"));
        }
        text.push_str(&format!("        {}\n", slot.detail));
    }
    text
}

/// `twinroot verify --drift`.
pub(crate) fn drift(report: &DriftReport) -> String {
    if report.differences.is_empty() {
        return String::from("/etc is as the image has it\n");
    }
    let line = |one: &twinroot_core::wire::Difference| {
        let detail = match one.detail.as_str() {
            "" => String::new(),
            detail => format!("  ({detail})"),
        };
        format!("{:<8} {}{detail}\n", one.change.as_str(), one.path)
    };
    report.differences.iter().map(line).collect()
}

/// `twinroot history`.
pub(crate) fn history(lines: &[HistoryLine]) -> String {
    if lines.is_empty() {
        return String::from("nothing was done yet\n");
    }
    lines.iter().map(history_line).collect()
}

fn history_line(line: &HistoryLine) -> String {
    let about = line
        .release
        .as_ref()
        .map_or(String::new(), |release| format!(" {}", release.version));
    let bytes = if line.written > 0 {
        format!(
            " ({} fetched, {} written)",
            size(line.fetched),
            size(line.written)
        )
    } else {
        String::new()
    };
    let by = line
        .by
        .as_ref()
        .map_or(String::new(), |by| format!(" [{by}]"));
    let mut text = format!(
        "{}  {}{about}: {}{bytes}{by}\n",
        line.at, line.what, line.detail
    );
    if let Some(pcr11) = &line.pcr11 {
        text.push_str(&format!("    PCR 11 {pcr11}\n"));
    }
    if let Some(left) = &line.left {
        text.push_str(&what_was_left(left));
    }
    text
}

/// What a trial that failed has left, below its line.
fn what_was_left(left: &twinroot_core::records::Left) -> String {
    if left.is_nothing() {
        return String::from("    nothing was left of its last start\n");
    }
    let stage = left.stage.as_deref().unwrap_or("unknown");
    let mut text = format!("    its last start came as far as {stage}");
    if !left.failed.is_empty() {
        text.push_str(&format!(": {}", left.failed));
    }
    text.push('\n');
    for (log, name) in [(&left.console, "console"), (&left.journal, "journal")] {
        if !log.is_empty() {
            text.push_str(&format!("    the end of its {name}:\n"));
        }
        for line in log.lines() {
            let plain: String = line.chars().filter(|c| !c.is_control()).collect();
            text.push_str(&format!("    | {plain}\n"));
        }
    }
    text
}

/// `twinroot config show`: TOML that reads back, each value's origin behind it where asked for.
pub(crate) fn config(show: &ConfigShow, origin: bool) -> String {
    let line = |setting: &twinroot_core::wire::Setting| {
        let from = setting.origin.as_deref().unwrap_or("built in");
        match origin {
            true => format!("{} = {}  # {from}\n", setting.key, setting.value),
            false => format!("{} = {}\n", setting.key, setting.value),
        }
    };
    show.settings.iter().map(line).collect()
}
