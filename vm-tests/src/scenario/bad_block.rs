//! Scenario 6, second half: a slot that was good for long goes bad.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::{Deadline, capture};
use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::{BOOT, Node};
use crate::offline::RawDisk;

/// Starts without health after which a committed slot is left (`core::bootfmt::attempt`).
const STARTS: usize = 3;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, old) = Node::started(lab, "1.0")?;
    let new = lab.build(&Wanted::test("1.1"))?;
    node.publish(&new)?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    let disk = node.power_off()?;
    damage(&node, &disk, "root-b", &new)?;
    node.switch_on()?;
    node.wait_running(&old)?;
    let panics = node.panics()?;
    ensure!(
        panics == STARTS,
        "{panics} panics before the other slot came, where {STARTS} were due"
    );
    let why = node.good(&["twinroot", "why"])?;
    lab.figure(format!("on the other slot it says: {}", why.trim()));
    node.wait_status("repair of slot b", |status| {
        status["fallback"] == "proven" && status["phase"] == "idle"
    })?;
    let proof = node.json(&["verify"])?;
    ensure!(proof["all-good"] == true, "`twinroot verify` says {proof}");
    let disk = node.power_off()?;
    super::update::expect_slot(&disk, "b", &new)?;
    node.passed();
    Ok(())
}

/// The same without another slot: the machine halts and says why.
pub(super) fn play_alone(lab: &mut Lab) -> Result<()> {
    let (mut node, only) = Node::started(lab, "1.0")?;
    let disk = node.power_off()?;
    damage(&node, &disk, "root-a", &only)?;
    node.switch_on()?;
    let running = node.on()?;
    let from = running.console.lines().len();
    running.wait_line(from, &["halt"], Deadline::seconds(4 * BOOT))?;
    lab.figure(format!("it halts with: {}", running.console.tail(3)));
    ensure!(
        node.panics()? >= STARTS,
        "it halted before its starts were used up"
    );
    node.passed();
    Ok(())
}

/// Turns the middle third of a slot's data into something else, as a dying disk would.
fn damage(node: &Node, disk: &RawDisk, partition: &str, built: &Built) -> Result<()> {
    let length = built.root.metadata()?.len();
    let third = length / 3 / 4096 * 4096;
    let offset = disk.partition(partition)?.offset + third;
    let mut io = Command::new("qemu-io");
    io.args(["-f", node.machine.disk_format(), "-c"]);
    io.arg(format!("write -P 0xa5 {offset} {third}"));
    let said = capture(io.arg(node.machine.disk_file()))?;
    let wrote = format!("wrote {third}/{third} bytes");
    said.contains(&wrote)
        .then_some(())
        .with_context(|| format!("qemu-io did not damage the disk: {said}"))
}
