//! Scenario 13: the host does what it is for, before an update and after it.

use anyhow::{Result, ensure};

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;
use crate::oci;

const IMAGE: &str = "local/hello:1";

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let old = lab.build(&Wanted::shipped("1.0"))?;
    let new = lab.build(&Wanted::shipped("1.1"))?;
    let image = std::fs::read(oci::image(lab.folder(), IMAGE)?)?;
    // A container, its shim and an update at once.
    let mut node = Node::first_start_on(lab, &old, |spec| spec.memory = 1024)?;
    node.put("/var/lib/hello.tar", &image)?;
    node.sh("systemctl start containerd.service && ctr images import /var/lib/hello.tar")?;
    run(&mut node, "before")?;
    node.publish(&new)?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    // The image is still there: it lies on the state partition.
    node.sh("systemctl start containerd.service")?;
    run(&mut node, "after")?;
    node.passed();
    Ok(())
}

fn run(node: &mut Node, name: &str) -> Result<()> {
    let said = node.sh(&format!("ctr run --rm {IMAGE} {name}"))?;
    ensure!(said.trim() == oci::SAYS, "the container said {said:?}");
    Ok(())
}
