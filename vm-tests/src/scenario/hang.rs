//! Scenario 4: a release that hangs.

use anyhow::Result;

use super::early_panic::denial;
use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let good = lab.build(&Wanted::test("1.1"))?;
    let mut node = Node::first_start_on(lab, &good, |spec| spec.watchdog = true)?;
    let device = node.sh("cat /sys/class/watchdog/watchdog0/identity")?;
    lab.figure(format!("watchdog of the machine: {}", device.trim()));
    for (version, fault) in [("1.2", "hang"), ("1.3", "spin")] {
        let wanted = Wanted::test(version).with(&format!("twinroot.test.fault={fault}"));
        let bad = lab.build(&wanted)?;
        node.publish(&bad)?;
        node.wait_running(&good)?;
        node.expect_enforced(&good, "a")?;
        let status = node.wait_denied(version)?;
        let reason = denial(&status, version);
        lab.figure(format!("{version} ({fault}) is denied, because: {reason}"));
    }
    node.passed();
    Ok(())
}
