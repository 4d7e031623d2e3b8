//! A machine in files: what its boot model wrote down plays the kernel.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::SystemObserved;
use twinroot_ports::{Outcome, Store, System};
use twinroot_trust::digest::Digest;

use crate::store::FileStore;

/// The file with the facts of this boot.
pub const BOOT: &str = "boot.json";

/// What `boot` writes and 'the kernel' says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFacts {
    /// Kernel and image.
    pub system: SystemObserved,
    /// File name of the entry after the loader has counted.
    pub entry: String,
    /// The host's time since boot in milliseconds at that moment.
    pub booted_at: u64,
}

impl BootFacts {
    /// The facts of the machine in `dir`.
    ///
    /// # Errors
    /// `machine-invalid` where it was never booted, or the file is damaged.
    pub fn read(dir: &Path) -> Outcome<Self> {
        let subject = || dir.join(BOOT).display().to_string();
        let bytes = FileStore::open(dir)?.read(BOOT)?.ok_or_else(|| {
            Failure::new(Code::MachineInvalid, subject(), "the machine is off")
                .with_remedy("boot it with `machine boot`")
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(Code::MachineInvalid, subject(), error.to_string()))
    }

    /// Writes them.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write(&self, dir: &Path) -> Outcome<()> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::new(Code::Internal, BOOT, error.to_string()))?;
        FileStore::open(dir)?.write(BOOT, &bytes)
    }
}

/// The booted system of a machine in files.
#[derive(Debug, Clone)]
pub struct FilesSystem {
    dir: PathBuf,
}

impl FilesSystem {
    /// Of the machine in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }
}

impl System for FilesSystem {
    fn observe(&self) -> Outcome<SystemObserved> {
        Ok(BootFacts::read(&self.dir)?.system)
    }

    /// A machine in files has no TPM.
    fn measured(&self) -> Outcome<Option<Digest>> {
        Ok(None)
    }
}
