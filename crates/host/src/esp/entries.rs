//! Which entries of ours are on the ESP, and whether each is what its name says.
//!
//! A name is content-addressed, so a UKI whose digest does not begin as its name says is damaged
//! (FAT corruption, bit rot, a torn copy). It is not reported as an entry: nobody may count on it.
//!
//! Digests are remembered by name, size and time of change, over restarts too: a start must not read tens of
//! megabytes before anything asks for them. What is relied upon is digested again where it matters: before
//! arming and blessing, by `verify`, and before the initramfs is allowed to go to an entry by itself.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::{LoaderEntry, LoaderState, menu};
use twinroot_core::bootfmt::pe::{self, UkiInfo};
use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_ports::{Outcome, Store};
use twinroot_trust::digest::Digest;

use super::staged::Image;
use super::volume::{Volume, esp_failure};

/// Where systemd-boot looks for UKIs (Boot Loader Specification, type 2).
pub const FOLDER: &str = "EFI/Linux";

/// A UKI that is larger is not read: the largest known are about 150 MB with all firmware inside.
const LARGEST: u64 = 512 * 1024 * 1024;

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// One whole entry of ours.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its file name.
    pub name: EntryName,
    /// Digest of the file's content.
    pub uki: Digest,
    /// What the file says of itself.
    pub info: UkiInfo,
}

impl Entry {
    /// Path on the ESP.
    #[must_use]
    pub fn path(&self) -> String {
        path(&self.name)
    }
}

/// Path on the ESP of an entry with that name.
#[must_use]
pub fn path(name: &EntryName) -> String {
    format!("{FOLDER}/{}", name.file_name())
}

/// Everything in the folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Whole entries of ours, in the loader's order.
    pub entries: Vec<Entry>,
    /// Names of ours whose content is not what the name says.
    pub damaged: Vec<EntryName>,
}

/// A file that has not changed since it was digested. FAT has no lasting numbers of files, and the loader
/// renames an entry at each counted start; the name without its counter stays.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Stamp {
    stem: String,
    size: u64,
    changed: (i64, i64),
}

/// Where digests are kept over restarts of the program.
const RECORD: &str = "boot-images.json";

/// What is kept of a file. Damage to it costs a digest that is computed again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    file: Stamp,
    uki: Digest,
}

/// Reads entries; remembers what it has digested, as a UKI has tens of megabytes.
#[derive(Debug, Default)]
pub struct Reader {
    known: Mutex<HashMap<Stamp, Option<(Digest, UkiInfo)>>>,
    kept: Mutex<Option<Vec<Kept>>>,
}

impl Reader {
    /// Lists the entries of ours. Other systems' entries are not looked at. Digests are kept in `notes`.
    ///
    /// # Errors
    /// What the operating system says of a folder or file that cannot be read.
    pub fn list(&self, volume: &Volume, notes: &dyn Store) -> Outcome<Listing> {
        let mut listing = Listing::default();
        let mut kept = Vec::new();
        let mut stamps = Vec::new();
        for file_name in volume.list(FOLDER)? {
            let Some(name) = EntryName::parse(&file_name).ok().filter(EntryName::is_ours) else {
                continue;
            };
            let file = stamp(volume, &name)?;
            let content = self.content(volume, notes, &name, &file)?;
            stamps.push(file.clone());
            match content {
                Some((uki, info)) if name.names(&uki) => {
                    kept.push(Kept { file, uki });
                    listing.entries.push(Entry { name, uki, info });
                }
                _ => listing.damaged.push(name),
            }
        }
        locked(&self.known).retain(|stamp, _| stamps.contains(stamp));
        self.keep(notes, kept);
        listing.entries = in_loader_order(listing.entries);
        Ok(listing)
    }

    /// Forgets an entry's digest, so that the next look at it reads the whole file.
    ///
    /// # Errors
    /// What the store says.
    pub fn forget(&self, notes: &dyn Store, stem: &str) -> Outcome<()> {
        locked(&self.known).retain(|stamp, _| stamp.stem != stem);
        let mut kept = self.kept(notes)?;
        kept.retain(|kept| kept.file.stem != stem);
        *locked(&self.kept) = Some(kept);
        Ok(())
    }

    /// Digest and description of a file, `None` where it is no UKI.
    fn content(
        &self,
        volume: &Volume,
        notes: &dyn Store,
        name: &EntryName,
        file: &Stamp,
    ) -> Outcome<Option<(Digest, UkiInfo)>> {
        if let Some(content) = locked(&self.known).get(file) {
            return Ok(content.clone());
        }
        let kept = self.kept(notes)?;
        let kept = kept.iter().find(|kept| kept.file == *file);
        let content = match kept {
            Some(kept) => read_info(volume, &path(name))?.map(|info| (kept.uki, info)),
            None => read_uki(volume, &path(name))?,
        };
        locked(&self.known).insert(file.clone(), content.clone());
        Ok(content)
    }

    fn kept(&self, notes: &dyn Store) -> Outcome<Vec<Kept>> {
        if let Some(kept) = &*locked(&self.kept) {
            return Ok(kept.clone());
        }
        let bytes = notes.read(RECORD)?;
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
    }

    /// Writes down what is known where it has changed. A note that cannot be written costs time only.
    fn keep(&self, notes: &dyn Store, new: Vec<Kept>) {
        let written = self.kept(notes).and_then(|old| {
            let same = |one: &Kept, other: &Kept| one.file == other.file && one.uki == other.uki;
            let all = |from: &[Kept], of: &[Kept]| {
                from.iter()
                    .all(|one| of.iter().any(|other| same(one, other)))
            };
            if all(&old, &new) && all(&new, &old) {
                return Ok(());
            }
            let bytes = serde_json::to_vec(&new)
                .map_err(|error| Failure::new(Code::Internal, RECORD, error.to_string()))?;
            notes.write(RECORD, &bytes)
        });
        if let Err(failure) = written {
            tracing::debug!(%failure, "digests of boot images are not kept");
        }
        *locked(&self.kept) = Some(new);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp(volume: &Volume, name: &EntryName) -> Outcome<Stamp> {
    let file = volume.path(&path(name));
    let meta = std::fs::symlink_metadata(&file).map_err(|e| esp_failure(&file, "look at", &e))?;
    Ok(Stamp {
        stem: String::from(name.stem()),
        size: meta.len(),
        changed: (meta.mtime(), meta.mtime_nsec()),
    })
}

/// Description of a UKI file by its headers; `None` where it is none.
fn read_info(volume: &Volume, name: &str) -> Outcome<Option<UkiInfo>> {
    let Some(image) = Image::open(volume, name)? else {
        return Ok(None);
    };
    match pe::read_uki_from(name, &image) {
        Err(failure) if failure.code == Code::FileIo => Err(failure),
        read => Ok(read.ok()),
    }
}

/// Digest and description of a UKI file; `None` where it is none.
///
/// # Errors
/// What the operating system says of a file that cannot be read.
pub fn read_uki(volume: &Volume, name: &str) -> Outcome<Option<(Digest, UkiInfo)>> {
    let image = Image::open(volume, name)?
        .ok_or_else(|| Failure::new(Code::EntryMissing, name, "has gone while it was looked at"))?;
    let path = volume.path(name);
    let failed =
        |fault: Fault| Failure::new(Code::FileIo, path.display().to_string(), fault.message);
    let size = image.len().map_err(failed)?;
    if size > LARGEST {
        return Ok(None);
    }
    let info = match pe::read_uki_from(name, &image) {
        Err(failure) if failure.code == Code::FileIo => return Err(failure),
        Err(_) => return Ok(None),
        Ok(info) => info,
    };
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    while offset < size {
        let left = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        image.read_at(offset, &mut piece[..left]).map_err(failed)?;
        hash.update(&piece[..left]);
        offset += left as u64;
    }
    Ok(Some((Digest::from_bytes(hash.finalize().into()), info)))
}

/// What the loader reads of an entry.
#[must_use]
pub fn loader_entry(entry: &Entry) -> LoaderEntry {
    LoaderEntry {
        name: entry.name.clone(),
        sort_key: String::from(entry.info.os_release.sort_key()),
        version: String::from(entry.info.os_release.version()),
    }
}

fn in_loader_order(entries: Vec<Entry>) -> Vec<Entry> {
    let state = LoaderState {
        entries: entries.iter().map(loader_entry).collect(),
        ..LoaderState::default()
    };
    let order: Vec<&str> = menu(&state)
        .into_iter()
        .map(|entry| entry.name.file_name())
        .collect();
    let mut sorted = entries;
    sorted.sort_by_key(|entry| {
        order
            .iter()
            .position(|name| *name == entry.name.file_name())
    });
    sorted
}
