//! Scenario 3: a release that starts, and whose workload does not.

use anyhow::{Context, Result, ensure};

use super::early_panic::denial;
use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, good) = Node::started(lab, "1.1")?;
    for (version, fault, probation) in [
        ("1.2", "twinroot.test.workload=broken", "5s"),
        // It holds for two minutes; the publisher asks for three.
        ("1.3", "twinroot.test.workload=late", "3m"),
    ] {
        let bad = lab.build(&Wanted::test(version).with(fault))?;
        node.publish_with(&bad, probation)?;
        node.wait_boot()?;
        let enforced = node.enforced()?;
        ensure!(
            enforced.root_hash == bad.root_hash,
            "{version} is not on trial: {enforced:?}"
        );
        node.wait_boot()?;
        node.expect_enforced(&good, "a")?;
        let status = node.wait_denied(version)?;
        let reason = denial(&status, version);
        lab.figure(format!("{version} is denied, because: {reason}"));
        ensure!(
            reason.contains("workload"),
            "the reason does not name the check: {reason}"
        );
        node.wait_committed("1.1")?;
        expect_last_words(&mut node, version)?;
    }
    node.passed();
    Ok(())
}

/// What is kept of the trial's journal ends with what the agent said of it, and not with the restart that followed.
fn expect_last_words(node: &mut Node, version: &str) -> Result<()> {
    let history = node.json(&["history"])?;
    let lines = history["lines"].as_array().cloned().unwrap_or_default();
    let denied = |line: &&serde_json::Value| {
        line["what"] == "denied" && line["release"]["version"] == version
    };
    let journal = lines
        .iter()
        .rfind(denied)
        .and_then(|line| line["left"]["journal"].as_str())
        .with_context(|| format!("no journal of {version} in its line of history: {history}"))?;
    let last = journal.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("twinroot: ") && last.contains("workload"),
        "the journal of {version} ends with: {last}"
    );
    Ok(())
}
