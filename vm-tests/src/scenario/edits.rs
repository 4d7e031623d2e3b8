//! Scenario 12: what a person has changed on a node, and what a release changes, both count.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::image::Wanted;
use crate::lab::Lab;
use crate::node::Node;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let with = |version: &str, name: &str| {
        let mut wanted = Wanted::test(version);
        let overlays = Path::new(env!("CARGO_MANIFEST_DIR")).join("overlays");
        wanted.overlay = Some(overlays.join(name));
        wanted
    };
    let old = lab.build(&with("1.0", "edits-old"))?;
    let new = lab.build(&with("1.1", "edits-new"))?;
    let mut node = Node::first_start(lab, &old)?;
    let machine_id = node.sh("cat /etc/machine-id")?;
    edit(&mut node)?;
    expect(&mut node, "old")?;

    node.publish(&new)?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    expect(&mut node, "new")?;
    ensure!(
        node.sh("cat /etc/machine-id")? == machine_id,
        "the machine's id has changed with the update"
    );
    // Brought by the release: a user, and a unit that runs as this user.
    node.sh("getent passwd twinroot-test && systemctl is-active twinroot-test-added.service")?;

    // The agent holds the lock as long as it runs, and its sockets would start it again.
    node.sh(
        "systemctl stop twinroot-agent.service twinroot-read.socket twinroot-control.socket\n\
             twinroot rollback --reason 'a scenario goes back' --no-reboot\n\
             systemctl --no-block reboot",
    )?;
    node.wait_boot()?;
    node.wait_status("1.0 at rest", |status| {
        status["booted"]["release"]["version"] == "1.0" && status["phase"] == "idle"
    })?;
    node.expect_enforced(&old, "a")?;
    expect(&mut node, "old")?;
    node.passed();
    Ok(())
}

/// A person adds a user, edits a file that the image has, overrides a unit, and leaves data.
fn edit(node: &mut Node) -> Result<()> {
    node.sh(
        "echo 'local:x:1500:1500:a person:/var/lib/local:/bin/sh' >>/etc/passwd\n\
             echo 'node=edited' >>/etc/twinroot-test-edited.conf\n\
             mkdir -p /etc/systemd/system/twinroot-test-report.service.d /var/lib/local\n\
             printf '[Service]\\nEnvironment=NODE=edited\\n' \
             >/etc/systemd/system/twinroot-test-report.service.d/10-node.conf\n\
             echo data >/var/lib/local/data\n\
             systemctl daemon-reload",
    )
    .map(drop)
}

/// The person's edits hold, and so do the defaults of the release that runs, where nobody edited them.
fn expect(node: &mut Node, release: &str) -> Result<()> {
    let said = node.sh("getent passwd local | cut -d: -f5\n\
                        grep node= /etc/twinroot-test-edited.conf\n\
                        cat /var/lib/local/data\n\
                        cat /etc/twinroot-test-untouched.conf\n\
                        systemctl show -P Environment twinroot-test-report.service")?;
    let wanted =
        format!("a person\nnode=edited\ndata\nrelease={release}\nRELEASE={release} NODE=edited\n");
    // systemd prints the settings of a drop-in behind those that it replaces.
    let said = said.replace("NODE=default ", "");
    ensure!(
        said == wanted,
        "edits or defaults do not take effect: {said:?}, not {wanted:?}"
    );
    Ok(())
}
