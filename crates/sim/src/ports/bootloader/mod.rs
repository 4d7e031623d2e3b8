//! systemd-boot on the simulated EFI system partition, by the same steps as the real adapter.
//!
//! Order of everything that makes a name bootable: the image is written under a name that no loader
//! looks at, fsync of the file, of the directory, of the file system, read back. Then it is copied to its
//! `.efi` name in the same order, all but its first sector, and that comes last. Blessing copies in the
//! same way. A rename on FAT is several updates, and between them the only entry of a running system could
//! be gone.

mod image;
mod observe;
mod steps;

use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::LoaderObserved;
use twinroot_payload::io::ReadAt;
use twinroot_ports::{Arming, Bootloader, ImageWriter, Outcome};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use image::{Writer, staged_digest, staged_name};

use crate::boot::{DEFAULT, ONE_SHOT};
use crate::plant::Plant;
use crate::world::World;

/// Where it is remembered that the loader was seen to count, or not to.
const COUNTING: &str = "TwinrootCounting";

impl Bootloader for World {
    fn observe(&self) -> Outcome<LoaderObserved> {
        self.effect("loader: observe", |m| Ok(m.observe_loader()))
    }

    fn image(&self, uki: &Digest) -> Outcome<Option<Box<dyn ReadAt>>> {
        self.effect("loader: open image", |_| ());
        let boxed = |bytes| Box::new(bytes) as Box<dyn ReadAt>;
        Ok(self.find_image(uki).map(boxed))
    }

    fn stage_image(&self, uki: &Digest, size: u64) -> Outcome<Box<dyn ImageWriter>> {
        // An entry that carries the image may share its clusters with the staged name (torn
        // rename): writing anew would take them from under it.
        if self.entry_with(uki).is_some() {
            return Ok(Box::new(Writer::of_entry(self, uki, size)));
        }
        self.write_image(staged_name(uki), uki, size)
    }

    fn arm(&self, version: &Version, uki: &Digest, how: Arming) -> Outcome<()> {
        let (tries, one_shot) = match how {
            Arming::Counted { tries } => (tries, false),
            Arming::OneShot { tries } => (tries, true),
        };
        self.watch_arming(uki);
        let entry = match self.entry_with(uki) {
            Some(entry) if self.planted(Plant::ArmRefillsTries) => {
                let full = entry.on_trial(tries);
                self.rename(entry.file_name(), full.file_name())?;
                full
            }
            // Repeated: the counter stays as it is.
            Some(entry) => entry,
            None => {
                self.delete_damaged(EntryName::for_release(version, uki).stem())?;
                self.make_entry(version, uki, tries)?
            }
        };
        if one_shot {
            self.variable(ONE_SHOT, Some(entry.file_name()))?;
        }
        Ok(())
    }

    fn remove(&self, stem: &str) -> Outcome<()> {
        let seen = self.outside(|m| m.observe_loader());
        let is_good = |e: &&twinroot_core::facts::EntryObserved| e.stem == stem && e.is_blessed();
        let blessed = seen.entries.iter().any(|e| is_good(&e));
        if blessed && seen.booted.as_deref() == Some(stem) {
            let cause = "it is the known-good entry that was booted";
            let subject = format!("boot entry {stem}");
            return Err(Failure::new(Code::BadRequest, subject, cause));
        }
        if self.planted(Plant::RemoveWrong) {
            for other in seen.entries.iter().filter(|entry| entry.stem != stem) {
                self.remove_files(&other.stem)?;
            }
            return Ok(());
        }
        self.remove_files(stem)
    }

    fn bless(&self, stem: &str) -> Outcome<()> {
        let mut files = self.files_of(stem);
        files.retain(|entry| self.is_whole(entry));
        let counted = files.iter().find(|entry| entry.tries().is_some());
        let blessed = files.iter().find(|entry| entry.tries().is_none());
        let Some(counted) = counted else {
            let subject = format!("boot entry {stem}");
            let missing = || Failure::new(Code::EntryMissing, subject, "there is no such entry");
            return blessed.map(|_| ()).ok_or_else(missing);
        };
        self.watch_blessing(stem);
        if blessed.is_some() && self.planted(Plant::BlessStopsAtTwins) {
            return Ok(());
        }
        let counts = counted.tries().is_some_and(|tries| tries.done > 0);
        self.variable(COUNTING, Some(if counts { "proven" } else { "broken" }))?;
        let good = counted.bless_name();
        if self.planted(Plant::BlessByRename) {
            return self.rename(counted.file_name(), good.file_name());
        }
        // A cut may have left the blessed name without its content.
        self.delete_damaged(stem)?;
        if blessed.is_none() {
            self.bless_by_copy(counted, &good)?;
        }
        self.delete(counted.file_name())
    }

    fn pin(&self, stem: Option<&str>) -> Outcome<()> {
        let lost = if stem.is_some() {
            Plant::PinLost
        } else {
            Plant::UnpinLost
        };
        if self.planted(lost) {
            return Ok(());
        }
        let Some(stem) = stem else {
            return self.variable(DEFAULT, None);
        };
        let files = self.files_of(stem);
        let blessed = files.iter().find(|entry| entry.tries().is_none());
        let Some(entry) = blessed.or(files.first()) else {
            let subject = format!("boot entry {stem}");
            return Err(Failure::new(
                Code::EntryMissing,
                subject,
                "there is none to pin",
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
            if !keep.contains(&uki) {
                self.delete(&name)?;
            }
        }
        self.settle_twins()
    }
}

impl World {
    /// Blessing that was cut leaves the counted name beside the blessed one: it has had its use.
    fn settle_twins(&self) -> Outcome<()> {
        if self.planted(Plant::BlessStopsAtTwins) {
            return Ok(());
        }
        let entries = self.outside(|m| m.entries());
        let blessed = |stem: &str| {
            entries
                .iter()
                .any(|e| e.tries().is_none() && e.stem() == stem && self.is_whole(e))
        };
        for twin in entries
            .iter()
            .filter(|e| e.tries().is_some() && blessed(e.stem()))
        {
            self.delete(twin.file_name())?;
        }
        Ok(())
    }

    /// Gives a staged image its bootable name, the last step of arming.
    fn make_entry(&self, version: &Version, uki: &Digest, tries: u32) -> Outcome<EntryName> {
        let staged = staged_name(uki);
        let found = self.file(&staged).map(|bytes| Digest::of(&bytes));
        let (code, cause) = match found {
            None => (Code::EntryMissing, "its image was not staged"),
            Some(_) => (
                Code::ReadBackMismatch,
                "its staged image is not what it was",
            ),
        };
        if found != Some(*uki) && !self.planted(Plant::UkiUnread) {
            return Err(Failure::new(code, staged, cause));
        }
        let plain = EntryName::for_release(version, uki);
        let entry = if self.planted(Plant::ArmUncounted) {
            plain
        } else {
            plain.on_trial(tries)
        };
        let bytes = self.file(&staged).unwrap_or_default();
        self.make_bootable(&bytes, entry.file_name())?;
        self.delete(&staged)?;
        self.watch_entry(&entry, uki);
        Ok(entry)
    }
}
