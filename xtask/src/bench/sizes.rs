//! Bytes and identity on the publisher's side: root hashes and full payloads of the real images.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::publisher::{Publisher, Release, SALT};
use super::reference;
use super::report::{Report, Row, megabytes, ratio};

/// A full payload may be this much larger than one `zstd -19` stream of the image: the price of
/// segments that decode alone.
const FULL_LIMIT: f64 = 1.05;
/// The level that releases are made with.
const LEVEL: u8 = 19;
/// The level of releases whose payload nobody fetches here: they only have to have been before.
const UNFETCHED_LEVEL: u8 = 1;

/// Publishes the release that is measured, the way a publisher would.
pub fn publish(publisher: &Publisher, version: &str, image: &Path) -> Result<Release> {
    println!("publishing {version} at level {LEVEL}: {}", image.display());
    publisher.publish(version, image, LEVEL)
}

/// Publishes a release that others are measured against.
pub fn publish_before(publisher: &Publisher, version: &str, image: &Path) -> Result<Release> {
    println!("publishing {version}: {}", image.display());
    publisher.publish(version, image, UNFETCHED_LEVEL)
}

/// Root hashes against `veritysetup`, the newest full payload against one stream.
pub fn rows(report: &mut Report, releases: &[&Release], scratch: &Path) -> Result<()> {
    for release in releases {
        let judge = reference::veritysetup_root(&release.image, SALT, scratch)?;
        report.row(Row {
            what: format!("root hash of {}", release.version),
            value: release.root_hash[..16].to_owned(),
            against: format!("veritysetup {}", &judge[..16]),
            // No figure is a bar that is missed.
            ratio: (judge == release.root_hash).then_some(1.0),
            limit: Some(1.0),
        });
    }
    let Some(newest) = releases.last() else {
        return Ok(());
    };
    let stream = reference::zstd_stream(&newest.image, &stream_path(scratch))?;
    report.row(Row {
        what: "full payload".into(),
        value: megabytes(newest.payload_bytes),
        against: format!("one zstd -19 stream, {}", megabytes(stream)),
        ratio: Some(ratio(newest.payload_bytes, stream)),
        limit: Some(FULL_LIMIT),
    });
    Ok(())
}

/// Where the one stream of the newest image is kept for the timing of `zstd -d`.
pub fn stream_path(scratch: &Path) -> PathBuf {
    scratch.join("new.zst")
}
