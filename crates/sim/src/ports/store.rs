//! Small blobs on the simulated state partition, by the same steps as the real store: temporary file
//! in the same folder, write, fsync, rename, fsync of the folder.

use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Outcome, Store};

use super::failed;
use crate::plant::Plant;
use crate::world::World;

/// `#` cannot stand in a blob's name, so a leftover is never taken for a blob.
const TEMPORARY: &str = "#new";

/// Longest file name of every file system that the state may lie on.
const NAME_MAX: usize = 255;

impl Store for World {
    fn read(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        check(name)?;
        self.effect("store: read", |m| Ok(m.files.read(name)))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Outcome<()> {
        check(name)?;
        let refused = || failed(Code::StateUnwritable, name);
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let temporary = &format!("{folder}/{TEMPORARY}");
        if self.planted(Plant::StoreInPlace) {
            self.effect("store: create", |m| m.files.create(name));
            let written = self.effect("store: write", |m| m.files.write(name, bytes));
            return written.map_err(refused());
        }
        self.effect("store: create", |m| m.files.create(temporary));
        let lazy = self.planted(Plant::StoreFileSync);
        let sync = || match lazy {
            true => Ok(()),
            false => self.effect("store: fsync", |m| m.files.sync_file(temporary)),
        };
        let written = self.effect("store: write", |m| m.files.write(temporary, bytes));
        if let Err(fault) = written.and_then(|()| sync()) {
            self.effect("store: drop temporary", |m| m.files.unlink(temporary));
            return Err(refused()(fault));
        }
        self.effect("store: rename", |m| m.files.rename(temporary, name));
        if !self.planted(Plant::StoreFolderSync) {
            self.effect("store: fsync folder", |m| m.files.sync_dir());
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Outcome<()> {
        check(name)?;
        let there = self.effect("store: unlink", |m| {
            let there = m.files.read(name).is_some();
            if there {
                m.files.unlink(name);
            }
            there
        });
        if there {
            self.effect("store: fsync folder", |m| m.files.sync_dir());
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> Outcome<Vec<String>> {
        if !prefix.is_empty() {
            check(prefix)?;
        }
        let below = |name: &String| {
            let rest = name.strip_prefix(prefix);
            prefix.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.effect("store: list", |m| {
            let names = m.files.names().into_iter();
            Ok(names
                .filter(below)
                .filter(|name| !name.ends_with(TEMPORARY))
                .collect())
        })
    }
}

/// Relative paths of `[a-z0-9._-]` parts with percent-escapes, as the contract has it.
fn check(name: &str) -> Outcome<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && part.len() <= NAME_MAX
            && part != "."
            && part != ".."
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-%".contains(c))
    };
    if name.split('/').all(plain) {
        return Ok(());
    }
    let cause = "it is no relative path of plain parts";
    Err(Failure::new(
        Code::NameRefused,
        format!("record {name:?}"),
        cause,
    ))
}
