//! Bytes that an update fetches when the booted slot already holds most of the new image.

use std::path::Path;

use anyhow::{Context, Result};

use super::node::Node;
use super::publisher::{Publisher, Release, Server};
use super::report::{Report, Row, mebibytes, megabytes, ratio};
use super::{reference, sizes};
use crate::programs::Programs;
use crate::run;

/// From the release before, index and manifest included, over the missing blocks compressed as well as
/// independent segments can be.
const DIRECT_LIMIT: f64 = 1.08;
/// From a base two releases older, over what casync transfers.
const OLDER_LIMIT: f64 = 0.9;

/// `old` to `new` with nothing between: the routine refresh.
pub fn direct(
    report: &mut Report,
    programs: &Programs,
    publisher: &Publisher,
    (old, image): (&Release, &Path),
    scratch: &Path,
) -> Result<()> {
    let new = sizes::publish(publisher, "1.2", image)?;
    let mut server = publisher.serve()?;
    let folder = scratch.join("machine-direct");
    let node = Node::install(programs, &folder, publisher, old, &server)?;
    server.sent()?;
    let usage = node.apply()?;
    let sent = server.sent()?;
    node.boot_into(&new.version)?;
    node.settle()?;
    let (blocks, missing) = reference::missing_blocks(&old.image, image)?;
    report.row(Row {
        what: "reuse from the release before: bytes fetched, all of them".into(),
        value: format!("{} in {} requests", megabytes(sent.bytes), sent.requests),
        against: format!(
            "{blocks} missing blocks at zstd -19, {}",
            megabytes(missing)
        ),
        ratio: Some(ratio(sent.bytes, missing)),
        limit: Some(DIRECT_LIMIT),
    });
    report.row(Row {
        what: "reuse from the release before: the whole update".into(),
        value: format!(
            "{} wall, {} CPU, peak {}",
            run::seconds(usage.wall),
            run::seconds(usage.cpu),
            mebibytes(usage.peak_rss)
        ),
        against: format!("a full payload of {}", megabytes(new.payload_bytes)),
        ratio: Some(ratio(sent.bytes, new.payload_bytes)),
        limit: None,
    });
    std::fs::remove_dir_all(folder).context("cannot remove a machine")
}

/// `old` to `new` where another release lies between.
pub fn from_older(
    report: &mut Report,
    programs: &Programs,
    (publisher, server): (&Publisher, &mut Server),
    (old, new): (&Release, &Release),
    scratch: &Path,
) -> Result<()> {
    let folder = scratch.join("machine-older");
    let node = Node::install(programs, &folder, publisher, old, server)?;
    server.sent()?;
    node.apply()?;
    let sent = server.sent()?;
    node.boot_into(&new.version)?;
    let (casync, requests) = reference::casync_bytes(&old.image, &new.image, scratch)?;
    report.row(Row {
        what: "reuse from two releases before: bytes fetched, all of them".into(),
        value: format!("{} in {} requests", megabytes(sent.bytes), sent.requests),
        against: format!("casync, {} in {requests} requests", megabytes(casync)),
        ratio: Some(ratio(sent.bytes, casync)),
        limit: Some(OLDER_LIMIT),
    });
    std::fs::remove_dir_all(folder).context("cannot remove a machine")
}
