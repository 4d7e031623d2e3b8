//! Scenario 5: power cuts that lose what no flush has covered.
//!
//! One machine lives through two updates with their commits, a rollback by a person and a shutdown, with every
//! write and flush of its disk recorded. Offline, the disk is put into the state after each request, and after
//! each group of requests between two flushes with a random part of them lost; the judges look at each
//! ([`crate::judge`]). Some states are really booted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::host::{capture, say};
use crate::image::{Built, Wanted};
use crate::judge::Judge;
use crate::lab::Lab;
use crate::node::{Node, is_kept};
use crate::offline::RawDisk;
use crate::publisher::Publisher;
use crate::qemu::{Disk, Machine, Spec};
use crate::replay::{Dice, Log, Undo};

/// States with losses that are tried in each group of requests. Groups number some hundreds; four each
/// keep the whole replay within minutes.
const LOSSES: u64 = 4;
/// Of the groups that touch the state partition alone, every so many are judged: its judges replay a journal
/// and read a whole file system.
const STATE_GROUPS: usize = 8;
/// States that are really booted, and of how many each time one goes on to a further release.
const BOOTS: usize = 12;
const GO_ON: usize = 4;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let seed = seed()?;
    say(&format!("seed {seed} (TWINROOT_VM_SEED repeats it)"));
    let releases = [
        lab.build(&Wanted::test("1.0"))?,
        lab.build(&Wanted::test("1.1"))?,
        lab.build(&Wanted::test("1.2"))?,
    ];
    // Never on the recorded disk: every state must be able to take it.
    let last = lab.build(&Wanted::test("1.3"))?;
    let (base, mut node) = recorded(lab, &releases)?;
    let log = Log::open(&node.machine.log_file())?;
    let mut replay = Replay::new(lab.folder(), &base, &log, &releases, seed)?;
    replay.run()?;
    lab.figure(replay.summary());
    // The node's own repository goes on and offers what is new, at another address than the one in the node's
    // settings: only a state that is told so hears of it.
    node.publisher.release(&last, "5s")?;
    let publisher = node.publisher.clone();
    node.passed();
    drop(node);
    converge(lab, &mut replay, &publisher, &releases)
}

/// A seed from the environment, else from the clock: printed, so that a failure can be had again.
fn seed() -> Result<u64> {
    match std::env::var("TWINROOT_VM_SEED") {
        Ok(text) => text.parse().context("TWINROOT_VM_SEED is no number"),
        Err(_) => Ok(std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs()),
    }
}

/// Lives through everything with the disk recorded; gives the disk before the first of them.
fn recorded(lab: &Lab, releases: &[Built; 3]) -> Result<(PathBuf, Node)> {
    let [first, second, third] = releases;
    let mut node = Node::first_start(lab, first)?;
    let offline = node.power_off()?;
    let base = lab.folder().join("base.raw");
    std::fs::rename(offline.path(), &base)?;
    let mut spec = node.machine.spec().clone();
    spec.folder = lab.folder().join("recorded");
    spec.disk = Disk::Recorded(base.clone());
    node.machine = Machine::make(spec)?;
    node.power_on()?;
    node.follow()?;
    node.wait_committed("1.0")?;
    for (release, slot) in [(second, "b"), (third, "a")] {
        node.publish(release)?;
        node.wait_boot()?;
        node.wait_committed(&release.version)?;
        node.expect_enforced(release, slot)?;
    }
    node.go_back("a scenario goes back")?;
    node.wait_boot()?;
    node.wait_committed("1.1")?;
    node.expect_enforced(second, "b")?;
    // In good order: the shutdown is recorded too, and QEMU says in the log how long it is.
    drop(node.power_off()?);
    Ok((base, node))
}

/// Some states are really booted, and each must come up by itself and come to rest on a release that was there. Their
/// firmware has its variables from the factory, as if the cut had taken them too: what the node relies on lies on disk.
/// Some of these then take the release that was never on the disk, committed and proven.
fn converge(
    lab: &mut Lab,
    replay: &mut Replay<'_>,
    publisher: &Publisher,
    releases: &[Built; 3],
) -> Result<()> {
    let boots = match std::env::var("TWINROOT_VM_BOOTS") {
        Ok(text) => text.parse().context("TWINROOT_VM_BOOTS is no number")?,
        Err(_) => BOOTS,
    };
    let mut rests = Vec::new();
    for number in 0..boots {
        let (disk, what) = replay.pick(number, boots)?;
        say(&format!("state {} of {boots}: {what}", number + 1));
        let folder = lab.folder().join(format!("state-{number}"));
        let machine = Machine::make(Spec::plain(&folder, &disk))?;
        let mut node = Node::of(machine, publisher.clone())?;
        node.power_on()?;
        let rest = comes_to_rest(&mut node, releases)?;
        if number % GO_ON == GO_ON - 1 {
            node.follow()?;
            node.wait_committed("1.3")?;
            let proof = node.json(&["verify"])?;
            ensure!(proof["all-good"] == true, "`twinroot verify` says {proof}");
            say("and takes 1.3, proven");
        }
        rests.push(rest);
        node.passed();
        drop(node);
        std::fs::remove_dir_all(&folder)?;
    }
    lab.figure(format!(
        "{boots} states were booted and came to rest on {}; of these {} took 1.3, proven",
        rests.join(", "),
        boots / GO_ON
    ));
    Ok(())
}

/// With nobody to ask (the repository of its settings is gone), the node ends on one of the releases, committed;
/// gives its version.
fn comes_to_rest(node: &mut Node, releases: &[Built; 3]) -> Result<String> {
    node.wait_status("a node at rest", |status| {
        is_kept(status) || waits_for_a_look(status)
    })?;
    let runs = node.enforced()?;
    ensure!(
        releases
            .iter()
            .any(|known| known.root_hash == runs.root_hash),
        "it came to rest on something unknown: {runs:?}"
    );
    say(&format!("at rest on {}", runs.version));
    Ok(runs.version)
}

/// A blessed release runs, and the restart into what is armed beside it waits for a last look at the repository.
fn waits_for_a_look(status: &Value) -> bool {
    let booted = &status["booted"];
    let ready = status["phase"] == "staged" || status["phase"] == "activated";
    let blessed = booted["entry"].is_string() && booted["tries"].is_null();
    ready && blessed && booted["denied"] != true && status["waits-for"][0]["code"] == "offline"
}

struct Replay<'a> {
    folder: PathBuf,
    base: PathBuf,
    disk: File,
    log: &'a Log,
    judge: Judge,
    dice: Dice,
    lost: u64,
}

impl<'a> Replay<'a> {
    fn new(
        folder: &Path,
        base: &Path,
        log: &'a Log,
        releases: &[Built],
        seed: u64,
    ) -> Result<Self> {
        let path = folder.join("replay.raw");
        copy(base, &path)?;
        Ok(Self {
            folder: folder.to_owned(),
            base: base.to_owned(),
            disk: File::options().read(true).write(true).open(&path)?,
            judge: Judge::new(folder, RawDisk::open(&path)?, releases)?,
            log,
            dice: Dice::new(seed),
            lost: 0,
        })
    }

    /// Judges every state: after each request, and with losses in each group.
    fn run(&mut self) -> Result<()> {
        self.judge.boot_path("before the first request")?;
        self.judge.state("before the first request")?;
        let mut state_groups = 0;
        for epoch in self.log.epochs() {
            let entries = &self.log.entries()[epoch.clone()];
            let boot_path = entries.iter().any(|entry| self.judge.is_boot_path(entry));
            let state = entries.iter().any(|entry| self.judge.is_state(entry));
            state_groups += usize::from(state);
            let state = state && state_groups % STATE_GROUPS == 1;
            for loss in 0..if boot_path || state { LOSSES } else { 0 } {
                let undo = self.lossy(epoch.clone())?;
                let when = format!("requests {epoch:?}, loss {loss}");
                if boot_path {
                    self.judge.boot_path(&when)?;
                }
                if state && loss == 0 {
                    self.judge.state(&when)?;
                }
                self.lost += 1;
                for undo in undo.iter().rev() {
                    undo.undo(&self.disk)?;
                }
                self.judge.forget_all();
            }
            for at in epoch {
                let entry = self.log.entries()[at];
                self.judge.forget(&entry);
                self.log.apply(&entry, &self.disk)?;
                if self.judge.is_boot_path(&entry) {
                    self.judge.boot_path(&format!("after request {at}"))?;
                }
            }
        }
        self.judge.state("after the last request")
    }

    /// Applies a random part of a group: each write whole, lost, or (the last of them) torn after some
    /// sectors. What is on the medium by its own word is never lost. Where two overlap, the later one of
    /// those that are kept counts, as in every order that a disk may choose for writes to different places.
    fn lossy(&mut self, epoch: std::ops::Range<usize>) -> Result<Vec<Undo>> {
        let mut undo = Vec::new();
        for entry in &self.log.entries()[epoch] {
            if !entry.writes() || (!entry.durable && self.dice.below(2) == 0) {
                continue;
            }
            let sectors = entry.length / 512;
            let torn = !entry.durable && sectors > 1 && self.dice.below(4) == 0;
            let entry = match torn {
                true => entry.first(512 * (1 + self.dice.below(sectors - 1))),
                false => *entry,
            };
            self.judge.forget(&entry);
            undo.push(self.log.apply(&entry, &self.disk)?);
        }
        Ok(undo)
    }

    fn summary(&self) -> String {
        format!(
            "{} requests in {} groups, {} states with losses; {}",
            self.log.entries().len(),
            self.log.epochs().len(),
            self.lost,
            self.judge.summary()
        )
    }

    /// The disk at one of `count` moments spread over the log, with losses in the group that was cut.
    fn pick(&mut self, number: usize, count: usize) -> Result<(PathBuf, String)> {
        let epochs = self.log.epochs();
        // One moment in each of `count` equal parts of the log.
        let part = epochs.len() / count.max(1);
        let inside = self.dice.below(part.max(1) as u64);
        let cut = (number * part + usize::try_from(inside)?).min(epochs.len() - 1);
        let path = self.folder.join("picked.raw");
        copy(&self.base, &path)?;
        self.disk = File::options().read(true).write(true).open(&path)?;
        for epoch in &epochs[..cut] {
            for entry in &self.log.entries()[epoch.clone()] {
                self.log.apply(entry, &self.disk)?;
            }
        }
        self.lossy(epochs[cut].clone())?;
        Ok((path, format!("cut in group {cut} of {}", epochs.len())))
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    capture(Command::new("cp").arg("--sparse=always").arg(from).arg(to)).map(drop)
}
