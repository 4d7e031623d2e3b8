//! Scenario 6, first half: what was tampered with on the server is refused before anything is armed.

use anyhow::{Context, Result, ensure};
use twinroot_publish::serve::faults::{Fault, Kind};

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, old) = Node::started(lab, "1.0")?;
    let new = lab.build(&Wanted::test("1.1"))?;
    let entries = node.sh("ls /efi/EFI/Linux")?;
    // Without deltas, so that it is known which files the node has to fetch.
    node.publisher
        .release_with(&new, "5s", &["--delta-from", "0"])?;
    let uki = published_uki(&node, &new.uki)?;
    let cases = [
        ("metadata", "timestamp.json".to_owned(), 100, TRUST),
        ("boot image", uki, 5000, UKI),
        ("payload", "payload/".to_owned(), 100_000, PAYLOAD),
    ];
    for (what, path, at, codes) in cases {
        node.server
            .set_faults(vec![Fault::always(path, Kind::Corrupt(at))]);
        node.look_now()?;
        let status = node.wait_status(&format!("refusal of a tampered {what}"), |status| {
            codes
                .iter()
                .any(|code| status["last-failure"]["code"] == *code)
        })?;
        lab.figure(format!("tampered {what}: {}", status["last-failure"]));
        let now = node.sh("ls /efi/EFI/Linux")?;
        ensure!(
            now == entries,
            "boot entries have changed after a tampered {what}: {now}"
        );
        node.expect_enforced(&old, "a")?;
    }
    node.server.set_faults(Vec::new());
    node.look_now()?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.passed();
    Ok(())
}

/// Codes that a tampered file may be refused with: its digest or its signature is wrong.
const TRUST: &[&str] = &["threshold-not-met", "malformed-metadata", "wrong-digest"];
const UKI: &[&str] = &["wrong-digest"];
const PAYLOAD: &[&str] = &["payload-segment-digest", "payload-index-digest"];

/// The published file that is this UKI: payload files are named by content.
fn published_uki(node: &Node, uki: &std::path::Path) -> Result<String> {
    let wanted = std::fs::read(uki)?;
    let folder = node.publisher.published().join("targets/payload");
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.metadata()?.len() == wanted.len() as u64 && std::fs::read(&path)? == wanted {
            let name = path.file_name().unwrap_or_default();
            return Ok(name.to_string_lossy().into_owned());
        }
    }
    None.context("the UKI is not among the published files")
}
