//! Scenario 2: a release that never gets as far as its root.

use anyhow::{Result, ensure};

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

/// The kernel refuses to load dm-verity, so the initramfs can do nothing but panic. A word of the kernel's
/// own: the initramfs needs no knob.
const FAULT: &str = "module_blacklist=dm_verity";
/// Starts that a new release gets (`update.tries`).
const TRIES: usize = 3;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, good) = Node::started(lab, "1.1")?;
    let bad = lab.build(&Wanted::test("1.2").with(FAULT))?;
    let before = node.panics()?;
    node.publish(&bad)?;
    // It restarts into 1.2 three times and comes back by itself.
    node.wait_boot()?;
    let panics = node.panics()? - before;
    ensure!(panics == TRIES, "{panics} panics, where {TRIES} were due");
    node.expect_enforced(&good, "a")?;
    let status = node.wait_denied("1.2")?;
    let reason = denial(&status, "1.2");
    lab.figure(format!("1.2 is denied, because: {reason}"));
    ensure!(
        reason.contains("disk"),
        "the reason does not say that it got as far as its disk: {reason}"
    );
    let disk = node.power_off()?;
    super::update::expect_slot(&disk, "a", &good)?;
    node.passed();
    Ok(())
}

/// What the status gives as the reason of a denial.
pub(super) fn denial(status: &serde_json::Value, version: &str) -> String {
    status["denied"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|denied| denied["release"]["version"] == version)
        .filter_map(|denied| denied["reason"].as_str())
        .collect()
}
