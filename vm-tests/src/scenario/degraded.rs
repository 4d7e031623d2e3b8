//! Scenario 11: a cause that no release brings and none takes away.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::host::{Deadline, capture, say};
use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;
use crate::offline::RawDisk;

/// Resets at starts without health: two more use up those of the newest release
/// (`core::bootfmt::attempt::STARTS_ALLOWED`), the next brings the other slot, and three more use up its own.
const RESETS: usize = 6;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, _) = Node::started(lab, "1.0")?;
    let new = lab.build(&Wanted::test("1.1"))?;
    node.publish(&new)?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    // From now on the workload fails on every slot.
    node.sh(
        "mkdir -p /var/lib/twinroot-test && touch /var/lib/twinroot-test/broken && sync\n\
         systemctl --no-block reboot",
    )?;
    node.wait_boot()?;
    let status = node.wait_status("a node that says that it is degraded", is_degraded)?;
    lab.figure(format!("it says: {}", status["warnings"]));
    let starts = reset_again_and_again(&mut node)?;
    lab.figure(format!(
        "reset {RESETS} times it came up on {}",
        starts.join(", ")
    ));
    ensure!(
        starts.contains(&String::from("1.0")),
        "1.1 had three starts without health, and 1.0 was not tried: {starts:?}"
    );
    let changes = starts.windows(2).filter(|pair| pair[0] != pair[1]).count();
    ensure!(changes <= 4, "it goes on changing slots: {starts:?}");
    comes_to_rest(&mut node)?;
    without_state(lab, &mut node)?;
    node.passed();
    Ok(())
}

fn is_degraded(status: &Value) -> bool {
    status["warnings"].to_string().contains("degraded")
}

/// Presses reset as soon as the agent has come up, and says which release came up each time.
fn reset_again_and_again(node: &mut Node) -> Result<Vec<String>> {
    let mut starts = Vec::new();
    for _ in 0..RESETS {
        node.on()?.reset()?;
        node.wait_boot()?;
        let up = |status: &Value| status["booted"]["release"]["version"].is_string();
        let status = node.wait_status("an agent that is up", up)?;
        // An answer may come without the agent; a root that never comes as far as that is another promise's.
        node.sh("systemctl start twinroot-agent.service")?;
        let version = status["booted"]["release"]["version"].as_str();
        starts.push(version.unwrap_or_default().to_owned());
        say(&format!("it is up on {}", starts.join(", ")));
    }
    Ok(starts)
}

/// Left alone, it goes to the newest release that was ever good, proven again, stays on it and says that it is
/// not well. For longer than any start here takes, nothing restarts it.
fn comes_to_rest(node: &mut Node) -> Result<()> {
    node.wait_committed("1.1")?;
    node.on()?.reset()?;
    node.wait_boot()?;
    node.wait_status("a node that says that it is degraded", |status| {
        is_degraded(status)
            && status["booted"]["release"]["version"] == "1.1"
            && status["phase"] == "idle"
    })?;
    let before = node.sh("cat /proc/sys/kernel/random/boot_id")?;
    let running = node.on()?;
    let from = running.console.lines().len();
    let restarted = running.wait_line(from, &["BdsDxe: starting"], Deadline::seconds(60));
    ensure!(
        restarted.is_err() && node.sh("cat /proc/sys/kernel/random/boot_id")? == before,
        "it restarted although both slots are unhealthy"
    );
    Ok(())
}

/// A state partition that cannot be mounted: the machine comes up all the same, says so, and takes nothing.
fn without_state(lab: &mut Lab, node: &mut Node) -> Result<()> {
    let disk = node.power_off()?;
    destroy_state(node, &disk)?;
    node.power_on()?;
    let status = node.json(&["status"])?;
    lab.figure(format!("without its state it says: {}", status["error"]));
    ensure!(
        status["error"]["code"] == "state-lost" && !status["error"]["remedy"].is_null(),
        "it does not say that its state is lost: {status}"
    );
    let mounted = node.sh("awk '$2 == \"/var\" {print $3}' /proc/mounts")?;
    ensure!(
        mounted.trim().ends_with("tmpfs"),
        "/var is {mounted}, not in memory"
    );
    Ok(())
}

/// Overwrites the beginning of the state partition: superblock and group descriptors.
fn destroy_state(node: &Node, disk: &RawDisk) -> Result<()> {
    let offset = disk.partition("state")?.offset;
    let mut io = Command::new("qemu-io");
    io.args(["-f", node.machine.disk_format(), "-c"]);
    io.arg(format!("write -P 0x5a {offset} 1M"));
    let said = capture(io.arg(node.machine.disk_file()))?;
    said.contains("wrote 1048576/1048576 bytes")
        .then_some(())
        .with_context(|| format!("qemu-io did not damage the disk: {said}"))
}
