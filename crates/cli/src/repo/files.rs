//! The store of a plain client: the received bytes under the plain names, so that any TUF tool can
//! audit it. Whatever else is kept lies in a folder of its own.

use std::path::{Path, PathBuf};

use twinroot_core::error::{Code, Failure};
use twinroot_host::store::{FileStore, Lock};
use twinroot_ports::{Outcome, Store};
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::tuf::{Limits, Trusted};

/// The trust anchor.
const ROOT: &str = "root.json";
/// Folder of what is not metadata: the lock.
const OURS: &str = ".twinroot";

/// Files of trusted metadata.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    store: FileStore,
    _lock: Lock,
}

impl Files {
    /// Opens the store, creating it where it is missing, and keeps everybody else out.
    pub(super) fn open(dir: &Path) -> Outcome<Self> {
        if let Some(parent) = dir.parent() {
            make_folders(parent)?;
        }
        let store = FileStore::open(dir)?;
        let ours = FileStore::open(&dir.join(OURS))?;
        let lock = Lock::acquire(&ours.root().join("lock"))?;
        Ok(Self {
            dir: dir.to_owned(),
            store,
            _lock: lock,
        })
    }

    /// The root to start from: the store's, else `given`, which is checked and kept.
    pub(super) fn anchor(&self, given: Option<&Path>) -> Outcome<Vec<u8>> {
        if let Some(bytes) = self.store.read(ROOT)? {
            return Ok(bytes);
        }
        let Some(path) = given else {
            let subject = self.dir.join(ROOT).display().to_string();
            return Err(Failure::new(Code::AnchorMissing, subject, "is missing")
                .with_remedy("give a root to start from with --root"));
        };
        let subject = path.display().to_string();
        let bytes = read_root(path)
            .map_err(|e| Failure::new(Code::AnchorMissing, subject.clone(), e.to_string()))?;
        Trusted::from_root(&bytes, KeyPolicy::foreign(), Limits::foreign())
            .map_err(|e| Failure::from_code(e.code(), subject, e.to_string()))?;
        self.store.write(ROOT, &bytes)?;
        Ok(bytes)
    }

    pub(super) fn read(&self, file: &str) -> Outcome<Option<Vec<u8>>> {
        self.store.read(file)
    }

    pub(super) fn write(&self, file: &str, bytes: &[u8]) -> Outcome<()> {
        self.store.write(file, bytes)
    }

    pub(super) fn remove(&self, file: &str) -> Outcome<()> {
        self.store.remove(file)
    }
}

/// At most as much as a root may have, and a byte more for the limit to notice.
fn read_root(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(Limits::foreign().root + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > Limits::foreign().root {
        return Err(std::io::Error::other("is too large for root metadata"));
    }
    Ok(bytes)
}

/// Folders above a directory that is about to be opened.
pub(super) fn make_folders(dir: &Path) -> Outcome<()> {
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)
        .map_err(|e| Failure::new(Code::FileIo, dir.display().to_string(), e.to_string()))
}
