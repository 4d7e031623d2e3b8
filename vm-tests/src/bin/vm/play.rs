//! Plays scenarios one after the other, and says how each ended. None is played twice.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use vm_tests::host::{target, tool};
use vm_tests::image::Programs;
use vm_tests::lab::Lab;
use vm_tests::qemu::InfraStall;
use vm_tests::scenario::{ALL, Scenario};

/// What the build host needs, and the Debian packages that bring it.
const NEEDS: [(&str, &str); 9] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("mmdebstrap", "mmdebstrap"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("sfdisk", "fdisk"),
    ("mke2fs", "e2fsprogs"),
    ("veritysetup", "cryptsetup-bin"),
    ("setpriv", "util-linux"),
];
/// Firmware, from the package `ovmf`.
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";

/// How a scenario ended.
enum End {
    Passed,
    Failed(String),
    Stalled(String),
}

/// Plays those that are named, or all.
pub(crate) fn run(names: &[String], smoke: bool, programs: &Programs) -> Result<()> {
    let chosen = choose(names, smoke)?;
    let missing = missing();
    if !missing.is_empty() {
        println!(
            "SKIP {} scenarios: this machine lacks {} (./x vm installs them where it may)",
            chosen.len(),
            missing.join(", ")
        );
        println!(
            "vm: 0 passed, 0 failed, 0 stalled, {} skipped",
            chosen.len()
        );
        return Ok(());
    }
    let mut ends = Vec::new();
    for scenario in chosen {
        println!(
            "\n{:>2}  {}: {}",
            scenario.number, scenario.name, scenario.promise
        );
        let begin = Instant::now();
        let end = play(scenario, programs);
        let took = begin.elapsed();
        match &end {
            End::Passed => println!("    passed in {}", seconds(took)),
            End::Failed(why) => println!("    FAILED after {}: {why}", seconds(took)),
            End::Stalled(why) => println!("    INFRA-STALL after {}: {why}", seconds(took)),
        }
        ends.push((scenario, end, took));
    }
    summary(&ends)
}

/// Tells the demonstration's story.
pub(crate) fn demo(programs: &Programs) -> Result<()> {
    let missing = missing();
    if !missing.is_empty() {
        bail!("this machine lacks {}", missing.join(", "));
    }
    let folder = target().join("vm/demo");
    let mut lab = Lab::new(programs, &target().join("vm-cache"), &folder)?;
    vm_tests::demo::tell(&mut lab)
}

fn choose(names: &[String], smoke: bool) -> Result<Vec<&'static Scenario>> {
    for name in names {
        if !ALL.iter().any(|scenario| fits(scenario, name)) {
            bail!("there is no scenario '{name}'; `./x vm list` lists them");
        }
    }
    let wanted = |scenario: &&Scenario| {
        (names.is_empty() || names.iter().any(|name| fits(scenario, name)))
            && (scenario.smoke || !smoke)
    };
    Ok(ALL.iter().filter(wanted).collect())
}

fn fits(scenario: &Scenario, name: &str) -> bool {
    scenario.name == name || scenario.number.to_string() == name
}

fn missing() -> Vec<&'static str> {
    let lacking = NEEDS.iter().filter(|(name, _)| tool(name).is_none());
    let mut missing: Vec<&str> = lacking.map(|(_, package)| *package).collect();
    if !Path::new(FIRMWARE).is_file() {
        missing.push("ovmf");
    }
    missing
}

fn play(scenario: &Scenario, programs: &Programs) -> End {
    let folder = target().join("vm").join(scenario.name);
    let cache = target().join("vm-cache");
    let played = Lab::new(programs, &cache, &folder).and_then(|mut lab| (scenario.play)(&mut lab));
    match played {
        Ok(()) => {
            // Only failures need their evidence; a machine's disk is large.
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                eprintln!("vm: {} stays: {error}", folder.display());
            }
            End::Passed
        }
        Err(error) => {
            let why = format!("{error:#}\n    evidence is in {}", folder.display());
            match error.chain().any(|cause| cause.is::<InfraStall>()) {
                true => End::Stalled(why),
                false => End::Failed(why),
            }
        }
    }
}

fn summary(ends: &[(&Scenario, End, Duration)]) -> Result<()> {
    println!();
    let (mut passed, mut failed, mut stalled) = (0, 0, 0);
    for (scenario, end, took) in ends {
        let word = match end {
            End::Passed => {
                passed += 1;
                "passed"
            }
            End::Failed(_) => {
                failed += 1;
                "FAILED"
            }
            End::Stalled(_) => {
                stalled += 1;
                "INFRA-STALL"
            }
        };
        println!("  {word:<12} {:>8}  {}", seconds(*took), scenario.name);
    }
    println!("vm: {passed} passed, {failed} failed, {stalled} stalled, 0 skipped");
    if failed + stalled > 0 {
        bail!("not every promise was kept");
    }
    Ok(())
}

fn seconds(took: Duration) -> String {
    format!("{:.0} s", took.as_secs_f64())
}
