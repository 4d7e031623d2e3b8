//! Scenario 7: an ESP on which an update cannot be done is refused with the reason, and no harm.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

/// What is wrong, how it comes about, how a person puts it right.
const TROUBLES: [(&str, &str, &str); 2] = [
    (
        "full",
        "cat /dev/zero >/efi/filler 2>/dev/null || sync",
        "rm /efi/filler && sync",
    ),
    (
        "read-only",
        "mount -o remount,ro /efi",
        "mount -o remount,rw /efi",
    ),
];

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, old) = Node::started(lab, "1.0")?;
    // Files of somebody else, and of an update that was cut off, must not stand in the way.
    node.sh("echo other >/efi/EFI/Linux/other.conf\n\
             head -c 100000 /dev/zero >/efi/EFI/Linux/twinroot_0.9_0123456789abcdef+3.efi.new\n\
             sync")?;
    let new = lab.build(&Wanted::test("1.1"))?;
    node.publisher.release(&new, "5s")?;
    for (what, break_it, put_right) in TROUBLES {
        node.sh(&format!("ls /efi/EFI >/dev/null; {break_it}"))?;
        node.look_now()?;
        let status = node.wait_status(&format!("refusal while the ESP is {what}"), |status| {
            refusal(status).is_some()
        })?;
        let refusal = refusal(&status).context("it was there just now")?;
        lab.figure(format!("ESP {what}: {refusal}"));
        ensure!(
            refusal["remedy"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "the refusal has no remedy: {refusal}"
        );
        node.expect_enforced(&old, "a")?;
        node.sh(put_right)?;
    }
    node.look_now()?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    let disk = node.power_off()?;
    ensure!(
        disk.esp_read("EFI/Linux/other.conf")? == b"other\n",
        "somebody else's file on the ESP has changed"
    );
    node.passed();
    Ok(())
}

/// What says that the ESP is in the way: a reason to wait, found before a byte is fetched, or a failure on the
/// way.
fn refusal(status: &Value) -> Option<Value> {
    let failure = &status["last-failure"];
    let failed = failure["code"]
        .as_str()
        .is_some_and(|code| code.starts_with("esp-"));
    let reasons = status["waits-for"].as_array().into_iter().flatten();
    let about_esp = |reason: &&Value| {
        reason["sentence"]
            .as_str()
            .is_some_and(|text| text.contains("ESP"))
    };
    let waits = reasons.into_iter().find(about_esp).cloned();
    waits.or_else(|| failed.then(|| failure.clone()))
}
