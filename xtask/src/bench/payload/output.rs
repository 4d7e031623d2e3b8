//! How the figures leave: Markdown for people, JSON for programs, a picture.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::bars::{self, Bar};
use super::measure::Figures;
use super::peer::today;
use super::plot;
use super::row::{Applied, Row};
use crate::run;
use crate::table::Table;

const INTRODUCTION: &str = "\
# Updates measured

`./x bench payload` measures bytes, CPU, memory, temporary space and requests of ours and of every peer on the same
images and machine, and holds each promise against its bar. This page, [benchmarks.json](benchmarks.json) and
[benchmarks.svg](benchmarks.svg) are what one run has written (`--out docs`). What a tool makes is kept between runs with
its figures, since the same inputs give the same bytes; applying is measured in each run. Kills and memory of other
updates are in [bench.md](bench.md); why bars are missed is in [benchmarks-missed.md](benchmarks-missed.md).

Pairs, from Debian packages (`images/make.sh`): `refresh` is a release to the same with all security updates, kernel
included; `refresh-unpacked` the same with the kernel stored unpacked; `hotfix` one package; `week` what one week
brought; `go-rebuilt` two large Go programs rebuilt; `major` the next release of the distribution; `boot-file` an
initramfs with newer programs, and with a newer kernel.

";

/// Writes `benchmarks.md`, `benchmarks.json` and `benchmarks.svg` and prints the tables.
pub fn write(figures: &Figures, bars: &[Bar], out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let markdown = markdown(figures, bars);
    println!("\n{markdown}");
    let json = format!("{:#}\n", json(figures, bars));
    for (name, text) in [("benchmarks.md", &markdown), ("benchmarks.json", &json)] {
        let file = out.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    plot::draw(
        &figures.rows,
        "refresh",
        "erofs",
        &out.join("benchmarks.svg"),
    )?;
    println!("written to {}", out.display());
    Ok(())
}

/// A row in one line, for whoever watches.
pub fn line(row: &Row) -> String {
    format!(
        "{:<20} {:>8.3} MB, {} request(s){}{}",
        row.tool,
        bars::mega(row.made.bytes),
        row.made.requests,
        row.warm.as_ref().map_or(String::new(), |a| format!(
            ", {:.2} s CPU, {:.2} s wall, {} KiB",
            a.cpu_s, a.wall_s, a.rss_kib
        )),
        if row.fresh { "" } else { "  (made before)" }
    )
}

fn markdown(figures: &Figures, bars: &[Bar]) -> String {
    let mut text = String::from(INTRODUCTION);
    for (name, value) in about() {
        text.push_str(&format!("- {name}: {value}\n"));
    }
    text.push_str("\n## Promises\n\n");
    text.push_str(&bars::markdown(bars));
    text.push_str(
        "\n## Tools\n\nApplying was measured in this run; `made` says when the patch was.\n\n",
    );
    text.push_str(&rows(&figures.rows));
    let notes: std::collections::BTreeMap<&str, &str> = figures
        .rows
        .iter()
        .filter(|row| !row.note.is_empty())
        .map(|row| (row.tool.as_str(), row.note.as_str()))
        .collect();
    for (tool, note) in notes {
        text.push_str(&format!("\n{tool}: {note}.\n"));
    }
    if let Some(limits) = figures.limits {
        text.push_str(&format!(
            "\n## Limits of this machine\n\nFor the new image of the refresh ({:.1} MB): `openssl dgst -sha256` \
             {:.2} s CPU; `zstd -d` {}; writing with O_DIRECT {:.2} s.\n",
            bars::mega(limits.image_bytes),
            limits.sha256_cpu_s,
            limits
                .zstd_cpu_s
                .map_or("not measured".into(), |s| format!("{s:.2} s CPU")),
            limits.direct_write_wall_s,
        ));
    }
    for (what, reason) in &figures.skipped {
        text.push_str(&format!("\nNot measured: {what}: {reason}\n"));
    }
    text
}

fn rows(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "pair",
        "format",
        "tool",
        "MB",
        "requests",
        "apply CPU s",
        "wall s",
        "cold wall s",
        "RSS MiB",
        "temp MB",
        "make CPU s",
        "make RSS MiB",
        "made",
    ]);
    for row in rows {
        let figure = |part: fn(&Applied) -> String| row.warm.as_ref().map_or("-".into(), part);
        table.row([
            row.pair.clone(),
            row.format.clone(),
            row.tool.clone(),
            format!("{:.3}", bars::mega(row.made.bytes)),
            row.made.requests.to_string(),
            figure(|a| format!("{:.2}", a.cpu_s)),
            figure(|a| format!("{:.2}", a.wall_s)),
            row.cold
                .as_ref()
                .map_or("-".into(), |a| format!("{:.2}", a.wall_s)),
            figure(|a| format!("{:.1}", mebi(a.rss_kib))),
            figure(|a| format!("{:.2}", bars::mega(a.temp_bytes))),
            row.made.cpu_s.map_or("-".into(), |s| format!("{s:.1}")),
            row.made
                .rss_kib
                .map_or("-".into(), |kib| format!("{:.0}", mebi(kib))),
            if row.fresh {
                "this run".into()
            } else {
                row.made.day.clone()
            },
        ]);
    }
    table.markdown()
}

#[expect(clippy::cast_precision_loss, reason = "sizes here stay far below 2^52")]
fn mebi(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn json(figures: &Figures, bars: &[Bar]) -> Value {
    let about: serde_json::Map<String, Value> = about()
        .into_iter()
        .map(|(name, value)| (name.into(), json!(value)))
        .collect();
    json!({
        "schema": 1,
        "about": about,
        "rows": figures.rows.iter().map(Row::json).collect::<Vec<_>>(),
        "limits": figures.limits.map(|limits| limits.json()),
        "bars": bars.iter().map(Bar::json).collect::<Vec<_>>(),
        "skipped": figures.skipped.iter().map(|(what, why)| json!({ "what": what, "why": why }))
            .collect::<Vec<_>>(),
    })
}

/// What the figures depend on besides the code.
fn about() -> Vec<(&'static str, String)> {
    let first_line = |program: &str, words: &[&str]| {
        run::capture(Command::new(program).args(words))
            .ok()
            .and_then(|text| text.lines().next().map(str::to_owned))
            .unwrap_or_else(|| "unknown".into())
    };
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(run::root())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    vec![
        ("date", today()),
        ("commit", commit),
        ("kernel", first_line("uname", &["-srm"])),
        ("processor", processor()),
        ("cores", cores.to_string()),
        (
            "load at the end",
            load.split(' ').next().unwrap_or("unknown").to_owned(),
        ),
        ("openssl", first_line("openssl", &["version"])),
        ("zstd", first_line("zstd", &["--version"])),
    ]
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or_else(
            || "unknown".into(),
            |name| name.trim_matches([' ', '\t', ':']).to_owned(),
        )
}
