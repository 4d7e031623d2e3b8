//! CPU time of a full stage against separate tools that do the same.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::node::Node;
use super::publisher::{Publisher, Release, Server};
use super::report::{Report, Row, mebibytes, megabytes};
use super::{reference, sizes};
use crate::programs::Programs;
use crate::run;

/// CPU of the whole stage over the sum of the tools' CPU.
const LIMIT: f64 = 1.3;
/// Each side is measured this often and the least is taken: other work on the machine only adds.
const RUNS: usize = 3;

/// Stages `new` on a machine whose slot shares nothing with it, so that everything is fetched.
pub fn rows(
    report: &mut Report,
    programs: &Programs,
    (publisher, server): (&Publisher, &mut Server),
    new: &Release,
    scratch: &Path,
) -> Result<()> {
    let foreign = foreign_release(programs, new, scratch)?;
    let mut best: Option<super::usage::Usage> = None;
    let mut fetched = 0;
    for run in 0..RUNS {
        let folder = scratch.join(format!("machine-full-{run}"));
        let node = Node::install(programs, &folder, publisher, &foreign, server)?;
        server.sent()?;
        // `check` first: the signed metadata is not part of what the tools do.
        run::capture(&mut node.command(&["check"]))?;
        let usage = super::usage::measure(&mut node.command(&["stage"]))?;
        fetched = server.sent()?.payload;
        best = best.filter(|best| best.cpu <= usage.cpu).or(Some(usage));
        std::fs::remove_dir_all(folder).context("cannot remove a machine")?;
    }
    let usage = best.context("nothing was staged")?;
    let parts = tools(new, scratch)?;
    let total = reference::total(&parts);
    let list = parts
        .iter()
        .map(|(name, cpu)| format!("{name} {:.2}", cpu.as_secs_f64()));
    report.row(Row {
        what: "full stage: CPU".into(),
        value: format!("{:.2} s", usage.cpu.as_secs_f64()),
        against: format!(
            "{:.2} s by tools ({})",
            total.as_secs_f64(),
            list.collect::<Vec<_>>().join(", ")
        ),
        ratio: Some(usage.cpu.as_secs_f64() / total.as_secs_f64()),
        limit: Some(LIMIT),
    });
    report.row(Row {
        what: "full stage: all else".into(),
        value: format!(
            "{} wall, peak {}",
            run::seconds(usage.wall),
            mebibytes(usage.peak_rss)
        ),
        against: format!(
            "{} fetched of an image of {}",
            megabytes(fetched),
            megabytes(reference::size_of(&new.image)?)
        ),
        ratio: None,
        limit: None,
    });
    Ok(())
}

/// The tools' parts, each the least of several runs.
fn tools(new: &Release, scratch: &Path) -> Result<Vec<(&'static str, Duration)>> {
    let stream = sizes::stream_path(scratch);
    let mut best = reference::stage_by_tools(&stream, &new.image, scratch)?;
    for _ in 1..RUNS {
        let again = reference::stage_by_tools(&stream, &new.image, scratch)?;
        for (best, again) in best.iter_mut().zip(again) {
            best.1 = best.1.min(again.1);
        }
    }
    Ok(best)
}

/// A first release of seeded bytes, as large as the image: no block of it helps.
fn foreign_release(programs: &Programs, new: &Release, scratch: &Path) -> Result<Release> {
    let (image, uki) = (scratch.join("foreign.img"), scratch.join("foreign.efi"));
    let size = reference::size_of(&new.image)?.to_string();
    let mut seeded = programs.lab();
    seeded
        .args(["seeded", "--release", "99", "--size", &size])
        .arg("--out")
        .arg(&image);
    run::capture(&mut seeded)?;
    let root_hash = super::publisher::boot_file(programs, "0.9", &image, &uki)?;
    Ok(Release {
        version: "0.9".into(),
        image,
        uki,
        root_hash,
        payload_bytes: 0,
    })
}
