//! Scenario 1: a good release arrives.

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::Node;
use crate::offline::RawDisk;

/// What the agent may take of a start, in CPU-seconds: nothing is hashed.
const AGENT_SHARE: f64 = 1.0;
/// What emulation may take from power-on to the agent on the lean variant, in CPU-seconds.
const LEAN_START: f64 = 30.0;
/// Memory that the agent may take while it updates, in KiB.
const AGENT_MEMORY: u64 = 48 << 10;

/// On the lean variant.
pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (old, new) = (Wanted::test("1.0"), Wanted::test("1.1"));
    arrive(lab, [&old, &new], 512)
}

/// On everything that ships.
pub(super) fn play_shipped(lab: &mut Lab) -> Result<()> {
    let (old, new) = (Wanted::shipped("1.0"), Wanted::shipped("1.1"));
    arrive(lab, [&old, &new], 1024)
}

fn arrive(lab: &mut Lab, [old, new]: [&Wanted; 2], memory: u32) -> Result<()> {
    let (old, new) = (lab.build(old)?, lab.build(new)?);
    let mut node = Node::install_on(lab, &old, |spec| spec.memory = memory)?;
    node.power_on()?;
    lab.figure(format!(
        "power-on to a first boot that answers: {:.0} CPU-seconds",
        node.on()?.cpu()?.as_secs_f64()
    ));
    node.follow()?;
    node.wait_committed("1.0")?;
    node.expect_enforced(&old, "a")?;
    node.publish(&new)?;
    let memory = node.watch_agent_until_boot()?;
    lab.figure(format!(
        "agent's largest memory while it updated: {memory} KiB"
    ));
    ensure!(memory > 0, "the agent's memory was never seen");
    ensure!(
        memory <= AGENT_MEMORY,
        "the agent took {memory} KiB while it updated, more than {AGENT_MEMORY} KiB"
    );
    slot_write(lab, &mut node, &new)?;
    let status = node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    ensure!(
        status["fallback"] == "proven",
        "the fallback is {}, and 1.0 has run and was healthy",
        status["fallback"]
    );
    lab.figure(format!("loader: {}", status["loader"]));
    for line in node.good(&["twinroot", "history"])?.lines() {
        lab.figure(format!("history: {line}"));
    }
    let proof = node.json(&["verify"])?;
    ensure!(proof["all-good"] == true, "`twinroot verify` says {proof}");
    expect_history(&mut node, &new)?;
    if new.variant.as_deref() != Some("test") {
        ssh_with_own_keys(&mut node)?;
    }
    let disk = node.power_off()?;
    expect_slot(&disk, "a", &old)?;
    expect_slot(&disk, "b", &new)?;
    expect_entries(&disk, &[&old, &new])?;
    committed_start(lab, &mut node, old.variant.as_deref() == Some("test"))?;
    node.passed();
    Ok(())
}

/// The SSH server is off. Once it is turned on, the host has keys of its own: the image brings none.
fn ssh_with_own_keys(node: &mut Node) -> Result<()> {
    let key = "/etc/ssh/ssh_host_ed25519_key";
    node.sh(&format!(
        "! systemctl -q is-active ssh.service ssh.socket && test ! -e {key}"
    ))?;
    node.sh("systemctl start ssh.service && systemctl is-active ssh.service")?;
    let mode = node.sh(&format!("stat -c %a {key}"))?;
    ensure!(mode.trim() == "600", "{key} has mode {mode}");
    Ok(())
}

/// How long it took inside the guest until the slot was written and proven, by the journal of the start before,
/// and what its disk takes when nothing is computed.
fn slot_write(lab: &mut Lab, node: &mut Node, new: &Built) -> Result<()> {
    let at = |node: &mut Node, phase: &str| -> Result<f64> {
        let said = node.sh(&format!(
            "journalctl --no-pager -b -1 -o short-unix TWINROOT_PHASE={phase} | grep twinroot | tail -n 1"
        ))?;
        let seconds = said.split_whitespace().next().unwrap_or_default();
        seconds
            .parse()
            .with_context(|| format!("the journal does not say when '{phase}' began: {said:?}"))
    };
    let took = at(node, "staged")? - at(node, "staging")?;
    let megabytes = new.root.metadata()?.len() as f64 / 1e6;
    // The same disk without network and hashing.
    let dd = "begin=$(date +%s%N)\n\
              dd if=/dev/zero of=/var/tmp/dd bs=1M count=32 conv=fsync status=none\n\
              end=$(date +%s%N); rm /var/tmp/dd; echo $((end - begin))";
    let nanoseconds: f64 = node.sh(dd)?.trim().parse()?;
    lab.figure(format!(
        "slot of {megabytes:.0} MB fetched, written, read back and proven in {took:.1} s, {:.1} MB/s; \
         its disk alone takes {:.0} MB/s",
        megabytes / took,
        32.0 * 1048576.0 * 1e3 / nanoseconds
    ));
    Ok(())
}

/// What a start of a committed system costs, up to the agent's first answer.
fn committed_start(lab: &mut Lab, node: &mut Node, lean: bool) -> Result<()> {
    node.switch_on()?;
    node.wait_boot()?;
    // The socket is there before the agent; the job ends once the agent has said that it is ready. Asking again and
    // again would be most of what is measured.
    let agent = "systemctl start twinroot-agent.service\n\
                 systemctl show -P CPUUsageNSec twinroot-agent.service";
    let nanoseconds: f64 = node.sh(agent)?.trim().parse()?;
    let (start, share) = (node.on()?.cpu()?.as_secs_f64(), nanoseconds / 1e9);
    let lean = if lean {
        judged(start, LEAN_START)
    } else {
        String::new()
    };
    lab.figure(format!(
        "power-on of a committed system to its agent: {start:.1} CPU-seconds of emulation{lean}, {share:.2} of them \
         the agent's{}",
        judged(share, AGENT_SHARE)
    ));
    node.power_off().map(drop)
}

/// How a figure stands to its bar. It ends no scenario: what a start costs depends on what else the build host does.
fn judged(seconds: f64, bar: f64) -> String {
    let verdict = if seconds <= bar { "met" } else { "MISSED" };
    format!(" (bar {bar}: {verdict})")
}

/// The history tells of the commit, and names the root hash that the builder computed.
fn expect_history(node: &mut Node, new: &Built) -> Result<()> {
    let history = node.json(&["history"])?;
    let lines = history["lines"].as_array().cloned().unwrap_or_default();
    let committed = lines.iter().any(|line| {
        line["what"] == "committed" && line["release"].to_string().contains(&new.root_hash)
    });
    ensure!(
        committed,
        "no line of the history says that {} with root hash {} was committed: {history}",
        new.version,
        new.root_hash
    );
    Ok(())
}

/// The slot's partitions begin with exactly what the builder made.
pub(super) fn expect_slot(disk: &RawDisk, slot: &str, built: &Built) -> Result<()> {
    for (name, file) in [
        (format!("root-{slot}"), &built.root),
        (format!("root-{slot}-verity"), &built.tree),
    ] {
        ensure!(
            disk.begins_with(&name, file)?,
            "partition {name} does not hold {}",
            file.display()
        );
    }
    Ok(())
}

/// Name of the entry of a boot image, without counter and ending.
pub(super) fn entry_stem(version: &str, uki: &[u8]) -> String {
    let digest = Sha256::digest(uki);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("twinroot_{version}_{}", &hex[..16])
}

/// The ESP has one blessed entry for each of these, named by its content and holding it, and no other.
pub(super) fn expect_entries(disk: &RawDisk, releases: &[&Built]) -> Result<()> {
    let mut wanted = Vec::new();
    for built in releases {
        let bytes = std::fs::read(&built.uki)?;
        let name = format!("{}.efi", entry_stem(&built.version, &bytes));
        ensure!(
            disk.esp_read(&format!("EFI/Linux/{name}"))
                .is_ok_and(|found| found == bytes),
            "EFI/Linux/{name} is not the UKI that was built; there are {:?}",
            disk.esp_list("EFI/Linux")?
        );
        wanted.push(name);
    }
    wanted.sort();
    let found = disk.esp_list("EFI/Linux")?;
    ensure!(found == wanted, "the ESP has {found:?}, not {wanted:?}");
    Ok(())
}
