//! Scenario 1: a good release arrives.

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::Node;
use crate::offline::RawDisk;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, old) = Node::started(lab, "1.0")?;
    node.expect_enforced(&old, "a")?;
    lab.figure(format!(
        "power-on to a committed first boot: {:.0} CPU-seconds",
        node.on()?.cpu()?.as_secs_f64()
    ));
    let new = lab.build(&Wanted::test("1.1"))?;
    node.publish(&new)?;
    node.wait_boot()?;
    let status = node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    ensure!(
        status["fallback"] == "proven",
        "the fallback is {}, and 1.0 has run and was healthy",
        status["fallback"]
    );
    figures(lab, &mut node)?;
    let proof = node.json(&["verify"])?;
    ensure!(proof["all-good"] == true, "`twinroot verify` says {proof}");
    expect_history(&mut node, &new)?;
    let disk = node.power_off()?;
    expect_slot(&disk, "a", &old)?;
    expect_slot(&disk, "b", &new)?;
    expect_entries(&disk, &[&old, &new])?;
    node.passed();
    Ok(())
}

fn figures(lab: &mut Lab, node: &mut Node) -> Result<()> {
    let agent = node.sh("pid=$(systemctl show -P MainPID twinroot-agent.service)\n\
                         sed -n 's/^VmHWM:[[:space:]]*//p' /proc/$pid/status")?;
    lab.figure(format!(
        "agent's largest memory since its start: {}",
        agent.trim()
    ));
    Ok(())
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

/// The ESP has one blessed entry for each of these, named by its content and holding it, and no other.
pub(super) fn expect_entries(disk: &RawDisk, releases: &[&Built]) -> Result<()> {
    let mut wanted = Vec::new();
    for built in releases {
        let bytes = std::fs::read(&built.uki)?;
        let digest: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = format!("twinroot_{}_{}.efi", built.version, &digest[..16]);
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
