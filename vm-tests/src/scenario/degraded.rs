//! Scenario 11: a cause that no release brings and none takes away.

use anyhow::{Result, ensure};

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

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
    let status = node.wait_status("a node that says that it is degraded", |status| {
        status["warnings"].to_string().contains("degraded")
            || status["waits-for"].to_string().contains("degraded")
            || status["phase"] == "blocked"
    })?;
    lab.figure(format!("it says: {}", status["sentence"]));
    let before = node.sh("cat /proc/sys/kernel/random/boot_id")?;
    // It stays up: for longer than any start here takes, nothing restarts it.
    let running = node.on()?;
    let from = running.console.lines().len();
    let restarted = running.wait_line(
        from,
        &["BdsDxe: starting"],
        crate::host::Deadline::seconds(120),
    );
    ensure!(
        restarted.is_err(),
        "it restarted although both slots are unhealthy"
    );
    ensure!(
        node.sh("cat /proc/sys/kernel/random/boot_id")? == before,
        "it restarted although both slots are unhealthy"
    );
    node.passed();
    Ok(())
}
