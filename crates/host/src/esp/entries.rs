//! Which entries of ours are on the ESP, and whether each is what its name says.
//!
//! A name is content-addressed, so a UKI whose digest does not begin as its name says is damaged
//! (FAT corruption, bit rot, a torn copy). It is not reported as an entry: nobody may count on it.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use sha2::{Digest as _, Sha256};
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::{LoaderEntry, LoaderState, menu};
use twinroot_core::bootfmt::pe::{self, UkiInfo};
use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_ports::Outcome;
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

/// A file that has not changed since it was digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Reads entries; remembers what it has digested, as a UKI has tens of megabytes.
#[derive(Debug, Default)]
pub struct Reader {
    known: Mutex<HashMap<Stamp, Option<(Digest, UkiInfo)>>>,
}

impl Reader {
    /// Lists the entries of ours. Other systems' entries are not looked at.
    ///
    /// # Errors
    /// What the operating system says of a folder or file that cannot be read.
    pub fn list(&self, volume: &Volume) -> Outcome<Listing> {
        let mut listing = Listing::default();
        let mut stamps = Vec::new();
        for file_name in volume.list(FOLDER)? {
            let Some(name) = EntryName::parse(&file_name).ok().filter(EntryName::is_ours) else {
                continue;
            };
            let (stamp, content) = self.content(volume, &path(&name))?;
            stamps.push(stamp);
            match content {
                Some((uki, info)) if name.names(&uki) => {
                    listing.entries.push(Entry { name, uki, info })
                }
                _ => listing.damaged.push(name),
            }
        }
        let mut known = self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        known.retain(|stamp, _| stamps.contains(stamp));
        listing.entries = in_loader_order(listing.entries);
        Ok(listing)
    }

    /// Digest and description of a file, `None` where it is no UKI.
    fn content(&self, volume: &Volume, name: &str) -> Outcome<(Stamp, Option<(Digest, UkiInfo)>)> {
        let file = volume.path(name);
        let meta =
            std::fs::symlink_metadata(&file).map_err(|e| esp_failure(&file, "look at", &e))?;
        let stamp = Stamp {
            inode: meta.ino(),
            size: meta.len(),
            changed: (meta.mtime(), meta.mtime_nsec()),
        };
        let mut known = self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(content) = known.get(&stamp) {
            return Ok((stamp, content.clone()));
        }
        let content = read_uki(volume, name)?;
        known.insert(stamp, content.clone());
        Ok((stamp, content))
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
