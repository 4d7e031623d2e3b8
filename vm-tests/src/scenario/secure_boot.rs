//! Scenario 8: with Secure Boot nothing unsigned is taken by the agent, or started by the firmware.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::host::{Deadline, capture};
use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::{BOOT, Node};
use crate::qemu::Disk;

/// Tries of the image that is forced onto the ESP, and how its name looks before any is used.
const FORCED_TRIES: usize = 3;
const FIRST_TRY: &str = "+3.efi";
/// What OVMF says when nothing that it may start is left.
const WAITS: &str = "Press any key to enter the Boot Manager Menu";

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
    let forced = lab.build(&Wanted::test("1.4"))?;
    force(lab, &mut node, &forced)?;
    node.expect_enforced(&good, "b")?;
    node.passed();
    Ok(())
}

/// Somebody with root puts an unsigned image onto the ESP, newer than everything, with tries: the firmware
/// refuses it each time the loader comes to it, and stands there until somebody switches the machine off and
/// on, or a hardware watchdog does. The disk tells that the loader came to it: each time costs a try.
fn force(lab: &mut Lab, node: &mut Node, unsigned: &Built) -> Result<()> {
    let bytes = std::fs::read(&unsigned.uki)?;
    let stem = super::update::entry_stem(&unsigned.version, &bytes);
    // It would take away what no signed release brings.
    node.sh("systemctl stop twinroot-read.socket twinroot-control.socket twinroot-agent.service")?;
    node.put(&format!("/efi/EFI/Linux/{stem}+{FORCED_TRIES}.efi"), &bytes)?;
    node.sh("sync; systemctl --no-block reboot")?;
    let mut standstills = 0;
    while !comes_up(node)? {
        standstills += 1;
        lab.figure(format!(
            "the firmware waits: {}",
            node.on()?.console.tail(3)
        ));
        let entries = node.cut()?.esp_list("EFI/Linux")?;
        lab.figure(format!("entries on the ESP then: {entries:?}"));
        let used = |name: &String| name.starts_with(&stem) && !name.contains(FIRST_TRY);
        ensure!(
            entries.iter().any(used),
            "the loader never came to the unsigned image; entries are {entries:?}"
        );
        ensure!(
            standstills <= FORCED_TRIES,
            "more starts than tries, and 1.3 does not come back; entries are {entries:?}"
        );
        node.switch_on()?;
    }
    ensure!(
        standstills > 0,
        "the firmware never stood still, so the unsigned image was not what it started"
    );
    // A kernel that was started has its command line, and with it the root hash, in the journal.
    let kernels = "journalctl --no-pager _TRANSPORT=kernel";
    node.sh(&format!("{kernels} | grep -q roothash="))?;
    node.sh(&format!("! {kernels} | grep -q {}", unsigned.root_hash))?;
    Ok(())
}

/// Whether the guest answers in a new boot; no where the firmware has nothing left to start and waits for a
/// person instead.
fn comes_up(node: &mut Node) -> Result<bool> {
    let running = node.on()?;
    let from = running.console.lines().len();
    let last = running.boot_id().map(str::to_owned);
    let what = "a boot, or a firmware that waits";
    let up = running.wait(what, Deadline::seconds(BOOT), |machine| {
        let console = &machine.console;
        let ended = console.lines().iter().skip(from);
        let waits = ended
            .map(|line| line.text.clone())
            .chain([console.unfinished()])
            .any(|text| text.contains(WAITS));
        if waits {
            return Ok(Some(false));
        }
        let here = machine.channel.hello()?;
        Ok(here.filter(|id| Some(id) != last.as_ref()).map(|_| true))
    })?;
    if up {
        node.wait_boot()?;
    }
    Ok(up)
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
