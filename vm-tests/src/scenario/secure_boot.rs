//! Scenario 8: with Secure Boot nothing unsigned is taken by the agent, or started by the firmware.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::host::{Deadline, capture};
use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::{BOOT, Node};
use crate::qemu::Disk;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let keys = own_keys(lab)?;
    let own = (keys.join("db.key"), keys.join("db.pem"));
    let foreign = foreign_key(lab)?;
    let first = sign(lab, "1.0", Some(&own))?;
    let unsigned = sign(lab, "1.1", None)?;
    let strange = sign(lab, "1.2", Some(&foreign))?;
    let good = sign(lab, "1.3", Some(&own))?;

    // No keys are in the firmware: the loader enrols ours at the first start, and restarts.
    let enrol = format!("{}", keys.display());
    let disk = lab.disk_with(&first, &["--enrol", &enrol])?;
    let mut node = Node::first_start_on(lab, &first, |spec| spec.disk = Disk::Over(disk))?;
    node.sh("test \"$(tail -c 1 /sys/firmware/efi/efivars/SecureBoot-* | od -An -tu1)\" -eq 1")?;
    for (release, code) in [
        (&unsigned, "uki-unsigned"),
        (&strange, "uki-signer-unknown"),
    ] {
        // What is staged lies there too, under a name that no loader takes for an entry.
        let entries = node.sh("ls /efi/EFI/Linux/*.efi")?;
        node.publish(release)?;
        let status = node.wait_status(&format!("{code} for {}", release.version), |status| {
            status["last-failure"]["code"] == code
        })?;
        lab.figure(format!("{}: {}", release.version, status["last-failure"]));
        ensure!(
            node.sh("ls /efi/EFI/Linux/*.efi")? == entries,
            "boot entries have changed although {} was refused",
            release.version
        );
    }
    node.publish(&good)?;
    node.wait_boot()?;
    node.wait_committed("1.3")?;
    node.expect_enforced(&good, "b")?;
    force(&mut node, &unsigned)?;
    node.wait_running(&good)?;
    node.expect_enforced(&good, "b")?;
    node.passed();
    Ok(())
}

/// Somebody with root puts an unsigned image onto the ESP: the firmware refuses it, and stands there until
/// it is reset, which a hardware watchdog would do.
fn force(node: &mut Node, unsigned: &Built) -> Result<()> {
    let bytes = std::fs::read(&unsigned.uki)?;
    // It would take away what is not what its name says.
    node.sh("systemctl stop twinroot-read.socket twinroot-control.socket twinroot-agent.service")?;
    node.put("/efi/EFI/Linux/twinroot_9.9_0000000000000000+1.efi", &bytes)?;
    node.sh("sync; systemctl --no-block reboot")?;
    let running = node.on()?;
    let from = running.console.lines().len();
    let refused = [
        "Access denied",
        "Access Denied",
        "Security Violation",
        "Security violation",
    ];
    running.wait_line(from, &refused, Deadline::seconds(BOOT))?;
    running.reset()
}

/// A built image, signed with this key in a folder of its own.
fn sign(lab: &Lab, version: &str, key: Option<&(PathBuf, PathBuf)>) -> Result<Built> {
    let mut built = lab.build(&Wanted::test(version))?;
    let Some((key, certificate)) = key else {
        return Ok(built);
    };
    let folder = lab.folder().join(format!("signed-{version}"));
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(&built.folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|kind| kind != "raw") {
            capture(Command::new("cp").arg("-r").arg(&path).arg(&folder))?;
        }
    }
    let mut sign = Command::new(lab.image_program());
    sign.args(["--quiet", "sign"]).arg(&folder);
    capture(sign.arg("--key").arg(key).arg("--cert").arg(certificate))?;
    built.root = folder.join("root.img");
    built.tree = folder.join("root.verity");
    built.uki = folder.join("uki.efi");
    built.folder = folder;
    Ok(built)
}

/// Platform, exchange and signature key of this machine, as a publisher makes them.
fn own_keys(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.folder().join("keys");
    let mut make = Command::new(lab.image_program());
    make.args(["--quiet", "keys"]).arg(&folder);
    capture(&mut make)?;
    Ok(folder)
}

/// A key that no firmware knows.
fn foreign_key(lab: &Lab) -> Result<(PathBuf, PathBuf)> {
    let (key, certificate) = (
        lab.folder().join("foreign.key"),
        lab.folder().join("foreign.pem"),
    );
    let mut make = Command::new("openssl");
    make.args([
        "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
    ]);
    make.args(["-subj", "/CN=somebody else/", "-keyout"])
        .arg(&key);
    capture(make.arg("-out").arg(&certificate))?;
    Ok((key, certificate))
}
