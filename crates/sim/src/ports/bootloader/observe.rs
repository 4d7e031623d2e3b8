//! What is on the EFI system partition, and what that means to the loader.

use twinroot_core::bootfmt::attempt::{Allowed, FILE};
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::menu;
use twinroot_core::bootfmt::pe::read_uki;
use twinroot_core::facts::{Counting, EntryObserved, LoaderIdentity, LoaderObserved, Tries};
use twinroot_payload::io::Fault;
use twinroot_trust::digest::Digest;

use super::COUNTING;
use crate::boot::{ATTEMPTS, DEFAULT, ONE_SHOT, SELECTED};
use crate::world::Machine;

/// More than any policy asks for.
const TRIES_GRANTED: u32 = 9;

impl Machine {
    pub(super) fn entries(&self) -> Vec<EntryName> {
        let names = self.esp.names().into_iter();
        names
            .filter_map(|name| EntryName::parse(&name).ok())
            .filter(EntryName::is_ours)
            .collect()
    }

    /// The other slot's entry, where it is blessed and the slot still claims its root: where the
    /// initramfs may go when the running system goes bad.
    pub(super) fn other_good(&self) -> Option<Allowed> {
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

    pub(super) fn observe_loader(&self) -> LoaderObserved {
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
            // The model is none of the known ones.
            identity: LoaderIdentity::default(),
            // The model's starts leave no words behind.
            remains: Vec::new(),
            unclean: false,
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
        self.esp.append(ATTEMPTS, &[0; FILE])?;
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
