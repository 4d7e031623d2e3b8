//! The file system of the state partition: journalled, so that its names never tear, but a name may
//! reach the disk before the bytes it stands for.
//!
//! What a cut keeps: a prefix of the name changes (the journal is written in order), and of each file
//! that was not fsynced nothing, a part, or all. fsync of a file makes its bytes durable and not its
//! name; fsync of the directory makes the names durable. Weaker than ext4 and XFS promise, so what
//! holds here holds there.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use twinroot_payload::io::Fault;

/// One change of names.
#[derive(Debug, Clone)]
enum NameOp {
    Link(String, u32),
    Rename(String, String),
    Unlink(String),
}

impl NameOp {
    fn apply(&self, names: &mut BTreeMap<String, u32>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
        }
    }
}

/// A file's content with its hash, so that hashing a file system costs one word a file.
#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    hash: u64,
}

impl Content {
    fn new(bytes: &[u8]) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Arc::new(Self {
            bytes: bytes.to_vec(),
            hash: hasher.finish(),
        })
    }
}

#[derive(Debug, Clone)]
struct Inode {
    durable: Arc<Content>,
    /// Content that was written and not fsynced.
    dirty: Option<Arc<Content>>,
}

/// Small files with their names.
#[derive(Debug, Clone)]
pub struct Journal {
    names: BTreeMap<String, u32>,
    pending: Vec<NameOp>,
    inodes: BTreeMap<u32, Inode>,
    next: u32,
    /// Bytes that all files together may have.
    pub capacity: u64,
    /// The next fsync fails once and what was dirty is lost.
    pub fail_next_sync: bool,
    /// fsyncs of files say that they worked and do nothing: a planted fault.
    pub file_syncs_lie: bool,
    /// fsyncs of the directory say that they worked and do nothing: a planted fault.
    pub dir_syncs_lie: bool,
}

/// The choice that a power cut makes for the state partition.
pub trait Survival {
    /// How many of `pending` name changes, from the first, are on the disk.
    fn prefix(&mut self, pending: usize) -> usize;
    /// Whether an update is on the disk.
    fn keep(&mut self) -> bool;
}

impl Journal {
    /// An empty file system for `capacity` bytes.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self {
            names: BTreeMap::new(),
            pending: Vec::new(),
            inodes: BTreeMap::new(),
            next: 0,
            capacity,
            fail_next_sync: false,
            file_syncs_lie: false,
            dir_syncs_lie: false,
        }
    }

    /// Names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.view().into_keys().collect()
    }

    /// A file's bytes as the running system sees them.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let inode = self.inodes.get(self.view().get(name)?)?;
        Some(inode.dirty.as_ref().unwrap_or(&inode.durable).bytes.clone())
    }

    /// Makes (or empties) a file.
    pub fn create(&mut self, name: &str) {
        let inode = self.next;
        self.next += 1;
        self.inodes.insert(
            inode,
            Inode {
                durable: Content::new(&[]),
                dirty: None,
            },
        );
        self.pending.push(NameOp::Link(name.to_owned(), inode));
    }

    /// Writes a file's whole content into the cache.
    ///
    /// # Errors
    /// No such file, or no space.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let used: usize = self
            .view()
            .keys()
            .filter_map(|n| self.read(n))
            .map(|b| b.len())
            .sum();
        if (used + bytes.len()) as u64 > self.capacity {
            return Err(Fault::disk(format!(
                "{name}: no space left on the state partition"
            )));
        }
        self.inode(name)?.dirty = Some(Content::new(bytes));
        Ok(())
    }

    /// Makes a file's bytes durable, not its name.
    ///
    /// # Errors
    /// No such file, or an injected failure.
    pub fn sync_file(&mut self, name: &str) -> Result<(), Fault> {
        let (fails, lies) = (
            std::mem::take(&mut self.fail_next_sync),
            self.file_syncs_lie,
        );
        let inode = self.inode(name)?;
        if fails {
            inode.dirty = None;
            return Err(Fault::disk(format!("{name}: sync failed: injected error")));
        }
        if let (Some(dirty), false) = (&inode.dirty, lies) {
            inode.durable = dirty.clone();
            inode.dirty = None;
        }
        Ok(())
    }

    /// Renames over whatever has the new name.
    pub fn rename(&mut self, from: &str, to: &str) {
        self.pending
            .push(NameOp::Rename(from.to_owned(), to.to_owned()));
    }

    /// Deletes.
    pub fn unlink(&mut self, name: &str) {
        self.pending.push(NameOp::Unlink(name.to_owned()));
    }

    /// Makes all name changes durable.
    pub fn sync_dir(&mut self) {
        if !self.dir_syncs_lie {
            for op in std::mem::take(&mut self.pending) {
                op.apply(&mut self.names);
            }
            let named: Vec<u32> = self.names.values().copied().collect();
            self.inodes.retain(|inode, _| named.contains(inode));
        }
    }

    /// Number of name changes and of dirty files that a power cut decides about.
    #[must_use]
    pub fn unflushed(&self) -> (usize, usize) {
        (
            self.pending.len(),
            self.inodes.values().filter(|i| i.dirty.is_some()).count(),
        )
    }

    /// The file system after a power cut.
    #[must_use]
    pub fn after_cut(&self, survival: &mut dyn Survival) -> Self {
        let mut after = self.clone();
        (
            after.fail_next_sync,
            after.file_syncs_lie,
            after.dir_syncs_lie,
        ) = (false, false, false);
        let kept = if self.pending.is_empty() {
            0
        } else {
            survival.prefix(self.pending.len())
        };
        for op in &self.pending[..kept] {
            op.apply(&mut after.names);
        }
        after.pending.clear();
        for inode in after.inodes.values_mut() {
            let Some(dirty) = inode.dirty.take() else {
                continue;
            };
            let (some, all) = (survival.keep(), survival.keep());
            if some && all {
                inode.durable = dirty;
            } else if some {
                inode.durable = Content::new(&dirty.bytes[..dirty.bytes.len() / 2]);
            }
        }
        let named: Vec<u32> = after.names.values().copied().collect();
        after.inodes.retain(|inode, _| named.contains(inode));
        after
    }

    /// Feeds what is durable into a hash, but for the files whose names begin with `without`.
    pub fn fingerprint(&self, hasher: &mut DefaultHasher, without: Option<&str>) {
        let left_out = |name: &str| without.is_some_and(|prefix| name.starts_with(prefix));
        for (name, inode) in self.names.iter().filter(|(name, _)| !left_out(name)) {
            name.hash(hasher);
            self.inodes.get(inode).map(|i| i.durable.hash).hash(hasher);
        }
    }

    fn view(&self) -> BTreeMap<String, u32> {
        let mut names = self.names.clone();
        for op in &self.pending {
            op.apply(&mut names);
        }
        names
    }

    fn inode(&mut self, name: &str) -> Result<&mut Inode, Fault> {
        let found = self.view().get(name).copied();
        let found = found.and_then(|number| self.inodes.get_mut(&number));
        found.ok_or_else(|| Fault::disk(format!("{name}: no such file")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Keep(usize, bool);

    impl Survival for Keep {
        fn prefix(&mut self, pending: usize) -> usize {
            self.0.min(pending)
        }
        fn keep(&mut self) -> bool {
            self.1
        }
    }

    fn with_file() -> Journal {
        let mut files = Journal::new(1 << 20);
        files.create("a");
        files.write("a", b"old").unwrap();
        files.sync_file("a").unwrap();
        files.sync_dir();
        files
    }

    #[test]
    fn a_rename_without_an_fsync_before_it_may_leave_an_empty_file() {
        let mut files = with_file();
        files.create("t");
        files.write("t", b"new").unwrap();
        files.rename("t", "a");
        let after = files.after_cut(&mut Keep(2, false));
        assert_eq!(after.read("a").unwrap(), b"");
    }

    #[test]
    fn a_rename_is_old_or_new_and_durable_only_after_the_directory_was_synced() {
        let mut files = with_file();
        files.create("t");
        files.write("t", b"new").unwrap();
        files.sync_file("t").unwrap();
        files.rename("t", "a");
        let read = |files: &Journal, names| files.after_cut(&mut Keep(names, false)).read("a");
        assert_eq!(read(&files, 1).unwrap(), b"old");
        assert_eq!(read(&files, 2).unwrap(), b"new");
        files.sync_dir();
        assert_eq!(read(&files, 0).unwrap(), b"new");
    }
}
