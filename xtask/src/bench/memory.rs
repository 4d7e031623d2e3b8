//! Peak memory and temporary files, whatever the size of the image.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::node::Node;
use super::publisher::{Publisher, Release, Server};
use super::report::{Report, Row, mebibytes, megabytes, ratio};
use super::usage::Usage;
use crate::programs::Programs;
use crate::run;

/// Peak resident memory of the node's process with two workers, in bytes.
const RSS_LIMIT: u64 = 32 << 20;
/// Largest temporary file, in bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// The smaller image: 400 MB, the size of a real container host, in MiB.
const SMALL: u64 = 382;

/// Updates between seeded images of 400 MB and of `large` MiB, half of whose blocks are reusable.
pub fn rows(report: &mut Report, programs: &Programs, scratch: &Path, large: u64) -> Result<()> {
    for mebibytes in [SMALL, large] {
        let folder = scratch.join(format!("seeded-{mebibytes}"));
        std::fs::create_dir_all(&folder).context("cannot make a folder")?;
        update(report, programs, &folder, mebibytes)?;
        std::fs::remove_dir_all(&folder).context("cannot remove a folder")?;
    }
    Ok(())
}

fn update(report: &mut Report, programs: &Programs, folder: &Path, size: u64) -> Result<()> {
    for (way, staged) in stage_seeded(programs, folder, size)? {
        let Staged {
            usage,
            sent,
            temporary: (name, largest),
            payload,
        } = staged;
        let of = format!("seeded image of {size} MiB, {way}");
        report.row(Row {
            what: format!("{of}: peak memory of the update"),
            value: mebibytes(usage.peak_rss),
            against: format!("the bar, {}", mebibytes(RSS_LIMIT)),
            ratio: Some(ratio(usage.peak_rss, RSS_LIMIT)),
            limit: Some(1.0),
        });
        report.row(Row {
            what: format!("{of}: largest temporary file"),
            value: format!("{largest} bytes ({name}; {} looks)", usage.looks),
            against: format!("the bar, {}", mebibytes(FILE_LIMIT)),
            ratio: Some(ratio(largest, FILE_LIMIT)),
            limit: Some(1.0),
        });
        report.row(Row {
            what: of,
            value: format!(
                "{} fetched, {} wall, {} CPU",
                megabytes(sent),
                run::seconds(usage.wall),
                run::seconds(usage.cpu)
            ),
            against: format!("a full payload of {}", megabytes(payload)),
            ratio: Some(ratio(sent, payload)),
            limit: None,
        });
    }
    Ok(())
}

/// What an update between two seeded images took.
#[derive(Debug)]
pub struct Staged {
    /// The node's process.
    pub usage: Usage,
    /// Bytes that the server sent.
    pub sent: u64,
    /// The largest file on the side, with its name.
    pub temporary: (String, u64),
    /// Size of the full payload.
    pub payload: u64,
}

/// Updates a machine from one seeded image of `size` MiB to the next, by reuse: half of the blocks lie in
/// the booted slot, and nothing can be compressed. And to a third one by delta, in which one block in 64 has
/// a few other bytes, so that the delta is small and its index is not.
pub fn stage_seeded(
    programs: &Programs,
    folder: &Path,
    size: u64,
) -> Result<[(&'static str, Staged); 2]> {
    let publisher = Publisher::new(programs, folder)?;
    let old = seeded(programs, &publisher, folder, (1, size))?;
    let new = seeded(programs, &publisher, folder, (2, size))?;
    let mut server = publisher.serve()?;
    let node = Node::install(programs, &folder.join("machine"), &publisher, &old, &server)?;
    for release in [&old, &new] {
        std::fs::remove_file(&release.image).context("cannot remove an image")?;
    }
    let reuse = update_to(&node, &mut server, &new)?;
    node.settle()?;
    let patched = seeded(programs, &publisher, folder, (3, size))?;
    let delta = update_to(&node, &mut server, &patched)?;
    ensure!(
        delta.sent * 8 < delta.payload,
        "{} bytes came, though a delta was to be had",
        delta.sent
    );
    Ok([("by reuse", reuse), ("by delta", delta)])
}

fn update_to(node: &Node, server: &mut Server, new: &Release) -> Result<Staged> {
    server.sent()?;
    let usage = node.apply()?;
    let sent = server.sent()?.bytes;
    node.boot_into(&new.version)?;
    let temporary = {
        let (path, largest) = usage
            .largest_file_but(|path| node.is_own(path))
            .unwrap_or((Path::new("none"), 0));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (name.into_owned(), largest)
    };
    Ok(Staged {
        usage,
        sent,
        temporary,
        payload: new.payload_bytes,
    })
}

/// The third one is the second one patched.
const PATCHED: u64 = 3;

fn seeded(
    programs: &Programs,
    publisher: &Publisher,
    folder: &Path,
    (number, size): (u64, u64),
) -> Result<Release> {
    let image = folder.join(format!("{number}.img"));
    let patched = number == PATCHED;
    let content = if patched { number - 1 } else { number };
    let mut make = programs.lab();
    make.args(["seeded", "--size", &(size << 20).to_string()]);
    make.args(["--release", &content.to_string()]);
    if patched {
        make.arg("--patched");
    }
    run::capture(make.arg("--out").arg(&image))?;
    // Level 1: nothing shrinks these bytes, and nobody waits for the attempt.
    let deltas = if patched { "1" } else { "0" };
    let words = ["--delta-from", deltas, "--delta-level", "3"];
    let made = publisher.publish_with(&format!("1.{number}"), &image, 1, &words)?;
    Ok(made.0)
}
