//! The EFI system partition at the level on which FAT loses things: directory entries, cluster
//! chains and file sectors reach the medium one by one, in any order, and a rename is three updates: the new
//! name without content, the same with it, and the old name's end. A deletion is two: the name's end, and the
//! clusters given back.
//!
//! Kept simpler than the real thing, and said in `docs/crash-matrix.md`: one directory; a directory
//! entry with its long name lies within one sector; clusters that were freed are not given out again
//! before the deletion is durable.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash};

use twinroot_payload::io::Fault;

use super::sectors::Sectors;

/// A directory entry: where the file's clusters start (here: which body) and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    body: u32,
    size: u64,
}

/// One update of one directory sector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DirOp {
    /// A name that is empty.
    Put(String, Entry),
    /// Start and size of a file: the kernel writes them with the file, never with the directory.
    Fill(String, Entry),
    Delete(String),
    /// A body's clusters are given back: an update of the allocation table, not of the directory.
    Free(u32),
}

impl DirOp {
    /// It changes the place of that name in the directory.
    fn is_of(&self, name: &str) -> bool {
        matches!(self, Self::Put(of, _) | Self::Fill(of, _) | Self::Delete(of) if of == name)
    }

    fn apply(&self, dir: &mut BTreeMap<String, Entry>) {
        match self {
            Self::Put(name, entry) => {
                dir.insert(name.clone(), *entry);
            }
            // Without its name there is no place for it.
            Self::Fill(name, entry) => {
                dir.entry(name.clone())
                    .and_modify(|filled| *filled = *entry);
            }
            Self::Delete(name) => {
                dir.remove(name);
            }
            Self::Free(_) => {}
        }
    }
}

/// A file's clusters.
#[derive(Debug, Clone)]
struct Body {
    bytes: Sectors,
    /// Whether the cluster chain in the FAT is durable. Without it the file cannot be read.
    chained: bool,
    /// The chain was given back in part: what begins the file can be read, the whole of it cannot.
    freed: bool,
}

/// The directory of boot entries with everything in it.
#[derive(Debug, Clone)]
pub struct Fat {
    durable: BTreeMap<String, Entry>,
    pending: Vec<DirOp>,
    bodies: BTreeMap<u32, Body>,
    next: u32,
    capacity: u64,
    /// Mounted read-only: every change fails.
    pub read_only: bool,
    /// The next `sync` of whatever kind fails once and drops what was dirty.
    pub fail_next_sync: bool,
    /// Syncs say that they worked and do nothing: a planted fault.
    pub syncs_lie: bool,
}

impl Fat {
    /// An empty directory on a file system with `capacity` bytes for file contents.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self {
            durable: BTreeMap::new(),
            pending: Vec::new(),
            bodies: BTreeMap::new(),
            next: 0,
            capacity,
            read_only: false,
            fail_next_sync: false,
            syncs_lie: false,
        }
    }

    /// Names, as the running system sees them.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.view().into_keys().collect()
    }

    /// A file's bytes as the running system sees them; `None` where there is none or its cluster
    /// chain is lost.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let entry = *self.view().get(name)?;
        self.read_body(entry)
            .filter(|_| !self.bodies[&entry.body].freed)
    }

    /// The same, with what a deletion has given back in part: enough for a loader to list it.
    #[must_use]
    pub fn read_begin(&self, name: &str) -> Option<Vec<u8>> {
        self.read_body(*self.view().get(name)?)
    }

    fn read_body(&self, entry: Entry) -> Option<Vec<u8>> {
        let body = self.bodies.get(&entry.body)?;
        let mut bytes = vec![0; entry.size.min(body.bytes.len()) as usize];
        body.bytes.read(0, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Free bytes.
    #[must_use]
    pub fn free(&self) -> u64 {
        let used: u64 = self.view().values().map(|entry| entry.size).sum();
        self.capacity.saturating_sub(used)
    }

    /// Makes an empty file: one directory update. An old file of that name is gone from then on.
    ///
    /// # Errors
    /// A read-only file system.
    pub fn create(&mut self, name: &str) -> Result<(), Fault> {
        self.writable()?;
        let body = self.next;
        self.next += 1;
        self.bodies.insert(
            body,
            Body {
                bytes: Sectors::new(0, 0),
                chained: false,
                freed: false,
            },
        );
        self.pending
            .push(DirOp::Put(name.to_owned(), Entry { body, size: 0 }));
        Ok(())
    }

    /// Appends: the chain grows, the sectors are written, the directory entry gets its new size.
    ///
    /// # Errors
    /// A read-only or full file system, no such file.
    pub fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.writable()?;
        if self.free() < bytes.len() as u64 {
            return Err(Fault::disk("no space left on the EFI system partition"));
        }
        let entry = self.entry(name)?;
        let size = entry.size + bytes.len() as u64;
        let body = self.body(entry.body);
        body.chained = false;
        body.bytes.grow(size);
        body.bytes.write(entry.size, bytes)?;
        self.pending.push(DirOp::Fill(
            name.to_owned(),
            Entry {
                body: entry.body,
                size,
            },
        ));
        Ok(())
    }

    /// Overwrites bytes that are there already: no directory update, no new cluster.
    ///
    /// # Errors
    /// A read-only file system, no such file, past its end.
    pub fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.writable()?;
        let entry = self.entry(name)?;
        self.body(entry.body).bytes.write(offset, bytes)
    }

    /// Renames: the new name is made, gets its content, and the old one is deleted, each an update of its own.
    ///
    /// # Errors
    /// A read-only file system, no such file, a new name that is in use (`RENAME_NOREPLACE`).
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        self.writable()?;
        let entry = self.entry(from)?;
        if self.entry(to).is_ok() {
            return Err(Fault::disk(format!("{to}: exists already")));
        }
        let nothing = Entry {
            body: self.next,
            size: 0,
        };
        self.next += 1;
        self.pending.extend([
            DirOp::Put(to.to_owned(), nothing),
            DirOp::Fill(to.to_owned(), entry),
            DirOp::Delete(from.to_owned()),
        ]);
        Ok(())
    }

    /// Deletes; what is not there is fine. The clusters are given back, whoever else names them: a
    /// file that a torn rename left with two names is lost under both.
    ///
    /// # Errors
    /// A read-only file system.
    pub fn delete(&mut self, name: &str) -> Result<(), Fault> {
        self.writable()?;
        let view = self.view();
        if let Some(entry) = view.get(name) {
            self.pending.push(DirOp::Delete(name.to_owned()));
            let shared = view
                .values()
                .filter(|other| other.body == entry.body)
                .count()
                > 1;
            if shared {
                self.bodies.remove(&entry.body);
            } else {
                self.pending.push(DirOp::Free(entry.body));
            }
        }
        Ok(())
    }

    /// fsync of a file: sectors, cluster chain and its own directory entry.
    ///
    /// # Errors
    /// No such file, or an injected failure (what was dirty is lost).
    pub fn sync_file(&mut self, name: &str) -> Result<(), Fault> {
        let entry = self.entry(name)?;
        if !self.syncs()? {
            return Ok(());
        }
        let body = self.body(entry.body);
        body.bytes.flush()?;
        body.chained = true;
        self.settle_dir(|op| op.is_of(name));
        Ok(())
    }

    /// fsync of the directory: every name; neither what the files' inodes say nor the allocation table.
    ///
    /// # Errors
    /// An injected failure (what was dirty is lost).
    pub fn sync_dir(&mut self) -> Result<(), Fault> {
        if self.syncs()? {
            self.settle_dir(|op| matches!(op, DirOp::Put(..) | DirOp::Delete(_)));
        }
        Ok(())
    }

    /// syncfs: everything.
    ///
    /// # Errors
    /// An injected failure (what was dirty is lost).
    pub fn sync_all(&mut self) -> Result<(), Fault> {
        if self.syncs()? {
            for body in self.bodies.values_mut() {
                body.bytes.flush()?;
                body.chained = true;
            }
            self.settle_dir(|_| true);
            self.forget_unnamed();
        }
        Ok(())
    }

    /// Number of updates that a power cut may or may not keep.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        let bodies = self.bodies.values();
        let inside: usize = bodies
            .map(|b| b.bytes.unflushed() + usize::from(!b.chained))
            .sum();
        self.pending.len() + inside
    }

    /// The file system after a power cut that keeps the updates for which `keep` says so.
    #[must_use]
    pub fn after_cut(&self, keep: &mut dyn FnMut() -> bool) -> Self {
        let mut after = self.clone();
        (after.fail_next_sync, after.syncs_lie) = (false, false);
        after.pending.clear();
        for op in &self.pending {
            if keep() {
                after.settle_op(op);
            }
        }
        for body in after.bodies.values_mut() {
            body.bytes = body.bytes.after_cut(keep);
            body.chained = body.chained || keep();
        }
        // A file whose chain is lost reads as nothing; the entry stays, as it does on a real FAT.
        after.bodies.retain(|_, body| body.chained);
        after.forget_unnamed();
        after
    }

    /// Feeds what is durable into a hash: names, sizes and contents, not the numbers of bodies.
    pub fn fingerprint(&self, hasher: &mut DefaultHasher) {
        for (name, entry) in &self.durable {
            (name, entry.size).hash(hasher);
            match self.bodies.get(&entry.body) {
                Some(body) => {
                    body.freed.hash(hasher);
                    body.bytes.fingerprint(hasher);
                }
                None => 0_u8.hash(hasher),
            }
        }
    }

    fn view(&self) -> BTreeMap<String, Entry> {
        let mut dir = self.durable.clone();
        for op in &self.pending {
            op.apply(&mut dir);
        }
        dir
    }

    fn entry(&self, name: &str) -> Result<Entry, Fault> {
        let found = self.view().get(name).copied();
        found.ok_or_else(|| Fault::disk(format!("{name}: no such file")))
    }

    fn body(&mut self, number: u32) -> &mut Body {
        let empty = || Body {
            bytes: Sectors::new(0, 0),
            chained: false,
            freed: false,
        };
        self.bodies.entry(number).or_insert_with(empty)
    }

    fn writable(&self) -> Result<(), Fault> {
        if self.read_only {
            return Err(Fault::disk("the EFI system partition is read-only"));
        }
        Ok(())
    }

    /// Whether this sync does anything; an injected failure drops what is dirty.
    fn syncs(&mut self) -> Result<bool, Fault> {
        if std::mem::take(&mut self.fail_next_sync) {
            *self = self.after_cut(&mut || false);
            return Err(Fault::disk(
                "sync of the EFI system partition failed: injected error",
            ));
        }
        Ok(!self.syncs_lie)
    }

    fn settle_dir(&mut self, which: impl Fn(&DirOp) -> bool) {
        let (settled, kept) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(which);
        self.pending = kept;
        let settled: Vec<DirOp> = settled;
        for op in &settled {
            self.settle_op(op);
        }
    }

    fn settle_op(&mut self, op: &DirOp) {
        op.apply(&mut self.durable);
        if let DirOp::Free(body) = op
            && let Some(body) = self.bodies.get_mut(body)
        {
            body.freed = true;
        }
    }

    fn forget_unnamed(&mut self) {
        let named: Vec<u32> = self.view().values().map(|entry| entry.body).collect();
        let durable: Vec<u32> = self.durable.values().map(|entry| entry.body).collect();
        self.bodies
            .retain(|number, _| named.contains(number) || durable.contains(number));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn with_file(name: &str) -> Fat {
        let mut fat = Fat::new(1 << 20);
        fat.create(name).unwrap();
        fat.append(name, b"content").unwrap();
        fat.sync_all().unwrap();
        fat
    }

    fn outcomes(fat: &Fat) -> BTreeSet<Vec<String>> {
        let subsets = 1_u32 << fat.unflushed();
        let cut = |subset: u32| {
            let mut bit = 0;
            let after = fat.after_cut(&mut || {
                bit += 1;
                subset >> (bit - 1) & 1 == 1
            });
            after.names()
        };
        (0..subsets).map(cut).collect()
    }

    #[test]
    fn a_torn_rename_leaves_the_old_name_the_new_one_both_or_neither() {
        let mut fat = with_file("a");
        fat.rename("a", "b").unwrap();
        let seen = outcomes(&fat);
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let wanted = [names(&[]), names(&["a"]), names(&["a", "b"]), names(&["b"])];
        assert_eq!(seen, BTreeSet::from(wanted));
    }

    /// As Linux does it, seen on a recorded disk.
    #[test]
    fn fsync_of_the_folder_alone_leaves_a_renamed_file_without_content_and_fsync_of_the_file_does_not()
     {
        let mut fat = with_file("a");
        fat.rename("a", "b").unwrap();
        let mut careful = fat.clone();
        fat.sync_dir().unwrap();
        let after = fat.after_cut(&mut || false);
        assert_eq!(
            (after.names(), after.read("b")),
            (vec!["b".to_owned()], None)
        );
        careful.sync_file("b").unwrap();
        let after = careful.after_cut(&mut || false);
        for name in ["a", "b"] {
            assert_eq!(after.read(name).unwrap(), b"content", "{name}");
        }
        careful.sync_dir().unwrap();
        let after = careful.after_cut(&mut || false);
        assert_eq!(after.read("b").unwrap(), b"content");
    }

    #[test]
    fn deleting_one_of_two_names_that_a_torn_rename_left_loses_the_file_under_both() {
        let mut fat = with_file("a");
        fat.rename("a", "b").unwrap();
        // All but the end of the old name.
        let mut kept = 0;
        let mut after = fat.after_cut(&mut || {
            kept += 1;
            kept <= 2
        });
        assert_eq!(after.read("a"), after.read("b"));
        after.delete("a").unwrap();
        assert_eq!(after.read("b"), None);
    }

    #[test]
    fn a_synced_rename_is_over() {
        let mut fat = with_file("a");
        fat.rename("a", "b").unwrap();
        fat.sync_all().unwrap();
        assert_eq!(outcomes(&fat), BTreeSet::from([vec!["b".to_owned()]]));
        assert_eq!(fat.after_cut(&mut || false).read("b").unwrap(), b"content");
    }

    #[test]
    fn a_file_whose_chain_was_lost_has_a_name_and_no_content() {
        let mut fat = Fat::new(1 << 20);
        fat.create("a").unwrap();
        fat.append("a", b"content").unwrap();
        let mut updates = 0;
        let after = fat.after_cut(&mut || {
            updates += 1;
            updates <= 2
        });
        assert_eq!(after.names(), ["a"]);
        assert_eq!(after.read("a"), None);
    }

    #[test]
    fn a_full_or_read_only_file_system_refuses_and_keeps_what_it_has() {
        let mut fat = Fat::new(10);
        fat.create("a").unwrap();
        fat.append("a", &[1; 11]).unwrap_err();
        fat.append("a", &[1; 10]).unwrap();
        fat.sync_all().unwrap();
        fat.read_only = true;
        fat.delete("a").unwrap_err();
        assert_eq!(fat.after_cut(&mut || true).read("a").unwrap(), [1; 10]);
    }

    #[test]
    fn a_failed_sync_drops_what_was_dirty_and_says_so_once() {
        let mut fat = with_file("a");
        fat.rename("a", "b").unwrap();
        fat.fail_next_sync = true;
        fat.sync_all().unwrap_err();
        fat.sync_all().unwrap();
        assert_eq!(fat.names(), ["a"]);
    }
}
