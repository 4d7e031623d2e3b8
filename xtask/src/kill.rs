//! `./x kill-test`: `kill -9` of `twinroot apply` at random moments, many times in a row on one machine.
//!
//! Promise: whatever moment it is, the machine comes up, the update ends in the new release, and what was
//! proven on disk is not fetched again. Each killed run may cost at most what its workers held: the server
//! sends at most the payload and, for each kill, one largest segment for each worker.
//!
//! By default one machine goes through many small seeded releases. With `--way` it goes from the real `old`
//! to the real `new`, by delta or by reuse, as often as the kills need (see [`real`]).

pub mod real;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::node::Node;
use crate::bench::publisher::{Publisher, Release, Server};
use crate::bench::reference::size_of;
use crate::programs::{Profile, Programs};
use crate::run;

/// Workers of a node where its configuration does not say otherwise.
const WORKERS: u64 = 2;
/// The largest coded segment: 4 MiB of blocks, stored plain where compression does not win. The images
/// here cannot be compressed, so this is what a segment costs.
const SEGMENT: u64 = 4 << 20;
/// Every so many kills the machine is restarted as well, as if the power had gone with the process.
const RESTART_EVERY: u32 = 5;

/// Options of `./x kill-test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many kills
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Seed of the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Size of each image in MiB
    #[arg(long, default_value_t = 24)]
    mebibytes: u64,
    /// Take the programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// From the real `old` to the real `new` in this way, instead of through seeded releases
    #[arg(long, value_enum, requires = "images")]
    way: Option<real::Way>,
    /// Where old.erofs and new.erofs are; `images/make.sh old new` makes them
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
}

impl Args {
    /// As the test runs it: the full number of kills on a smaller image, with the programs in a folder.
    #[must_use]
    pub fn for_tests(programs: PathBuf) -> Self {
        Self {
            kills: 100,
            seed: 1,
            mebibytes: 12,
            programs: Some(programs),
            way: None,
            images: None,
        }
    }
}

/// What happened in all.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Processes killed while they ran.
    pub kills: u32,
    /// Updates that ended in the new release.
    pub updates: u32,
    /// Restarts of the machine right after a kill.
    pub restarts: u32,
    /// Payload bytes that the server sent in all.
    pub sent: u64,
    /// Payload bytes of the releases in all.
    pub payload: u64,
}

/// Runs the kills and prints the figures. The machine of a run that failed is left for a person to look at.
pub fn run(args: &Args) -> Result<()> {
    // A folder of its own: the test set plays it too, perhaps at the same time.
    let folder = tempfile::TempDir::with_prefix_in("kill-", run::target_dir())
        .context("cannot make a folder for the machine")?;
    let done = kills(args, folder.path());
    if done.is_ok() {
        return folder
            .close()
            .context("cannot clear the folder of this run");
    }
    let left = folder.keep();
    done.with_context(|| format!("the machine is left in {}", left.display()))
}

fn kills(args: &Args, folder: &Path) -> Result<()> {
    if let (Some(way), Some(images)) = (args.way, &args.images) {
        return real::run(args, way, images, folder);
    }
    let outcome = Test::new(args, folder)?.run(args)?;
    println!(
        "{} kills in {} updates, {} restarts; all ended in the new release; sent {} bytes for payloads of {} bytes",
        outcome.kills, outcome.updates, outcome.restarts, outcome.sent, outcome.payload
    );
    Ok(())
}

struct Test {
    programs: Programs,
    folder: PathBuf,
    publisher: Publisher,
    server: Server,
    node: Node,
    bytes: u64,
    random: Random,
    /// How long an update takes that nobody kills.
    whole: Duration,
    outcome: Outcome,
}

impl Test {
    fn new(args: &Args, folder: &Path) -> Result<Self> {
        let programs = Programs::get(args.programs.as_deref(), Profile::Dev)?;
        let publisher = Publisher::new(&programs, folder)?;
        let bytes = args.mebibytes << 20;
        let first = publish(&programs, &publisher, folder, 0, bytes)?;
        let server = publisher.serve()?;
        let node = Node::install(
            &programs,
            &folder.join("machine"),
            &publisher,
            &first,
            &server,
        )?;
        let (random, outcome) = (Random(args.seed), Outcome::default());
        let folder = folder.to_owned();
        let mut test = Self {
            programs,
            folder,
            publisher,
            server,
            node,
            bytes,
            random,
            whole: Duration::ZERO,
            outcome,
        };
        // One update in peace says how long one takes, and so where the kills may fall.
        let release = test.publish(1)?;
        test.whole = test.node.apply()?.wall;
        test.finish(&release)?;
        Ok(test)
    }

    fn run(mut self, args: &Args) -> Result<Outcome> {
        println!(
            "an update in peace takes {}; kills fall anywhere in it",
            run::seconds(self.whole)
        );
        for number in 2.. {
            if self.outcome.kills >= args.kills {
                break;
            }
            let release = self.publish(number)?;
            self.update(&release, args.kills).with_context(|| {
                format!("after {} kills, seed {}", self.outcome.kills, args.seed)
            })?;
        }
        Ok(self.outcome)
    }

    /// Updates to `release`, killed at random moments, until it has gone through.
    fn update(&mut self, release: &Release, most: u32) -> Result<()> {
        let (before, _) = self.node.running()?;
        self.server.sent()?;
        let mut kills = 0;
        loop {
            let moment = (self.outcome.kills < most).then(|| self.random.moment(self.whole));
            if !self.killed(moment)? {
                break;
            }
            self.outcome.kills += 1;
            kills += 1;
            if self.outcome.kills.is_multiple_of(RESTART_EVERY) && self.restart(&before, release)? {
                break;
            }
        }
        let sent = self.server.sent()?.payload;
        let payload = release.payload_bytes + size_of(&release.uki)?;
        let most = payload + kills * WORKERS * SEGMENT;
        ensure!(
            sent <= most,
            "{} kills: the server sent {sent} bytes, at most {most} are right",
            kills
        );
        self.outcome.sent += sent;
        self.outcome.payload += payload;
        self.finish(release)
    }

    fn killed(&self, moment: Option<Duration>) -> Result<bool> {
        killed(&self.node, moment)
    }

    /// Restarts the machine after a kill: either release may come up, and nothing else. True when the
    /// new one did, which the agent then judges.
    fn restart(&mut self, before: &str, release: &Release) -> Result<bool> {
        self.outcome.restarts += 1;
        let booted = self.node.boot()?;
        if booted == release.version {
            return Ok(true);
        }
        ensure!(
            booted == before,
            "{booted} came up, neither {before} nor {}",
            release.version
        );
        self.node.settle().map(|()| false)
    }

    /// Restarts into the release, lets it be committed, and proves it.
    fn finish(&mut self, release: &Release) -> Result<()> {
        self.node.boot_into(&release.version)?;
        self.node.settle()?;
        let (version, idle) = self.node.running()?;
        ensure!(
            idle && version == release.version,
            "{version} runs, idle: {idle}; expected {}",
            release.version
        );
        // Both slots hold signed releases from the second update on, and `verify` fails where one does not.
        if self.outcome.updates > 0 {
            run::capture(&mut self.node.command(&["verify"]))?;
        }
        self.outcome.updates += 1;
        Ok(())
    }

    fn publish(&self, number: u64) -> Result<Release> {
        publish(
            &self.programs,
            &self.publisher,
            &self.folder,
            number,
            self.bytes,
        )
    }
}

fn publish(
    programs: &Programs,
    publisher: &Publisher,
    folder: &Path,
    number: u64,
    bytes: u64,
) -> Result<Release> {
    let image = folder.join(format!("{number}.img"));
    let mut seeded = programs.lab();
    seeded.args([
        "seeded",
        "--size",
        &bytes.to_string(),
        "--release",
        &number.to_string(),
    ]);
    run::capture(seeded.arg("--out").arg(&image))?;
    // Level 1: the bytes cannot be compressed, and nobody waits for the attempt.
    publisher.publish(&format!("1.{number}"), &image, 1)
}

/// Runs `apply`, and kills it when `moment` has passed; false when it ended by itself, and well.
fn killed(node: &Node, moment: Option<Duration>) -> Result<bool> {
    let mut command = node.command(&["apply"]);
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start twinroot")?;
    if let Some(moment) = moment
        && !ended_within(&mut child, moment)?
    {
        child.kill().context("cannot kill twinroot")?;
        child.wait().context("cannot wait for twinroot")?;
        return Ok(true);
    }
    let status = child.wait().context("cannot wait for twinroot")?;
    ensure!(
        status.success(),
        "`twinroot apply` failed ({status}) after a kill"
    );
    Ok(false)
}

/// True when the child has ended by itself before the moment.
fn ended_within(child: &mut Child, moment: Duration) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < moment {
        if child
            .try_wait()
            .context("cannot wait for twinroot")?
            .is_some()
        {
            return Ok(true);
        }
        std::thread::park_timeout(
            Duration::from_micros(500).min(moment.saturating_sub(start.elapsed())),
        );
    }
    if child
        .try_wait()
        .context("cannot wait for twinroot")?
        .is_some()
    {
        return Ok(true);
    }
    Ok(false)
}

/// SplitMix64: seeded moments, so that a failure can be repeated as closely as time allows.
struct Random(u64);

impl Random {
    /// Anywhere in the whole, but crowded towards its start, so that one update takes several kills
    /// before it goes through: what was done is not done again, so each run is shorter than the last.
    fn moment(&mut self, whole: Duration) -> Duration {
        let end = self.below(whole);
        self.below(end)
    }

    fn below(&mut self, whole: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        // Whole microseconds keep the arithmetic in integers.
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(value % micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_fall_everywhere_and_repeat_with_the_seed() {
        let moments = |seed| -> Vec<Duration> {
            let mut random = Random(seed);
            (0..1000)
                .map(|_| random.moment(Duration::from_millis(100)))
                .collect()
        };
        assert_eq!(moments(1), moments(1));
        let between = |from, to| {
            let range = Duration::from_millis(from)..Duration::from_millis(to);
            moments(1)
                .iter()
                .filter(|moment| range.contains(moment))
                .count()
        };
        assert!(between(0, 50) > 500 && between(50, 100) > 50 && between(80, 100) > 5);
    }

    #[test]
    fn a_child_that_ends_by_itself_is_not_killed() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert!(ended_within(&mut child, Duration::from_secs(20)).unwrap());
        let mut child = std::process::Command::new("sleep")
            .arg("20")
            .spawn()
            .unwrap();
        assert!(!ended_within(&mut child, Duration::from_millis(5)).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
