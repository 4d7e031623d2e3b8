//! Scenario 9: other disks are never used; a clone stops the start; NVMe works.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::host::{Deadline, capture};
use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::{BOOT, Node};
use crate::qemu::Bus;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let own = lab.build(&Wanted::test("1.0"))?;
    let foreign = lab.build(&Wanted::test("1.9"))?;
    let foreign_disk = lab.disk(&foreign)?;
    let own_disk = lab.disk(&own)?;

    // A disk with the same labels and another release; the own one as NVMe.
    let mut node = Node::first_start_on(lab, &own, |spec| {
        spec.bus = Bus::Nvme;
        spec.more_disks = vec![foreign_disk.clone()];
    })?;
    node.expect_enforced(&own, "a")?;
    let new = lab.build(&Wanted::test("1.1"))?;
    node.publish(&new)?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    node.power_off()?;
    let layer = node.machine.folder().join("disk-2.qcow2");
    capture(
        Command::new("qemu-img")
            .args(["compare", "-f", "qcow2", "-F", "raw"])
            .arg(layer)
            .arg(&foreign_disk),
    )?;
    node.passed();
    drop(node);

    // An exact clone of the disk that is booted: nobody can say which is meant.
    let mut node = Node::install_on(lab, &own, |spec| spec.more_disks = vec![own_disk])?;
    node.switch_on()?;
    let running = node.on()?;
    let refused = running.wait_line(0, &["are copies of each other"], Deadline::seconds(BOOT))?;
    lab.figure(format!(
        "with a clone it says: {}",
        running.console.lines()[refused - 1].text
    ));
    let disk = node.cut()?;
    let entries = disk.esp_list("EFI/Linux")?;
    ensure!(
        entries.len() == 1 && entries[0].contains("+3"),
        "a try was spent on a start with a clone attached: {entries:?}"
    );
    node.machine.spec_mut().more_disks.clear();
    node.power_on()?;
    node.expect_enforced(&own, "a")?;
    node.passed();
    Ok(())
}
