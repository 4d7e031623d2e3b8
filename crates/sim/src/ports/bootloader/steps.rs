//! The steps of which the loader's verbs are made, each counted.

use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::Fault;
use twinroot_ports::{ImageWriter, Outcome};
use twinroot_trust::digest::Digest;

use super::image::{Writer, staged_name};
use crate::medium::fat::Fat;
use crate::medium::sectors::SECTOR;
use crate::plant::Plant;
use crate::ports::failed;
use crate::watch::{Rule, slot_holds};
use crate::world::World;

impl World {
    /// One change of the file system, counted.
    pub(super) fn change(
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

    pub(super) fn variable(&self, name: &'static str, value: Option<&str>) -> Outcome<()> {
        self.effect("efi variable: set", |m| m.variables.set(name, value))
            .map_err(failed(Code::BootVariable, name))
    }

    /// Everything that was changed becomes durable.
    pub(super) fn settle(&self, name: &str) -> Outcome<()> {
        if self.planted(Plant::EspSync) {
            return Ok(());
        }
        self.change("esp: fsync directory", name, Fat::sync_dir)?;
        self.change("esp: syncfs", name, Fat::sync_all)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Outcome<()> {
        self.change("esp: rename", from, |esp| esp.rename(from, to))?;
        self.sync_file(to)?;
        self.settle(to)
    }

    /// An image is none any more before its clusters are given back.
    pub(super) fn delete(&self, name: &str) -> Outcome<()> {
        let image = self.file(name).filter(|_| name.ends_with(".efi"));
        if let Some(bytes) = image.filter(|_| !self.planted(Plant::DeleteKeepsHead)) {
            self.write_head(name, &vec![0; bytes.len().min(SECTOR)])?;
        }
        self.change("esp: delete", name, |esp| esp.delete(name))?;
        self.settle(name)
    }

    /// Overwrites the first sector, durably.
    fn write_head(&self, name: &str, head: &[u8]) -> Outcome<()> {
        self.change("esp: overwrite head", name, |esp| {
            esp.overwrite(name, 0, head)
        })?;
        self.sync_file(name)
    }

    fn sync_file(&self, name: &str) -> Outcome<()> {
        if self.planted(Plant::EspSync) {
            return Ok(());
        }
        self.change("esp: fsync file", name, |esp| esp.sync_file(name))
    }

    /// Copies an image to a name that the loader starts; its head comes last.
    pub(super) fn make_bootable(&self, bytes: &[u8], name: &str) -> Outcome<()> {
        let uki = Digest::of(bytes);
        let head = bytes.len().min(SECTOR);
        let mut copy = bytes.to_vec();
        copy[..head].fill(0);
        self.create_for(name, copy.len() as u64)?;
        for part in [&copy[..head], &copy[head..]] {
            self.change("esp: append", name, |esp| esp.append(name, part))?;
            self.sync_file(name)?;
            self.settle(name)?;
        }
        let read_back = self.file(name).unwrap_or_default();
        let behind = read_back.get(head..).unwrap_or_default();
        let whole: Vec<u8> = [&bytes[..head], behind].concat();
        if Digest::of(&whole) != uki && !self.planted(Plant::UkiUnread) {
            let cause = "what was read back is not what was to be written";
            return Err(Failure::new(Code::ReadBackMismatch, name, cause));
        }
        self.write_head(name, &bytes[..head])
    }

    pub(super) fn remove_files(&self, stem: &str) -> Outcome<()> {
        for entry in self.files_of(stem) {
            self.delete(entry.file_name())?;
        }
        Ok(())
    }

    /// Its content is what its name says.
    pub(super) fn is_whole(&self, entry: &EntryName) -> bool {
        self.file(entry.file_name())
            .is_some_and(|bytes| entry.names(&Digest::of(&bytes)))
    }

    /// Files of an entry that are not what their names say.
    pub(super) fn delete_damaged(&self, stem: &str) -> Outcome<()> {
        for entry in self.files_of(stem) {
            if !self.is_whole(&entry) {
                self.delete(entry.file_name())?;
            }
        }
        Ok(())
    }

    /// The entry that carries this image whole; the blessed name where there are two.
    pub(super) fn entry_with(&self, uki: &Digest) -> Option<EntryName> {
        let mut entries = self.outside(|m| m.entries());
        entries.retain(|entry| entry.names(uki) && self.is_whole(entry));
        entries.sort_by_key(|entry| entry.tries().is_some());
        entries.into_iter().next()
    }

    /// Starts writing the image beside the entries, in place of a leftover of that name.
    pub(super) fn write_image(
        &self,
        name: String,
        uki: &Digest,
        size: u64,
    ) -> Outcome<Box<dyn ImageWriter>> {
        self.create_for(&name, size)?;
        Ok(Box::new(Writer::new(self, name, uki, size)))
    }

    /// Makes an empty file in place of a leftover, where there is room for this size.
    fn create_for(&self, name: &str, size: u64) -> Outcome<()> {
        self.change("esp: delete leftover", name, |esp| esp.delete(name))?;
        if self.outside(|m| m.esp.free()) < size {
            let cause = format!("{size} bytes do not fit");
            return Err(Failure::new(Code::EspFull, "EFI system partition", cause));
        }
        self.change("esp: create", name, |esp| esp.create(name))
    }

    pub(super) fn files_of(&self, stem: &str) -> Vec<EntryName> {
        self.outside(|m| m.entries())
            .into_iter()
            .filter(|e| e.stem() == stem)
            .collect()
    }

    pub(super) fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.outside(|m| m.esp.read(name))
    }

    /// Where an image with this digest lies, whole.
    pub(super) fn find_image(&self, uki: &Digest) -> Option<Vec<u8>> {
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
    pub(super) fn watch_arming(&self, uki: &Digest) {
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

    /// The oracle: what was armed is the signed image, on the medium.
    pub(super) fn watch_entry(&self, entry: &EntryName, uki: &Digest) {
        self.outside(|m| {
            let medium = m.esp.after_cut(&mut || false);
            let found = medium
                .read(entry.file_name())
                .map(|bytes| Digest::of(&bytes));
            if found != Some(*uki) {
                let detail = format!("{} is not the signed image", entry.file_name());
                m.watch.broken(Rule::ArmedUnproven, detail);
            }
        });
    }

    pub(super) fn watch_blessing(&self, stem: &str) {
        self.outside(|m| {
            if m.watch.healthy_runs == 0 {
                m.watch.broken(Rule::BlessedWithoutHealth, stem);
            }
        });
    }

    /// The counted name stays whole until the blessed one is: a cut leaves at least one of them.
    pub(super) fn bless_by_copy(&self, counted: &EntryName, good: &EntryName) -> Outcome<()> {
        let lost = || {
            let cause = "its clusters are lost";
            Failure::new(Code::EntryMissing, counted.file_name(), cause)
        };
        let bytes = self.file(counted.file_name()).ok_or_else(lost)?;
        if self.planted(Plant::BlessRemovesFirst) {
            self.delete(counted.file_name())?;
        }
        self.make_bootable(&bytes, good.file_name())
    }
}
