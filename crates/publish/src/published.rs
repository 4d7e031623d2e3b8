//! What is published now, read back as the starting point of every change.
//!
//! Only what `timestamp.json` reaches counts: role files beyond it are left-overs of a publication
//! that did not finish.

use std::collections::BTreeMap;

use twinroot_trust::digest::Digest;

use crate::documents::{Document, Envelope, Root, Snapshot, SnapshotEntry, Targets, Timestamp};
use crate::error::{Error, Result};
use crate::files;
use crate::layout::Layout;

/// A published role: its document, its signatures, and the entry that pins its file.
#[derive(Debug, Clone)]
pub struct Role<D> {
    /// The content.
    pub document: D,
    /// The file's content with signatures.
    pub envelope: Envelope,
    /// Version, length and digest of the file.
    pub entry: SnapshotEntry,
}

/// All roles as clients see them.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The newest root; none before the first publication.
    pub root: Option<Role<Root>>,
    /// The timestamp; none before the first publication.
    pub timestamp: Option<Role<Timestamp>>,
    /// The snapshot that the timestamp names.
    pub snapshot: Option<Role<Snapshot>>,
    /// `targets` and every delegated role, by name.
    pub targets: BTreeMap<String, Role<Targets>>,
}

impl Published {
    /// Reads the published metadata.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a file that is named is missing, differs or cannot be read.
    pub fn load(layout: &Layout) -> Result<Self> {
        let mut published = Self {
            root: load_newest_root(layout)?,
            ..Self::default()
        };
        let path = layout.metadata().join("timestamp.json");
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(published);
        };
        let timestamp: Role<Timestamp> = read_role(&path.display().to_string(), &bytes)?;
        let snapshot: Role<Snapshot> =
            load_pinned(layout, "snapshot", &timestamp.document.snapshot)?;
        for (role, entry) in &snapshot.document.meta {
            published
                .targets
                .insert(role.clone(), load_pinned(layout, role, entry)?);
        }
        published.timestamp = Some(timestamp);
        published.snapshot = Some(snapshot);
        Ok(published)
    }

    /// The version of a role as published; 0 when it is not.
    pub fn version(&self, role: &str) -> u64 {
        match role {
            "root" => self.root.as_ref().map_or(0, |role| role.entry.version),
            "snapshot" => self.snapshot.as_ref().map_or(0, |role| role.entry.version),
            "timestamp" => self.timestamp.as_ref().map_or(0, |role| role.entry.version),
            other => self.targets.get(other).map_or(0, |role| role.entry.version),
        }
    }
}

/// The highest version of a role that has a file, published or left over. New versions go above
/// it: a cache between us and the nodes may hold a left-over for ever.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be listed.
pub fn highest_version_on_disk(layout: &Layout, role: &str) -> Result<u64> {
    let suffix = format!(".{role}.json");
    let versions = files::list(&layout.metadata())?;
    let numbers = versions
        .iter()
        .filter_map(|name| name.strip_suffix(&suffix)?.parse().ok());
    Ok(numbers.max().unwrap_or(0))
}

fn load_newest_root(layout: &Layout) -> Result<Option<Role<Root>>> {
    let version = highest_version_on_disk(layout, "root")?;
    if version == 0 {
        return Ok(None);
    }
    let path = layout.metadata().join(Layout::role_file("root", version));
    read_role(&path.display().to_string(), &files::read(&path)?).map(Some)
}

fn load_pinned<D: Document>(layout: &Layout, role: &str, entry: &SnapshotEntry) -> Result<Role<D>> {
    let path = layout
        .metadata()
        .join(Layout::role_file(role, entry.version));
    let thing = path.display().to_string();
    let Some(bytes) = files::read_if_there(&path)? else {
        return Err(Error::damaged(
            thing,
            "published metadata names it and it is not there",
        ));
    };
    if Digest::of(&bytes) != entry.digest {
        return Err(Error::damaged(
            thing,
            format!("its digest is not {}", entry.digest),
        ));
    }
    let read: Role<D> = read_role(&thing, &bytes)?;
    match read.document.version() == entry.version {
        true => Ok(read),
        false => Err(Error::damaged(
            thing,
            format!("it holds version {}", read.document.version()),
        )),
    }
}

fn read_role<D: Document>(thing: &str, bytes: &[u8]) -> Result<Role<D>> {
    let damaged = |why: String| Error::damaged(thing, why);
    let envelope = Envelope::parse(bytes).map_err(damaged)?;
    let document: D = envelope.document().map_err(damaged)?;
    let entry = SnapshotEntry::of(document.version(), bytes);
    Ok(Role {
        document,
        envelope,
        entry,
    })
}
