//! Peak memory and temporary files, whatever the size of the image.

use std::path::Path;

use anyhow::{Context, Result};

use super::node::Node;
use super::publisher::{Publisher, Release};
use super::report::{Report, Row, mebibytes, megabytes, ratio};
use super::usage::Usage;
use crate::programs::Programs;
use crate::run;

/// Peak resident memory of the node's process with two workers, in bytes.
const RSS_LIMIT: u64 = 48 << 20;
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
    let Staged {
        usage,
        sent,
        temporary: (name, largest),
        payload,
    } = stage_seeded(programs, folder, size)?;
    let of = format!("seeded image of {size} MiB");
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
        what: format!("{of}: half of it reusable"),
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
/// the booted slot, and nothing can be compressed.
pub fn stage_seeded(programs: &Programs, folder: &Path, size: u64) -> Result<Staged> {
    let publisher = Publisher::new(programs, folder)?;
    let old = seeded(programs, &publisher, folder, 1, size)?;
    let new = seeded(programs, &publisher, folder, 2, size)?;
    let mut server = publisher.serve()?;
    let node = Node::install(programs, &folder.join("machine"), &publisher, &old, &server)?;
    std::fs::remove_file(&old.image).context("cannot remove an image")?;
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

fn seeded(
    programs: &Programs,
    publisher: &Publisher,
    folder: &Path,
    number: u64,
    size: u64,
) -> Result<Release> {
    let image = folder.join(format!("{number}.img"));
    let mut make = programs.lab();
    make.args([
        "seeded",
        "--size",
        &(size << 20).to_string(),
        "--release",
        &number.to_string(),
    ]);
    run::capture(make.arg("--out").arg(&image))?;
    // Level 1: nothing shrinks these bytes, and nobody waits for the attempt.
    publisher.publish(&format!("1.{number}"), &image, 1)
}
