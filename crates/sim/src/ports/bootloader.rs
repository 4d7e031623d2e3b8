//! systemd-boot on the simulated EFI system partition, by the same steps as the real adapter.
//!
//! Order of everything that makes a name bootable: the image is written under a name that no loader
//! looks at, fsync of the file, of the directory, of the file system, read back; only then it gets
//! its `.efi` name. Blessing copies: a rename on FAT is two updates, and between them the only entry
//! of a running system could be gone.

use twinroot_core::bootfmt::attempt::Allowed;
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::menu;
use twinroot_core::bootfmt::pe::read_uki;
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::{Counting, EntryObserved, LoaderObserved, Tries};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_ports::{Arming, Bootloader, ImageWriter, Outcome};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use super::failed;
use crate::boot::{ATTEMPTS, DEFAULT, ONE_SHOT, SELECTED};
use crate::medium::fat::Fat;
use crate::watch::{Rule, slot_holds};
use crate::world::{Machine, World};

/// Suffix of images that are not entries.
const STAGED: &str = ".staged";
/// Where it is remembered that the loader was seen to count, or not to.
const COUNTING: &str = "TwinrootCounting";
/// More than any policy asks for.
const TRIES_GRANTED: u32 = 9;

fn staged_name(uki: &Digest) -> String {
    format!("twinroot_{uki}{STAGED}")
}

fn staged_digest(name: &str) -> Option<Digest> {
    name.strip_prefix("twinroot_")?
        .strip_suffix(STAGED)?
        .parse()
        .ok()
}

impl World {
    /// One change of the file system, counted.
    fn change(
        &self,
        what: &'static str,
        name: &str,
        act: impl FnOnce(&mut Fat) -> Result<(), Fault>,
    ) -> Outcome<()> {
        let (result, code) = self.effect(what, |m| {
            let code = match (m.esp.read_only, m.esp.free()) {
                (true, _) => Code::EspReadOnly,
                (false, 0..4096) => Code::EspFull,
                (false, _) => Code::FlushFailed,
            };
            let result = act(&mut m.esp);
            m.watch_tries();
            (result, code)
        });
        result.map_err(failed(code, format!("EFI system partition: {name}")))
    }

    fn variable(&self, name: &'static str, value: Option<&str>) -> Outcome<()> {
        self.effect("efi variable: set", |m| m.variables.set(name, value))
            .map_err(failed(Code::BootVariable, name))
    }

    /// Everything that was changed becomes durable.
    fn settle(&self, name: &str) -> Outcome<()> {
        self.change("esp: fsync directory", name, Fat::sync_dir)?;
        self.change("esp: syncfs", name, Fat::sync_all)
    }

    fn rename(&self, from: &str, to: &str) -> Outcome<()> {
        self.change("esp: rename", from, |esp| esp.rename(from, to))?;
        self.settle(to)
    }

    fn delete(&self, name: &str) -> Outcome<()> {
        self.change("esp: delete", name, |esp| esp.delete(name))?;
        self.settle(name)
    }

    fn files_of(&self, stem: &str) -> Vec<EntryName> {
        self.outside(|m| m.entries())
            .into_iter()
            .filter(|e| e.stem() == stem)
            .collect()
    }

    fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.outside(|m| m.esp.read(name))
    }

    /// Where an image with this digest lies, whole.
    fn find_image(&self, uki: &Digest) -> Option<Vec<u8>> {
        let entries = self
            .outside(|m| m.entries())
            .into_iter()
            .filter(|e| e.names(uki));
        let names = entries
            .map(|e| e.file_name().to_owned())
            .chain([staged_name(uki)]);
        names
            .filter_map(|name| self.file(&name))
            .find(|bytes| Digest::of(bytes) == *uki)
    }

    /// The oracle: an entry may only be armed for a slot that holds its release on the medium.
    fn watch_arming(&self, uki: &Digest) {
        self.outside(|m| {
            let running = m.running.as_ref().map(|r| r.slot);
            let root = m
                .images
                .iter()
                .find(|(_, image)| image.uki == *uki)
                .map(|(root, _)| *root);
            let holds = root
                .zip(running)
                .is_some_and(|(root, slot)| slot_holds(&m.slots[slot.other().index()], &root));
            if !holds {
                m.watch.broken(Rule::ArmedUnproven, format!("UKI {uki}"));
            }
            if root.is_some_and(|root| m.watch.bad.contains(&root)) {
                m.watch
                    .broken(Rule::DeniedStarted, format!("UKI {uki} was armed"));
            }
        });
    }
}

impl Bootloader for World {
    fn observe(&self) -> Outcome<LoaderObserved> {
        self.effect("loader: observe", |m| Ok(m.observe_loader()))
    }

    fn image(&self, uki: &Digest) -> Outcome<Option<Box<dyn ReadAt>>> {
        self.effect("loader: open image", |_| ());
        Ok(self
            .find_image(uki)
            .map(|bytes| Box::new(bytes) as Box<dyn ReadAt>))
    }

    fn stage_image(&self, uki: &Digest, size: u64) -> Outcome<Box<dyn ImageWriter>> {
        let name = staged_name(uki);
        self.change("esp: delete leftover", &name, |esp| esp.delete(&name))?;
        if self.outside(|m| m.esp.free()) < size {
            let cause = format!("{size} bytes do not fit");
            return Err(Failure::new(Code::EspFull, "EFI system partition", cause));
        }
        self.change("esp: create", &name, |esp| esp.create(&name))?;
        Ok(Box::new(Writer {
            world: self.clone(),
            name,
            uki: *uki,
            size,
            written: 0,
        }))
    }

    fn arm(&self, version: &Version, uki: &Digest, how: Arming) -> Outcome<()> {
        let (tries, one_shot) = match how {
            Arming::Counted { tries } => (tries, false),
            Arming::OneShot { tries } => (tries, true),
        };
        let plain = EntryName::for_release(version, uki);
        let whole = |name: &str| self.file(name).is_some_and(|b| Digest::of(&b) == *uki);
        let armed = self
            .files_of(plain.stem())
            .into_iter()
            .find(|e| whole(e.file_name()));
        self.watch_arming(uki);
        let entry = match armed {
            // Repeated, or a torn rename that left both names: the counter stays as it is.
            Some(entry) => entry,
            None => {
                let staged = staged_name(uki);
                if !whole(&staged) {
                    let cause = "the staged image is missing or not what it was";
                    return Err(Failure::new(Code::ReadBackMismatch, staged, cause));
                }
                let entry = plain.on_trial(tries);
                self.rename(&staged, entry.file_name())?;
                entry
            }
        };
        if one_shot {
            self.variable(ONE_SHOT, Some(entry.file_name()))?;
        }
        Ok(())
    }

    fn remove(&self, stem: &str) -> Outcome<()> {
        let booted = self.outside(|m| m.observe_loader());
        let blessed = booted
            .entries
            .iter()
            .any(|e| e.stem == stem && e.is_blessed());
        if blessed && booted.booted.as_deref() == Some(stem) {
            let cause = "it is the known-good entry that was booted";
            return Err(Failure::new(
                Code::BadRequest,
                format!("boot entry {stem}"),
                cause,
            ));
        }
        for entry in self.files_of(stem) {
            self.delete(entry.file_name())?;
        }
        Ok(())
    }

    fn bless(&self, stem: &str) -> Outcome<()> {
        let files = self.files_of(stem);
        let counted = files.iter().find(|entry| entry.tries().is_some());
        let blessed = files.iter().find(|entry| entry.tries().is_none());
        let Some(counted) = counted else {
            let cause = "there is no such entry";
            let missing = || Failure::new(Code::EntryMissing, format!("boot entry {stem}"), cause);
            return blessed.map(|_| ()).ok_or_else(missing);
        };
        self.watch_blessing(stem);
        let seen = if counted.tries().is_some_and(|t| t.done > 0) {
            "proven"
        } else {
            "broken"
        };
        self.variable(COUNTING, Some(seen))?;
        let good = counted.bless_name();
        if blessed.is_none() {
            self.bless_by_copy(counted, &good)?;
        }
        self.delete(counted.file_name())
    }

    fn pin(&self, stem: Option<&str>) -> Outcome<()> {
        let Some(stem) = stem else {
            return self.variable(DEFAULT, None);
        };
        let files = self.files_of(stem);
        let Some(entry) = files.iter().find(|e| e.tries().is_none()).or(files.first()) else {
            let cause = "there is no such entry to pin";
            return Err(Failure::new(
                Code::EntryMissing,
                format!("boot entry {stem}"),
                cause,
            ));
        };
        let pattern = match entry.tries() {
            None => entry.file_name().to_owned(),
            Some(_) => format!("{stem}+*.efi"),
        };
        self.variable(DEFAULT, Some(&pattern))
    }

    fn clear_attempts(&self) -> Outcome<()> {
        let record = self.outside(|m| {
            let running = m.running.as_ref()?;
            let record = m.attempts();
            let next = record
                .clone()
                .healthy(&running.root)
                .allowing(m.other_good());
            (next != record).then_some(next)
        });
        if let Some(record) = record {
            self.effect("esp: write attempt record", |m| m.write_attempts(&record));
        }
        Ok(())
    }

    fn sweep(&self, keep: &[Digest]) -> Outcome<()> {
        for name in self.outside(|m| m.esp.names()) {
            let Some(uki) = staged_digest(&name) else {
                continue;
            };
            // A torn rename leaves two names for the same clusters: deleting one would lose both.
            let entry_too = self.outside(|m| m.entries()).iter().any(|e| e.names(&uki));
            if !keep.contains(&uki) && !entry_too {
                self.delete(&name)?;
            }
        }
        Ok(())
    }
}

impl World {
    fn watch_blessing(&self, stem: &str) {
        self.outside(|m| {
            if m.watch.healthy_runs == 0 {
                m.watch.broken(Rule::BlessedWithoutHealth, stem);
            }
        });
    }

    /// The counted name stays whole until the blessed one is: a cut leaves at least one of them.
    fn bless_by_copy(&self, counted: &EntryName, good: &EntryName) -> Outcome<()> {
        let lost = || {
            let cause = "its clusters are lost";
            Failure::new(Code::EntryMissing, counted.file_name(), cause)
        };
        let bytes = self.file(counted.file_name()).ok_or_else(lost)?;
        let uki = Digest::of(&bytes);
        let mut copy = self.stage_image(&uki, bytes.len() as u64)?;
        copy.write(&bytes)?;
        copy.finish()?;
        self.rename(&staged_name(&uki), good.file_name())
    }
}

impl Machine {
    fn entries(&self) -> Vec<EntryName> {
        let names = self.esp.names().into_iter();
        names
            .filter_map(|name| EntryName::parse(&name).ok())
            .filter(EntryName::is_ours)
            .collect()
    }

    /// The other slot's entry, where it is blessed and the slot still claims its root: where the
    /// initramfs may go when the running system goes bad.
    fn other_good(&self) -> Option<Allowed> {
        let running = self.running.as_ref()?;
        let root = self.claimed(running.slot.other())?;
        let entry = self.entries().into_iter().find(|entry| {
            let boots = || {
                Some(
                    read_uki("", &self.esp.read(entry.file_name())?)
                        .ok()?
                        .root_hash,
                )
            };
            entry.tries().is_none() && boots() == Some(root)
        })?;
        Some(Allowed { root, entry })
    }

    fn observe_loader(&self) -> LoaderObserved {
        let state = self.loader_state();
        let mut entries: Vec<EntryObserved> = Vec::new();
        for listed in menu(&state) {
            let observed = self.observe_entry(&listed.name);
            let Some(observed) = observed.filter(|_| listed.name.is_ours()) else {
                continue;
            };
            // Two names of one entry: the blessed one says what it is.
            match entries.iter_mut().find(|known| known.stem == observed.stem) {
                Some(known) if observed.is_blessed() => *known = observed,
                Some(_) => {}
                None => entries.push(observed),
            }
        }
        let stem_of = |name: String| EntryName::parse(&name).ok().map(|e| e.stem().to_owned());
        let booted = self.variables.text(SELECTED).and_then(stem_of);
        let attempts = self.attempts();
        let running = self.running.as_ref();
        LoaderObserved {
            counting: self.observe_counting(&entries, booted.as_deref()),
            booted: booted.filter(|stem| entries.iter().any(|entry| entry.stem == *stem)),
            entries,
            pinned: self.variables.text(DEFAULT).map(stem_of_pattern),
            one_shot: self.variables.text(ONE_SHOT).and_then(stem_of),
            tries_granted: TRIES_GRANTED,
            free: self.esp.free(),
            starts_without_health: running.map_or(0, |r| attempts.starts_of(&r.root).into()),
            abandoned: attempts.abandoned(),
        }
    }

    fn observe_entry(&self, name: &EntryName) -> Option<EntryObserved> {
        let bytes = self.esp.read(name.file_name())?;
        let uki = Digest::of(&bytes);
        Some(EntryObserved {
            stem: name.stem().to_owned(),
            root_hash: read_uki(name.file_name(), &bytes).ok()?.root_hash,
            uki,
            version: name.release().filter(|_| name.names(&uki))?.0,
            tries: name.tries(),
        })
    }

    /// A counted entry that was booted must show a try that was used.
    fn observe_counting(&self, entries: &[EntryObserved], booted: Option<&str>) -> Counting {
        let booted = entries
            .iter()
            .find(|entry| Some(entry.stem.as_str()) == booted);
        match booted.and_then(|entry| entry.tries) {
            Some(Tries { done: 0, .. }) => Counting::Broken,
            Some(_) => Counting::Proven,
            None => match self.variables.text(COUNTING).as_deref() {
                Some("proven") => Counting::Proven,
                Some("broken") => Counting::Broken,
                _ => Counting::Unproven,
            },
        }
    }

    /// Makes the initramfs's file, as the installer does.
    pub(crate) fn make_attempts_file(&mut self) -> Result<(), Fault> {
        self.esp.create(ATTEMPTS)?;
        self.esp
            .append(ATTEMPTS, &[0; twinroot_core::bootfmt::attempt::FILE])?;
        self.esp.sync_all()
    }
}

/// The stem that a pin was made for; `+` stands in no stem of ours.
fn stem_of_pattern(pattern: String) -> String {
    let plain = pattern.strip_suffix(".efi").unwrap_or(&pattern);
    plain
        .split_once('+')
        .map_or(plain, |(stem, _)| stem)
        .to_owned()
}

/// An image on its way to the ESP.
#[derive(Debug)]
struct Writer {
    world: World,
    name: String,
    uki: Digest,
    size: u64,
    written: u64,
}

impl ImageWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.written += bytes.len() as u64;
        if self.written > self.size {
            let cause = format!("more than the {} bytes announced", self.size);
            return Err(Failure::new(
                Code::LengthMismatch,
                self.name.as_str(),
                cause,
            ));
        }
        self.world.change("esp: append", &self.name, |esp| {
            esp.append(&self.name, bytes)
        })
    }

    fn finish(self: Box<Self>) -> Outcome<()> {
        self.world.change("esp: fsync file", &self.name, |esp| {
            esp.sync_file(&self.name)
        })?;
        self.world.settle(&self.name)?;
        let read_back = self.world.file(&self.name);
        if read_back.is_none_or(|bytes| Digest::of(&bytes) != self.uki) {
            let cause = "what was read back is not what was to be written";
            return Err(Failure::new(
                Code::ReadBackMismatch,
                self.name.as_str(),
                cause,
            ));
        }
        Ok(())
    }
}
