//! Scenario 7: an ESP on which an update cannot be done is refused with the reason, and no harm.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::update::entry_stem;
use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::Node;

/// Something that is wrong with an ESP.
struct Trouble {
    what: &'static str,
    /// Codes of a reason or a failure that name it; any other is about something else, or about the trouble before.
    codes: &'static [&'static str],
    comes_about: &'static str,
    put_right: &'static str,
}

const TROUBLES: [Trouble; 2] = [
    Trouble {
        what: "full",
        codes: &["space-short", "esp-full"],
        comes_about: "cat /dev/zero >/efi/filler 2>/dev/null || sync",
        put_right: "rm /efi/filler && sync",
    },
    Trouble {
        what: "read-only",
        codes: &["esp-read-only"],
        comes_about: "mount -o remount,ro /efi",
        put_right: "mount -o remount,rw /efi",
    },
];

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let (mut node, old) = Node::started(lab, "1.0")?;
    // Files of somebody else, and of an update that was cut off, must not stand in the way.
    node.sh("echo other >/efi/EFI/Linux/other.conf\n\
             head -c 100000 /dev/zero >/efi/EFI/Linux/twinroot_0.9_0123456789abcdef+3.efi.new\n\
             sync")?;
    let new = lab.build(&Wanted::test("1.1"))?;
    node.publisher.release(&new, "5s")?;
    for trouble in TROUBLES {
        let what = trouble.what;
        node.sh(&format!("ls /efi/EFI >/dev/null; {}", trouble.comes_about))?;
        node.look_now()?;
        let status = node.wait_status(&format!("refusal while the ESP is {what}"), |status| {
            refusal(status, trouble.codes).is_some()
        })?;
        let refusal = refusal(&status, trouble.codes).context("it was there just now")?;
        lab.figure(format!("ESP {what}: {refusal}"));
        ensure!(
            refusal["remedy"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "the refusal has no remedy: {refusal}"
        );
        node.expect_enforced(&old, "a")?;
        node.sh(trouble.put_right)?;
    }
    lose_clusters(&mut node, &new)?;
    node.look_now()?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&new, "b")?;
    // Else nothing was in the way.
    node.sh("journalctl -q -b -1 -k | grep -q 'FAT-fs.*deleting FAT entry beyond EOF'")?;
    let disk = node.power_off()?;
    ensure!(
        disk.esp_read("EFI/Linux/other.conf")? == b"other\n",
        "somebody else's file on the ESP has changed"
    );
    node.passed();
    Ok(())
}

/// The name that arming will use is there already, and its cluster is not: what a power cut leaves that keeps the
/// folder's sector and loses the allocation table's. Made by putting the table back as it was before the file.
fn lose_clusters(node: &mut Node, new: &Built) -> Result<()> {
    let stem = entry_stem(&new.version, &std::fs::read(&new.uki)?);
    // Of the boot sector: sectors before the tables, and of each table (FAT32, fatgen103 section 3).
    node.sh(&format!(
        "set -e
         systemctl stop twinroot-agent.service efi.mount
         before=$(($(od -An -tu2 -j14 -N2 /dev/vda1))) size=$(($(od -An -tu4 -j36 -N4 /dev/vda1)))
         dd if=/dev/vda1 of=/tmp/tables skip=$before count=$((2 * size)) status=none
         head -c 512 /dev/zero >/efi/EFI/Linux/{stem}+3.efi
         sync
         systemctl stop efi.mount
         dd if=/tmp/tables of=/dev/vda1 seek=$before conv=fsync status=none"
    ))
    .map(drop)
}

/// What names the trouble by one of its codes: a reason to wait, found before a byte is fetched, or a failure on
/// the way.
fn refusal(status: &Value, codes: &[&str]) -> Option<Value> {
    let names_it = |said: &&Value| {
        said["code"]
            .as_str()
            .is_some_and(|code| codes.contains(&code))
    };
    let reasons = status["waits-for"].as_array().into_iter().flatten();
    let said = reasons.chain([&status["last-failure"]]);
    said.into_iter().find(names_it).cloned()
}
