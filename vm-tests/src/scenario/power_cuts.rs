//! Scenario 5: power cuts that lose what no flush has covered.
//!
//! One machine lives through an update, its commit and a second update, with every write and flush of its
//! disk recorded. Offline, the disk is put into the state after each request, and after each group of
//! requests between two flushes with a random part of them lost. In every state tools that are not ours read
//! the ESP, and a known-good entry must be whole: the boot image that was signed, over a slot that holds
//! what was signed.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::host::{capture, tool};
use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::node::Node;
use crate::offline::RawDisk;
use crate::qemu::{Disk, Machine, Spec};
use crate::replay::{Dice, Entry, Log, Undo};

/// States with losses that are tried in each group of requests. Groups number some hundreds; four each
/// keep the whole replay within minutes.
const LOSSES: u64 = 4;
/// States that are really booted.
const BOOTS: usize = 12;

pub(super) fn play(lab: &mut Lab) -> Result<()> {
    let seed = seed()?;
    println!("    seed {seed} (TWINROOT_VM_SEED repeats it)");
    let releases = [
        lab.build(&Wanted::test("1.0"))?,
        lab.build(&Wanted::test("1.1"))?,
        lab.build(&Wanted::test("1.2"))?,
    ];
    let (base, mut node) = recorded(lab, &releases)?;
    let log = Log::open(&node.machine.log_file())?;
    let mut replay = Replay::new(lab.folder(), &base, &log, &releases, seed)?;
    replay.run()?;
    lab.figure(replay.summary());
    converge(lab, &mut replay, &releases)?;
    node.passed();
    Ok(())
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

/// Lives through two updates with the disk recorded; gives the disk before the first of them.
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
    // In good order, so that the log says how long it is.
    node.on()?.qmp.execute("quit", json!({}))?;
    node.ended()?;
    Ok((base, node))
}

/// Some states are really booted, and each must end on a release of ours, committed.
fn converge(lab: &mut Lab, replay: &mut Replay<'_>, releases: &[Built; 3]) -> Result<()> {
    let boots = match std::env::var("TWINROOT_VM_BOOTS") {
        Ok(text) => text.parse().context("TWINROOT_VM_BOOTS is no number")?,
        Err(_) => BOOTS,
    };
    for number in 0..boots {
        let (disk, what) = replay.pick(number, boots)?;
        println!("    state {} of {boots}: {what}", number + 1);
        let folder = lab.folder().join(format!("state-{number}"));
        let machine = Machine::make(Spec::plain(&folder, &disk))?;
        let mut node = Node::of(machine, lab.publisher(Some("test"))?)?;
        for release in releases {
            node.publisher.release(release, "5s")?;
        }
        node.power_on()?;
        node.follow()?;
        // The newest is on offer, so every state ends there, by itself.
        node.wait_committed("1.2")?;
        let proof = node.json(&["verify"])?;
        ensure!(proof["all-good"] == true, "`twinroot verify` says {proof}");
        node.passed();
        drop(node);
        std::fs::remove_dir_all(&folder)?;
    }
    lab.figure(format!(
        "{boots} states were booted, and all ended on 1.2, proven"
    ));
    Ok(())
}

/// A release as the judges know it.
struct Known<'a> {
    built: &'a Built,
    uki: [u8; 32],
    length: u64,
}

struct Replay<'a> {
    folder: PathBuf,
    base: PathBuf,
    path: PathBuf,
    disk: File,
    raw: RawDisk,
    log: &'a Log,
    known: Vec<Known<'a>>,
    dice: Dice,
    /// What a slot's partitions hold, until something is written to them.
    slots: BTreeMap<&'static str, Option<String>>,
    judged: u64,
    lost: u64,
    dirty: u64,
}

impl<'a> Replay<'a> {
    fn new(
        folder: &Path,
        base: &Path,
        log: &'a Log,
        releases: &'a [Built],
        seed: u64,
    ) -> Result<Self> {
        let path = folder.join("replay.raw");
        copy(base, &path)?;
        let known = releases.iter().map(|built| {
            let uki = Sha256::digest(std::fs::read(&built.uki)?).into();
            let length = built.root.metadata()?.len();
            Ok(Known { built, uki, length })
        });
        Ok(Self {
            folder: folder.to_owned(),
            base: base.to_owned(),
            disk: File::options().read(true).write(true).open(&path)?,
            raw: RawDisk::open(&path)?,
            path,
            log,
            known: known.collect::<Result<_>>()?,
            dice: Dice::new(seed),
            slots: BTreeMap::new(),
            judged: 0,
            lost: 0,
            dirty: 0,
        })
    }

    /// Judges every state: after each request, and with losses in each group.
    fn run(&mut self) -> Result<()> {
        self.judge("before the first request")?;
        for epoch in self.log.epochs() {
            if self.matters(&self.log.entries()[epoch.clone()])? {
                for loss in 0..LOSSES {
                    let undo = self.lossy(epoch.clone())?;
                    self.judge(&format!("requests {epoch:?}, loss {loss}"))?;
                    self.lost += 1;
                    for undo in undo.iter().rev() {
                        undo.undo(&self.disk)?;
                    }
                    self.slots.clear();
                }
            }
            for at in epoch {
                let entry = self.log.entries()[at];
                let matters = self.matters(&[entry])?;
                self.forget(&entry)?;
                self.log.apply(&entry, &self.disk)?;
                if matters {
                    self.judge(&format!("after request {at}"))?;
                }
            }
        }
        Ok(())
    }

    /// Applies a random part of a group: each write whole, lost, or (the last of them) torn after some
    /// sectors. What is on the medium by its own word is never lost.
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
            self.forget(&entry)?;
            undo.push(self.log.apply(&entry, &self.disk)?);
        }
        Ok(undo)
    }

    /// Whether requests touch anything that the judges look at: the ESP, the slots, the tables.
    fn matters(&self, entries: &[Entry]) -> Result<bool> {
        let state = self.raw.partition("state")?;
        let outside = |entry: &&Entry| {
            entry.writes()
                && !(entry.offset >= state.offset
                    && entry.offset + entry.length <= state.offset + state.size)
        };
        Ok(entries.iter().any(|entry| outside(&entry)))
    }

    /// What was known of a slot is not known any more after a write to it.
    fn forget(&mut self, entry: &Entry) -> Result<()> {
        for slot in ["a", "b"] {
            for name in [format!("root-{slot}"), format!("root-{slot}-verity")] {
                let partition = self.raw.partition(&name)?;
                if entry.writes() && entry.touches(partition.offset, partition.size) {
                    self.slots.remove(slot);
                }
            }
        }
        Ok(())
    }

    /// A known-good entry must be whole, and no entry may be whole over a slot that is not.
    fn judge(&mut self, when: &str) -> Result<()> {
        self.judged += 1;
        self.table(when)?;
        let names = self
            .raw
            .esp_list("EFI/Linux")
            .with_context(|| format!("{when}: the ESP cannot be read"))?;
        let mut good = false;
        for name in names.iter().filter(|name| name.ends_with(".efi")) {
            let Ok(bytes) = self.raw.esp_read(&format!("EFI/Linux/{name}")) else {
                continue;
            };
            let digest: [u8; 32] = Sha256::digest(&bytes).into();
            let Some(at) = self.known.iter().position(|known| known.uki == digest) else {
                continue;
            };
            let whole = self.slot_of(at)?;
            ensure!(
                whole.is_some(),
                "{when}: {name} is armed, and no slot holds {}; entries are {names:?}",
                self.known[at].built.version
            );
            // Blessed: without counter. One on trial is not known to be good.
            good |= !name.contains('+');
        }
        ensure!(
            good,
            "{when}: no known-good entry is whole; entries are {names:?}"
        );
        self.foreign_judges(when)
    }

    /// The slot that holds this release, data and tree.
    fn slot_of(&mut self, at: usize) -> Result<Option<&'static str>> {
        let version = self.known[at].built.version.clone();
        for slot in ["a", "b"] {
            if !self.slots.contains_key(slot) {
                let found = self.content(slot)?;
                self.slots.insert(slot, found);
            }
            if self.slots[slot].as_ref() == Some(&version) {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// The release that a slot's partitions hold, byte for byte, as `veritysetup` confirms it.
    fn content(&self, slot: &str) -> Result<Option<String>> {
        for known in &self.known {
            let (data, tree) = (format!("root-{slot}"), format!("root-{slot}-verity"));
            if self.raw.begins_with(&data, &known.built.root)?
                && self.raw.begins_with(&tree, &known.built.tree)?
            {
                ensure!(
                    known.length <= self.raw.partition(&data)?.size,
                    "the slot is smaller than its image"
                );
                return Ok(Some(known.built.version.clone()));
            }
        }
        Ok(None)
    }

    /// The partition table is written at installation and never after.
    fn table(&self, when: &str) -> Result<()> {
        if self.judged % 50 == 1 {
            let sfdisk = tool("sfdisk").context("sfdisk is missing (package fdisk)")?;
            capture(Command::new(sfdisk).arg("--verify").arg(&self.path))
                .with_context(|| format!("{when}: the partition table"))?;
        }
        Ok(())
    }

    /// `fsck.fat` must find nothing that it could not put right by itself, looked at now and then, since
    /// it reads the whole ESP.
    fn foreign_judges(&mut self, when: &str) -> Result<()> {
        if self.judged % 10 != 1 {
            return Ok(());
        }
        let esp = self.folder.join("esp.img");
        self.raw.extract("esp", &esp)?;
        let fsck = tool("fsck.fat").context("fsck.fat is missing (package dosfstools)")?;
        let looked = Command::new(&fsck).arg("-n").arg(&esp).output()?;
        if !looked.status.success() {
            self.dirty += 1;
            let repaired = Command::new(&fsck).arg("-a").arg(&esp).output()?;
            let again = Command::new(&fsck).arg("-n").arg(&esp).output()?;
            ensure!(
                again.status.success(),
                "{when}: fsck.fat cannot repair the ESP: {}{}",
                String::from_utf8_lossy(&looked.stdout),
                String::from_utf8_lossy(&repaired.stdout)
            );
        }
        Ok(())
    }

    fn summary(&self) -> String {
        format!(
            "{} requests in {} groups; {} states judged, {} of them with losses; fsck.fat put {} right; \
             a known-good entry was whole in all",
            self.log.entries().len(),
            self.log.epochs().len(),
            self.judged,
            self.lost,
            self.dirty
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
