//! `./x vm demo`: the reference host on a screen. It starts, takes a release, keeps it; takes a bad one, and
//! goes back by itself. Every step is checked as in a scenario, and the run fails where one does not hold.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::Node;

/// Tells the story.
///
/// # Errors
/// Where the machine does not end where it should.
pub fn tell(lab: &mut Lab) -> Result<()> {
    let begin = Instant::now();
    chapter("Three releases of the reference host are built");
    let first = build(lab, Wanted::test("1.0"))?;
    let good = build(lab, Wanted::test("1.1"))?;
    let bad = build(
        lab,
        Wanted::test("1.2").with("twinroot.test.workload=broken"),
    )?;

    chapter("1.0 is on the disk; the machine is switched on");
    say("firmware, systemd-boot, kernel, dm-verity, systemd: what it prints follows");
    let mut node = Node::install(lab, &first)?;
    node.switch_on()?;
    node.on()?.console.echo(true);
    node.wait_boot()?;
    node.follow()?;
    say("the first start is a trial like any other: health decides");
    node.wait_committed("1.0")?;
    show(&mut node, "twinroot status")?;

    chapter("1.1 is published; the node finds it, writes the other slot, proves it, restarts");
    node.publish(&good)?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(&good, "b")?;
    show(&mut node, "twinroot status")?;
    show(&mut node, "dmsetup table root")?;
    show(&mut node, "ls /efi/EFI/Linux")?;

    chapter("1.2 starts, but its workload does not: the machine goes back by itself");
    node.publish(&bad)?;
    node.wait_running(&bad)?;
    say("1.2 runs, on trial");
    node.wait_running(&good)?;
    let status = node.wait_denied("1.2")?;
    ensure!(
        status["booted"]["release"]["version"] == "1.1",
        "1.1 should run again"
    );
    show(&mut node, "twinroot status")?;
    show(&mut node, "twinroot history")?;

    chapter(
        "What the bad release has left is written over; both slots are proven against the signed releases",
    );
    show(&mut node, "twinroot verify || twinroot repair")?;
    node.wait_status("a repaired slot", |status| {
        status["phase"] == "idle" && status["other"]["release"]["version"] == "1.1"
    })?;
    show(&mut node, "twinroot verify")?;
    node.power_off()?;
    node.passed();
    println!("\nall of it in {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

fn build(lab: &Lab, wanted: Wanted) -> Result<Built> {
    let begin = Instant::now();
    let built = lab.build(&wanted)?;
    say(&format!(
        "{}: root hash {} ({:.0} s)",
        built.version,
        built.root_hash,
        begin.elapsed().as_secs_f64()
    ));
    Ok(built)
}

fn chapter(title: &str) {
    println!("\n== {title}");
}

fn say(text: &str) {
    println!("   {text}");
}

/// Runs a command in the guest and shows it with what it says.
fn show(node: &mut Node, script: &str) -> Result<()> {
    println!("   # {script}");
    for line in node.sh(script)?.lines() {
        println!("     {line}");
    }
    Ok(())
}
