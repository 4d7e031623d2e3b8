//! Judges of a disk that lost its power: tools that are not ours, and our model of the loader.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::{LoaderEntry, LoaderState, choose};
use twinroot_core::bootfmt::pe;
use twinroot_core::envelope;

use crate::host::{capture, tool};
use crate::image::Built;
use crate::offline::RawDisk;
use crate::replay::Entry;

/// `fsck.fat` reads the whole ESP, so it looks at every tenth state; the table is written at installation
/// only, so `sfdisk` looks at every fiftieth.
const FSCK_EVERY: u64 = 10;
const TABLE_EVERY: u64 = 50;
/// Superblock and root block of a hash tree, a block each: what a slot claims by. Without either it claims
/// nothing, and both are zeroed in one write, which a cut may tear.
const CLAIM: usize = 2 * 4096;
/// Starts that the model makes before it gives up: as many as an entry can have tries, for two entries.
const STARTS: usize = 20;

/// A release as the judges know it.
struct Known {
    built: Built,
    uki: [u8; 32],
    sort_key: String,
    version: String,
    claim: Vec<u8>,
}

/// One file of the loader's folder.
#[derive(Clone)]
struct OnEsp {
    name: EntryName,
    /// Which release it is, byte for byte.
    release: Option<usize>,
    /// It begins as a boot image does. systemd-boot passes over any other.
    image: bool,
}

/// The judges, and what they know of the disk as it is now.
pub(crate) struct Judge {
    folder: PathBuf,
    raw: RawDisk,
    known: Vec<Known>,
    /// What a slot holds, until something is written to it.
    slots: BTreeMap<&'static str, Option<usize>>,
    /// What the ESP holds, until something is written to it.
    esp: Option<Vec<OnEsp>>,
    /// Slots with releases that `veritysetup` has confirmed.
    confirmed: BTreeSet<(&'static str, usize)>,
    judged: u64,
    file_systems: u64,
    records: u64,
    dirty: u64,
}

impl Judge {
    pub(crate) fn new(folder: &Path, raw: RawDisk, releases: &[Built]) -> Result<Self> {
        let known = releases.iter().map(|built| {
            let uki = std::fs::read(&built.uki)?;
            let info = pe::read_uki(&built.version, &uki)?;
            let mut claim = vec![0; CLAIM];
            std::fs::File::open(&built.tree)?.read_exact_at(&mut claim, 0)?;
            Ok(Known {
                built: built.clone(),
                uki: Sha256::digest(&uki).into(),
                sort_key: info.os_release.sort_key().to_owned(),
                version: info.os_release.version().to_owned(),
                claim,
            })
        });
        Ok(Self {
            folder: folder.to_owned(),
            raw,
            known: known.collect::<Result<_>>()?,
            slots: BTreeMap::new(),
            esp: None,
            confirmed: BTreeSet::new(),
            judged: 0,
            file_systems: 0,
            records: 0,
            dirty: 0,
        })
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} states of the boot path and {} of the state partition judged: a known-good entry was whole and \
             the loader came to it in all; fsck.fat put {} right by itself, e2fsck found nothing behind the \
             journal, {} records had a whole copy; veritysetup confirmed {} slots",
            self.judged,
            self.file_systems,
            self.dirty,
            self.records,
            self.confirmed.len()
        )
    }

    /// It writes to something that a start reads before it mounts state: tables, ESP, slots.
    pub(crate) fn is_boot_path(&self, entry: &Entry) -> bool {
        entry.writes() && !self.is_state(entry)
    }

    /// It writes to the state partition.
    pub(crate) fn is_state(&self, entry: &Entry) -> bool {
        let inside = |state: &crate::offline::Partition| {
            entry.offset >= state.offset && entry.offset + entry.length <= state.offset + state.size
        };
        entry.writes() && self.raw.partition("state").is_ok_and(inside)
    }

    /// What was known of a place is not known any more after a write to it.
    pub(crate) fn forget(&mut self, entry: &Entry) {
        let hits = |name: &str| {
            let touched =
                |place: &crate::offline::Partition| entry.touches(place.offset, place.size);
            entry.writes() && self.raw.partition(name).is_ok_and(touched)
        };
        if hits("esp") {
            self.esp = None;
        }
        for slot in ["a", "b"] {
            if hits(&format!("root-{slot}")) || hits(&format!("root-{slot}-verity")) {
                self.slots.remove(slot);
            }
        }
    }

    /// Nothing is known any more.
    pub(crate) fn forget_all(&mut self) {
        self.esp = None;
        self.slots.clear();
    }

    /// A known-good entry is whole, nothing is armed or claimed that is not, and the loader comes to a whole
    /// one by itself.
    pub(crate) fn boot_path(&mut self, when: &str) -> Result<()> {
        self.judged += 1;
        if self.judged % TABLE_EVERY == 1 {
            let sfdisk = tool("sfdisk").context("sfdisk is missing (package fdisk)")?;
            capture(Command::new(sfdisk).arg("--verify").arg(self.raw.path()))
                .with_context(|| format!("{when}: the partition table"))?;
        }
        self.claims(when)?;
        let entries = self.entries().with_context(|| format!("{when}: the ESP"))?;
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.file_name()).collect();
        let mut good = false;
        for entry in &entries {
            let Some(release) = entry.release else {
                continue;
            };
            ensure!(
                self.slot_of(release)?.is_some(),
                "{when}: {} is armed, and no slot holds {}; entries are {names:?}",
                entry.name.file_name(),
                self.known[release].built.version
            );
            // Blessed: without counter. One on trial is not known to be good.
            good |= entry.name.tries().is_none();
        }
        ensure!(
            good,
            "{when}: no known-good entry is whole; entries are {names:?}"
        );
        self.loader_comes_to_a_whole_one(when, &entries)?;
        if self.judged % FSCK_EVERY == 1 {
            self.fat(when)?;
        }
        Ok(())
    }

    /// By our model of systemd-boot: entries that are not whole do not start, and cost a try if they are
    /// counted.
    fn loader_comes_to_a_whole_one(&self, when: &str, entries: &[OnEsp]) -> Result<()> {
        let mut entries = entries.to_vec();
        for _ in 0..STARTS {
            let images = entries.iter().filter(|entry| entry.image);
            let listed = images.map(|entry| {
                let known = entry.release.map(|at| &self.known[at]);
                // What cannot be read as a release of ours may still look like the newest one.
                LoaderEntry {
                    name: entry.name.clone(),
                    sort_key: known.unwrap_or(&self.known[0]).sort_key.clone(),
                    version: known.map_or_else(|| String::from("999"), |k| k.version.clone()),
                }
            });
            let state = LoaderState {
                entries: listed.collect(),
                ..LoaderState::default()
            };
            let choice =
                choose(&state).with_context(|| format!("{when}: the loader has no entry"))?;
            let chosen = entries
                .iter_mut()
                .find(|entry| entry.name.file_name() == choice.entry)
                .context("the model chose what is not there")?;
            if chosen.release.is_some() {
                return Ok(());
            }
            let Some(renamed) = choice.renamed_to else {
                bail!(
                    "{when}: the loader would start {} for ever, and it is not whole",
                    choice.entry
                );
            };
            chosen.name = EntryName::parse(&renamed)?;
        }
        bail!("{when}: the loader came to no whole entry in {STARTS} starts")
    }

    /// Entries of ours, as mtools reads them, and which release each is.
    fn entries(&mut self) -> Result<Vec<OnEsp>> {
        if let Some(known) = &self.esp {
            return Ok(known.clone());
        }
        let mut entries = Vec::new();
        for file_name in self.raw.esp_list("EFI/Linux")? {
            let Ok(name) = EntryName::parse(&file_name) else {
                continue;
            };
            let path = format!("EFI/Linux/{file_name}");
            // What mtools cannot read is not whole.
            let digest: Option<[u8; 32]> = self
                .raw
                .esp_read(&path)
                .ok()
                .map(|bytes| Sha256::digest(&bytes).into());
            let release = self
                .known
                .iter()
                .position(|known| Some(known.uki) == digest);
            let image = release.is_some() || self.raw.esp_begins_as_image(&path)?;
            entries.push(OnEsp {
                name,
                release,
                image,
            });
        }
        self.esp = Some(entries.clone());
        Ok(entries)
    }

    /// A slot whose tree has a release's superblock and root block holds that release: a half-written slot can never
    /// be taken for a whole one.
    fn claims(&mut self, when: &str) -> Result<()> {
        for slot in ["a", "b"] {
            let place = self.raw.partition(&format!("root-{slot}-verity"))?.offset;
            let mut found = vec![0; CLAIM];
            std::fs::File::open(self.raw.path())?.read_exact_at(&mut found, place)?;
            let claimed = self.known.iter().position(|known| known.claim == found);
            if let Some(claimed) = claimed {
                let held = self.content(slot)?;
                ensure!(
                    held == Some(claimed),
                    "{when}: slot {slot} claims {} and does not hold it",
                    self.known[claimed].built.version
                );
            }
        }
        Ok(())
    }

    /// The slot that holds this release, data and tree.
    fn slot_of(&mut self, release: usize) -> Result<Option<&'static str>> {
        for slot in ["a", "b"] {
            if self.content(slot)? == Some(release) {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// The release that a slot's partitions hold, byte for byte; `veritysetup` confirms each once.
    fn content(&mut self, slot: &'static str) -> Result<Option<usize>> {
        if let Some(known) = self.slots.get(slot) {
            return Ok(*known);
        }
        let (data, tree) = (format!("root-{slot}"), format!("root-{slot}-verity"));
        let mut found = None;
        for (at, known) in self.known.iter().enumerate() {
            if self.raw.begins_with(&data, &known.built.root)?
                && self.raw.begins_with(&tree, &known.built.tree)?
            {
                found = Some(at);
                break;
            }
        }
        if let Some(release) = found
            && self.confirmed.insert((slot, release))
        {
            self.veritysetup(&data, &tree, release)?;
        }
        self.slots.insert(slot, found);
        Ok(found)
    }

    fn veritysetup(&self, data: &str, tree: &str, release: usize) -> Result<()> {
        let program = tool("veritysetup").context("veritysetup is missing (cryptsetup-bin)")?;
        let files = [self.folder.join("slot.data"), self.folder.join("slot.tree")];
        self.raw.extract(data, &files[0])?;
        self.raw.extract(tree, &files[1])?;
        let built = &self.known[release].built;
        let mut verify = Command::new(program);
        capture(verify.arg("verify").args(&files).arg(&built.root_hash))
            .with_context(|| format!("{data} should hold {}", built.version))
            .map(drop)
    }

    /// `fsck.fat` must find nothing that it could not put right by itself.
    fn fat(&mut self, when: &str) -> Result<()> {
        let esp = self.folder.join("esp.img");
        self.raw.extract("esp", &esp)?;
        let fsck = tool("fsck.fat").context("fsck.fat is missing (package dosfstools)")?;
        let looked = Command::new(&fsck).arg("-n").arg(&esp).output()?;
        if looked.status.success() {
            return Ok(());
        }
        self.dirty += 1;
        let repaired = Command::new(&fsck).arg("-a").arg(&esp).output()?;
        let again = Command::new(&fsck).arg("-n").arg(&esp).output()?;
        ensure!(
            again.status.success(),
            "{when}: fsck.fat cannot repair the ESP: {}{}",
            String::from_utf8_lossy(&looked.stdout),
            String::from_utf8_lossy(&repaired.stdout)
        );
        Ok(())
    }

    /// The file system of the state partition is whole behind its journal, as the kernel would replay it, and
    /// of each record a copy can be read.
    pub(crate) fn state(&mut self, when: &str) -> Result<()> {
        self.file_systems += 1;
        let image = self.folder.join("state.img");
        self.raw.extract("state", &image)?;
        let fsck = tool("e2fsck").context("e2fsck is missing (package e2fsprogs)")?;
        // Ends with 1 where there was something to replay.
        Command::new(&fsck)
            .args(["-y", "-E", "journal_only"])
            .arg(&image)
            .output()?;
        // The kernel keeps the totals of the superblock behind and takes them from the groups at each mount; so
        // does this, which looks at nothing else where the file system calls itself clean.
        Command::new(&fsck).arg("-p").arg(&image).output()?;
        capture(Command::new(&fsck).arg("-fn").arg(&image))
            .with_context(|| format!("{when}: the state partition behind its journal"))?;
        let records = self.folder.join("records");
        if records.exists() {
            std::fs::remove_dir_all(&records)?;
        }
        std::fs::create_dir(&records)?;
        let debugfs = tool("debugfs").context("debugfs is missing (package e2fsprogs)")?;
        let dump = format!("rdump /lib/twinroot {}", records.display());
        capture(Command::new(debugfs).arg("-R").arg(dump).arg(&image))?;
        self.copies(when, &records.join("twinroot"))
    }

    /// Of each record that is there, one of the two copies is whole.
    fn copies(&mut self, when: &str, folder: &Path) -> Result<()> {
        let mut whole: BTreeMap<String, bool> = BTreeMap::new();
        for entry in std::fs::read_dir(folder).with_context(|| format!("{when}: no records"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stem = name
                .strip_suffix(".0.json")
                .or_else(|| name.strip_suffix(".1.json"));
            let Some(stem) = stem else { continue };
            let bytes = std::fs::read(entry.path())?;
            let good = envelope::open::<serde_json::Value>(&bytes).is_some();
            *whole.entry(stem.to_owned()).or_default() |= good;
        }
        ensure!(!whole.is_empty(), "{when}: the node has no records");
        for (name, good) in whole {
            ensure!(good, "{when}: neither copy of the record '{name}' is whole");
            self.records += 1;
        }
        Ok(())
    }
}
