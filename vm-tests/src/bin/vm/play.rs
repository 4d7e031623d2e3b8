//! Plays scenarios one after the other, and says how each ended. None is played twice.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use vm_tests::host::{say, speak_as, target, tool};
use vm_tests::image::Programs;
use vm_tests::lab::Lab;
use vm_tests::qemu::InfraStall;
use vm_tests::scenario::{ALL, Scenario};

/// What the build host needs, and the Debian packages that bring it.
const NEEDS: [(&str, &str); 16] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("mmdebstrap", "mmdebstrap"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("sfdisk", "fdisk"),
    ("mke2fs", "e2fsprogs"),
    ("veritysetup", "cryptsetup-bin"),
    ("modprobe", "kmod"),
    ("xz", "xz-utils"),
    ("systemd-sysusers", "systemd"),
    ("setpriv", "util-linux"),
    ("swtpm", "swtpm"),
    ("swtpm_setup", "swtpm-tools"),
    ("sbsign", "sbsigntool"),
    ("openssl", "openssl"),
];
/// Firmware, from the package `ovmf`.
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";

/// Where the counts of the last run are kept.
const COUNTS_FILE: &str = "vm-counts.txt";

/// How a scenario ended.
enum End {
    Passed,
    Failed(String),
    Stalled(String),
}

/// Plays those that are named, or all.
pub(crate) fn run(names: &[String], smoke: bool, jobs: usize, programs: &Programs) -> Result<()> {
    let chosen = choose(names, smoke)?;
    let missing = missing();
    if !missing.is_empty() {
        println!(
            "SKIP {} scenarios: this machine lacks {} (./x vm installs them where it may)",
            chosen.len(),
            missing.join(", ")
        );
        let counts = Counts {
            skipped: chosen.len(),
            ..Counts::default()
        };
        return counts.tell();
    }
    let begin = Instant::now();
    let ends = match jobs {
        0 | 1 => chosen.into_iter().map(|one| told(one, programs)).collect(),
        _ => at_once(chosen, jobs, programs),
    };
    println!("\nall of it in {}", seconds(begin.elapsed()));
    summary(&ends)
}

/// How a scenario ended, and how long it took.
type Told = (&'static Scenario, End, Duration);

/// Plays one and says how it ended.
fn told(scenario: &'static Scenario, programs: &Programs) -> Told {
    println!(
        "\n{:>2}  {}: {}",
        scenario.number, scenario.name, scenario.promise
    );
    let begin = Instant::now();
    let end = play(scenario, programs);
    let took = begin.elapsed();
    say(&match &end {
        End::Passed => format!("passed in {}", seconds(took)),
        End::Failed(why) => format!("FAILED after {}: {why}", seconds(took)),
        End::Stalled(why) => format!("INFRA-STALL after {}: {why}", seconds(took)),
    });
    (scenario, end, took)
}

/// Several machines at once, each on a processor of its own: the longest scenarios begin, so that none is
/// left to run alone at the end. Lines begin with the scenario's name.
fn at_once(mut chosen: Vec<&'static Scenario>, jobs: usize, programs: &Programs) -> Vec<Told> {
    chosen.sort_by_key(|scenario| std::cmp::Reverse(scenario.minutes));
    let left = Mutex::new(chosen.into_iter());
    let ends = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    // Bound here, so that the lock is not held while the scenario is played.
                    let next = locked(&left).next();
                    let Some(scenario) = next else { break };
                    speak_as(scenario.name);
                    let end = told(scenario, programs);
                    locked(&ends).push(end);
                }
            });
        }
    });
    let mut ends = ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    ends.sort_by_key(|(scenario, ..)| scenario.number);
    ends
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Packages that scenarios need and that this machine lacks.
pub(crate) fn missing() -> Vec<&'static str> {
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

fn summary(ends: &[Told]) -> Result<()> {
    println!();
    let mut counts = Counts::default();
    for (scenario, end, took) in ends {
        let word = counts.count(end);
        println!("  {word:<12} {:>8}  {}", seconds(*took), scenario.name);
    }
    counts.tell()?;
    if counts.failed + counts.stalled > 0 {
        bail!("not every promise was kept");
    }
    Ok(())
}

/// How many scenarios ended how.
#[derive(Debug, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    stalled: usize,
    skipped: usize,
}

impl Counts {
    /// Counts one more; gives the word for its end.
    fn count(&mut self, end: &End) -> &'static str {
        let (count, word) = match end {
            End::Passed => (&mut self.passed, "passed"),
            End::Failed(_) => (&mut self.failed, "FAILED"),
            End::Stalled(_) => (&mut self.stalled, "INFRA-STALL"),
        };
        *count += 1;
        word
    }

    /// Prints them, and keeps them for the closing line of CI, where a stalled one has failed.
    fn tell(&self) -> Result<()> {
        let Self {
            passed,
            failed,
            stalled,
            skipped,
        } = self;
        println!("vm: {passed} passed, {failed} failed, {stalled} stalled, {skipped} skipped");
        let line = format!(
            "{passed} passed, {} failed, {skipped} skipped\n",
            failed + stalled
        );
        let file = target().join(COUNTS_FILE);
        std::fs::write(&file, line).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.0} s", took.as_secs_f64())
}
