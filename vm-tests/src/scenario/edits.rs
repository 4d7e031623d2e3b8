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
    lab.figure(format!("local differences: {}", drift(&mut node)?));

    node.publish(&new)?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    expect(&mut node, "new")?;
    drift(&mut node)?;
    ensure!(
        node.sh("cat /etc/machine-id")? == machine_id,
        "the machine's id has changed with the update"
    );
    // Brought by the release: a user, and a unit that runs as this user.
    node.sh("getent passwd twinroot-test && systemctl is-active twinroot-test-added.service")?;

    node.go_back("a scenario goes back")?;
    node.wait_boot()?;
    node.wait_status("1.0 at rest", |status| {
        status["booted"]["release"]["version"] == "1.0" && status["phase"] == "idle"
    })?;
    node.expect_enforced(&old, "a")?;
    expect(&mut node, "old")?;
    node.passed();
    Ok(())
}

/// `verify --drift` lists what the person has changed and added, and no default of the image.
fn drift(node: &mut Node) -> Result<String> {
    let report = node.json(&["verify", "--drift"])?;
    let listed = report["differences"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let change = |path: &str| {
        let found = listed.iter().find(|one| one["path"] == path);
        found.map(|one| one["change"].as_str().unwrap_or_default().to_owned())
    };
    for (path, wanted) in [
        ("/etc/passwd", Some("changed")),
        ("/etc/twinroot-test-edited.conf", Some("changed")),
        (
            "/etc/systemd/system/twinroot-test-report.service.d/10-node.conf",
            Some("added"),
        ),
        ("/etc/twinroot-test-untouched.conf", None),
        ("/etc/ssl/openssl.cnf", None),
    ] {
        ensure!(
            change(path).as_deref() == wanted,
            "`verify --drift` does not say '{wanted:?}' of {path}: {report}"
        );
    }
    let line = |one: &serde_json::Value| {
        let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", word("path"), word("change"))
    };
    Ok(listed.iter().map(line).collect::<Vec<_>>().join(", "))
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
