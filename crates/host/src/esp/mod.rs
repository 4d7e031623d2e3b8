//! The `Bootloader` port for systemd-boot and UKIs: counting by file name, a pin and a one-shot
//! request in EFI variables, the initramfs's attempt record in a file.
//!
//! An entry that is blessed is never renamed nor overwritten. New images are written under a name
//! that no loader boots, read back, and become entries by one rename.

pub mod attempts;
mod counting;
pub mod entries;
mod remains;
mod sbat;
pub mod secure_boot;
pub mod stage;
mod staged;
mod twin;
pub mod vars;
mod volume;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use twinroot_core::bootfmt::attempt::Allowed;
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::stage::Stage;
use twinroot_core::bootfmt::start::ESP_UNCLEAN;
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::{EntryObserved, LoaderIdentity, LoaderObserved};
use twinroot_payload::io::ReadAt;
use twinroot_ports::{Arming, Bootloader, ImageWriter, Outcome, Store, System};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use entries::{Entry, FOLDER, Listing, Reader};
use vars::EfiVars;
pub use volume::Volume;

/// Tries that an entry can be given: one digit keeps the name as short as FAT likes it.
const TRIES_GRANTED: u32 = 9;

/// Kept free beside a new image: folder clusters, the attempt record, the loader's random seed.
const RESERVE: u64 = 64 * 1024;

/// systemd-boot on one ESP.
#[derive(Debug)]
pub struct SdBoot {
    volume: Volume,
    vars: Box<dyn EfiVars>,
    notes: Arc<dyn Store>,
    system: Arc<dyn System>,
    reader: Reader,
    /// Of the loader that started this system: it does not change while the system runs.
    identity: OnceLock<LoaderIdentity>,
    /// Where what starts that died have left may be.
    remains: remains::Places,
    /// Where the firmware's keys are; nothing where no firmware checks images.
    firmware: Option<PathBuf>,
    /// The initramfs has found the ESP as a crash leaves it.
    unclean: bool,
}

impl SdBoot {
    /// The loader of the ESP `volume`. `notes` keeps what was seen of its counting; `system` says
    /// which root runs.
    #[must_use]
    pub fn new(
        volume: Volume,
        vars: Box<dyn EfiVars>,
        notes: Arc<dyn Store>,
        system: Arc<dyn System>,
    ) -> Self {
        Self {
            volume,
            vars,
            notes,
            system,
            reader: Reader::default(),
            identity: OnceLock::new(),
            remains: remains::Places::default(),
            firmware: None,
            unclean: false,
        }
    }

    /// The same on a host, whose firmware may check images, and may have kept the logs of starts
    /// that died. `variables` is where efivarfs is.
    #[must_use]
    pub fn with_firmware(mut self, variables: &Path) -> Self {
        self.remains = remains::Places::of_host();
        self.firmware = Some(variables.to_owned());
        // Now it is mounted for writing, which looks the same as a crash.
        self.unclean = Path::new(ESP_UNCLEAN).exists();
        self
    }

    fn list(&self) -> Outcome<Listing> {
        let listing = self.reader.list(&self.volume, &*self.notes)?;
        for name in &listing.damaged {
            tracing::warn!(
                entry = name.file_name(),
                "boot entry is damaged and does not count"
            );
        }
        Ok(listing)
    }

    /// Every file of an entry, the one that counts first: the blessed one, else the one that was
    /// tried more, since tries only fall. There are two after a cut amid blessing, and after a rename
    /// of the loader that FAT has torn; the latter two share their clusters, so that removing one
    /// would take the other with it. Hence nothing is tidied up here.
    fn files_of(&self, stem: &str) -> Outcome<Vec<Entry>> {
        let mut same = self.list()?.entries;
        same.retain(|entry| entry.name.stem() == stem);
        same.sort_by_key(rank);
        Ok(same)
    }

    fn find(&self, stem: &str) -> Outcome<Option<Entry>> {
        Ok(self.files_of(stem)?.into_iter().next())
    }

    fn required(&self, stem: &str) -> Outcome<Entry> {
        self.find(stem)?
            .ok_or_else(|| Failure::new(Code::EntryMissing, stem, "is not on the ESP"))
    }

    /// Stem of a loader variable's value. Loaders of different age write the name with or without
    /// its counter, and in lower case.
    fn stem_in(&self, variable: &str, listing: &Listing) -> Outcome<Option<String>> {
        let Some(value) = self.vars.get(variable)? else {
            return Ok(None);
        };
        let matching = |entry: &&Entry| {
            let named = EntryName::parse(&value).ok();
            let stem = entry.name.stem();
            named.is_some_and(|name| name.stem().eq_ignore_ascii_case(stem))
                || pattern(stem).eq_ignore_ascii_case(&value)
        };
        Ok(listing
            .entries
            .iter()
            .find(matching)
            .map(|entry| entry.name.stem().to_owned()))
    }

    /// A damaged file of ours with that stem: it may be removed, and is never the known-good one.
    fn remove_damaged(&self, stem: &str) -> Outcome<()> {
        for name in self
            .list()?
            .damaged
            .iter()
            .filter(|name| name.stem() == stem)
        {
            self.volume.remove(&entries::path(name))?;
        }
        Ok(())
    }

    /// Turns the staged image into an entry, if it still is what it should be.
    fn make_entry(&self, uki: &Digest, name: &EntryName) -> Outcome<()> {
        let staged = staged::path(uki);
        let Some(image) = staged::Image::open(&self.volume, &staged)? else {
            return Err(Failure::new(
                Code::EntryMissing,
                name.stem(),
                "its image was not staged",
            ));
        };
        // Whoever wrote it may have been cut before it was durable: a name must never get to the
        // medium before the content that it names.
        image.settle(&self.volume, &staged)?;
        let found = self.volume.digest(&staged)?;
        if found != *uki {
            let cause = format!("its staged image reads back as {found}");
            return Err(Failure::new(Code::ReadBackMismatch, name.stem(), cause));
        }
        let keys = match &self.firmware {
            Some(variables) => secure_boot::Keys::read(variables)?,
            None => None,
        };
        if let Some(keys) = keys {
            keys.check(name.stem(), &image)?;
        }
        staged::make_bootable(&self.volume, &staged, &entries::path(name), uki)?;
        self.volume.remove(&staged)
    }

    /// Gives a counted entry its uncounted name without a moment in which it has none, by a copy: this may be
    /// the only entry there is.
    fn copy_as_blessed(&self, entry: &Entry) -> Outcome<()> {
        let blessed = entries::path(&entry.name.bless_name());
        // A power cut may have left the blessed name without its content.
        self.remove_damaged(entry.name.stem())?;
        match staged::make_bootable(&self.volume, &entry.path(), &blessed, &entry.uki) {
            // No room for a copy. To stay counted is worse than the risk of one torn rename: the
            // tries of a good system would run out.
            Err(failure) if failure.code == Code::EspFull => {
                self.volume.remove(&blessed)?;
                self.volume.rename(&entry.path(), &blessed)
            }
            copied => copied,
        }
    }

    /// Takes back that the initramfs may go to `stem` by itself.
    fn disallow(&self, root: &Digest) -> Outcome<()> {
        let record = attempts::read(&self.volume)?;
        match &record.allowed {
            Some(allowed) if allowed.root == *root => {
                attempts::write(&self.volume, &record.clone().allowing(None))
            }
            _ => Ok(()),
        }
    }

    /// What the loader says of itself, and the revocation level of its file.
    fn identity(&self) -> Outcome<LoaderIdentity> {
        if let Some(known) = self.identity.get() {
            return Ok(known.clone());
        }
        let found = LoaderIdentity {
            name: self.loader_info()?,
            sbat: sbat::of_loader(&self.volume)?,
        };
        Ok(self.identity.get_or_init(|| found).clone())
    }

    fn loader_info(&self) -> Outcome<String> {
        Ok(self.vars.get(vars::INFO)?.unwrap_or_default())
    }
}

/// Blessed before counted, fewer tries before more.
fn rank(entry: &Entry) -> (u32, u32) {
    entry.name.tries().map_or((0, 0), |tries| (1, tries.left))
}

/// What is written into loader variables: matches the entry with whatever counter it has then.
fn pattern(stem: &str) -> String {
    format!("{stem}*.efi")
}

fn observed(entry: &Entry) -> Option<EntryObserved> {
    let (version, _) = entry.name.release()?;
    Some(EntryObserved {
        stem: entry.name.stem().to_owned(),
        root_hash: entry.info.root_hash,
        uki: entry.uki,
        version,
        tries: entry.name.tries(),
    })
}

/// Entries as they are reported: of two files of one entry only the one that counts.
fn one_a_stem(files: &[Entry]) -> Vec<EntryObserved> {
    let counts = |file: &&Entry| {
        !files
            .iter()
            .any(|other| other.name.stem() == file.name.stem() && rank(other) < rank(file))
    };
    files.iter().filter(counts).filter_map(observed).collect()
}

impl Bootloader for SdBoot {
    fn observe(&self) -> Outcome<LoaderObserved> {
        let listing = self.list()?;
        let system = self.system.observe()?;
        let running = system.root_hash;
        let booted = self.stem_in(vars::SELECTED, &listing)?;
        let entries = one_a_stem(&listing.entries);
        let record = attempts::read(&self.volume)?;
        let booted_entry = entries
            .iter()
            .find(|entry| Some(&entry.stem) == booted.as_ref());
        Ok(LoaderObserved {
            counting: counting::judge(&*self.notes, &self.loader_info()?, booted_entry)?,
            pinned: self.stem_in(vars::DEFAULT, &listing)?,
            one_shot: self.stem_in(vars::ONE_SHOT, &listing)?,
            booted,
            entries,
            tries_granted: TRIES_GRANTED,
            free: self.volume.free()?,
            starts_without_health: u32::from(record.starts_of(&running)),
            abandoned: record.abandoned(),
            identity: self.identity()?,
            remains: self.remains.find(&self.volume, &system),
            unclean: self.unclean,
        })
    }

    fn image(&self, uki: &Digest) -> Outcome<Option<Box<dyn ReadAt>>> {
        let boxed = |image: staged::Image| -> Box<dyn ReadAt> { Box::new(image) };
        if let Some(image) = staged::Image::open(&self.volume, &staged::path(uki))? {
            return Ok(Some(boxed(image)));
        }
        let entry = self
            .list()?
            .entries
            .into_iter()
            .find(|entry| entry.uki == *uki);
        match entry {
            Some(entry) => Ok(staged::Image::open(&self.volume, &entry.path())?.map(boxed)),
            None => Ok(None),
        }
    }

    fn stage_image(&self, uki: &Digest, size: u64) -> Outcome<Box<dyn ImageWriter>> {
        self.volume.check_writable()?;
        self.volume.remove(&staged::path(uki))?;
        let free = self.volume.free()?;
        // The staged image and the entry that is made of it.
        if free < size.saturating_mul(2).saturating_add(RESERVE) {
            let cause = format!(
                "{free} bytes are free, twice a boot image of {size} and {RESERVE} in reserve are needed"
            );
            return Err(Failure::new(
                Code::EspFull,
                self.volume.path("").display().to_string(),
                cause,
            ));
        }
        Ok(Box::new(staged::Writer::start(&self.volume, uki, size)?))
    }

    fn arm(&self, version: &Version, uki: &Digest, how: Arming) -> Outcome<()> {
        self.volume.check_writable()?;
        let (Arming::Counted { tries } | Arming::OneShot { tries }) = how;
        let name = EntryName::for_release(version, uki).on_trial(tries.clamp(1, TRIES_GRANTED));
        let stem = name.stem();
        self.reader.forget(&*self.notes, stem)?;
        self.remove_damaged(stem)?;
        match self.find(stem)? {
            // It is there and whole: this is a repetition. Its counter stays, tries only fall.
            Some(_) => {}
            None => self.make_entry(uki, &name)?,
        }
        let request = matches!(how, Arming::OneShot { .. }).then(|| pattern(stem));
        if request != self.vars.get(vars::ONE_SHOT)? {
            self.vars.set(vars::ONE_SHOT, request.as_deref())?;
        }
        Ok(())
    }

    fn remove(&self, stem: &str) -> Outcome<()> {
        let listing = self.list()?;
        let running = self.system.observe()?.root_hash;
        let same: Vec<&Entry> = listing
            .entries
            .iter()
            .filter(|entry| entry.name.stem() == stem)
            .collect();
        if same
            .iter()
            .any(|entry| entry.name.tries().is_none() && entry.info.root_hash == running)
        {
            let cause = "is the entry that runs and is known to be good";
            return Err(Failure::new(Code::SlotIsBooted, stem, cause));
        }
        for entry in same {
            self.disallow(&entry.info.root_hash)?;
            self.volume.remove(&entry.path())?;
        }
        self.remove_damaged(stem)
    }

    fn bless(&self, stem: &str) -> Outcome<()> {
        let first = self.required(stem)?;
        if first.name.tries().is_some() {
            self.copy_as_blessed(&first)?;
        }
        for counted in self
            .files_of(stem)?
            .into_iter()
            .filter(|file| file.name.tries().is_some())
        {
            self.volume.remove(&counted.path())?;
        }
        Ok(())
    }

    fn pin(&self, stem: Option<&str>) -> Outcome<()> {
        let wanted = match stem {
            Some(stem) => {
                self.reader.forget(&*self.notes, stem)?;
                Some(pattern(self.required(stem)?.name.stem()))
            }
            None => None,
        };
        if wanted == self.vars.get(vars::DEFAULT)? {
            return Ok(());
        }
        self.vars.set(vars::DEFAULT, wanted.as_deref())
    }

    /// Health also settles where the initramfs may go by itself, should this system go bad later:
    /// to the other entry, if that is blessed. Entries of denied and revoked releases are removed
    /// from the ESP, and removing one takes the permission back.
    fn clear_attempts(&self) -> Outcome<()> {
        let system = self.system.observe()?;
        let running = system.root_hash;
        let blessed_other = || -> Outcome<Option<Entry>> {
            let is_other =
                |entry: &Entry| entry.name.tries().is_none() && entry.info.root_hash != running;
            Ok(self.list()?.entries.into_iter().find(is_other))
        };
        // What the initramfs is allowed to rely upon is read as it lies there now.
        if let Some(entry) = blessed_other()? {
            self.reader.forget(&*self.notes, entry.name.stem())?;
        }
        let other = blessed_other()?;
        let record = attempts::read(&self.volume)?;
        let tired = other
            .as_ref()
            .is_some_and(|entry| record.abandoned() == Some(entry.info.root_hash));
        let allowed = other.filter(|_| !tired).map(|entry| Allowed {
            root: entry.info.root_hash,
            entry: entry.name,
        });
        attempts::write(&self.volume, &record.healthy(&running).allowing(allowed))?;
        stage::reached(&self.volume, &system, Stage::Healthy)
    }

    fn sweep(&self, keep: &[Digest]) -> Outcome<()> {
        for file_name in self.volume.list(FOLDER)? {
            if staged::digest_of(&file_name).is_some_and(|uki| !keep.contains(&uki)) {
                self.volume.remove(&format!("{FOLDER}/{file_name}"))?;
            }
        }
        for name in self.list()?.damaged {
            self.volume.remove(&entries::path(&name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
