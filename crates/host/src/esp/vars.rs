//! The loader's variables: what it booted, what it is to boot.

use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use rustix::fs::IFlags;
pub use twinroot_core::bootfmt::variables::{DEFAULT, INFO, ONE_SHOT, SELECTED};
use twinroot_core::bootfmt::variables::{LARGEST, decode, encode, file_name};
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Outcome, Store};

use crate::fail::io_failure;
use crate::store::FileStore;

/// EFI variables as text.
pub trait EfiVars: Debug + Send + Sync {
    /// The variable's value, `None` where it is not set.
    ///
    /// # Errors
    /// `boot-variable`.
    fn get(&self, name: &str) -> Outcome<Option<String>>;
    /// Sets the variable, durably; `None` removes it.
    ///
    /// # Errors
    /// `boot-variable`.
    fn set(&self, name: &str, value: Option<&str>) -> Outcome<()>;
}

/// Variables in plain files: the machine in files.
#[derive(Debug)]
pub struct FileVars {
    files: FileStore,
}

impl FileVars {
    /// Variables in `dir`.
    ///
    /// # Errors
    /// As [`FileStore::open`].
    pub fn open(dir: &Path) -> Outcome<Self> {
        Ok(Self {
            files: FileStore::open(dir)?,
        })
    }
}

impl EfiVars for FileVars {
    fn get(&self, name: &str) -> Outcome<Option<String>> {
        let Some(bytes) = self.files.read(name)? else {
            return Ok(None);
        };
        String::from_utf8(bytes)
            .map(|text| Some(text.trim_end().to_owned()))
            .map_err(|_| Failure::new(Code::BootVariable, name, "is no text"))
    }

    fn set(&self, name: &str, value: Option<&str>) -> Outcome<()> {
        match value {
            Some(value) => self.files.write(name, value.as_bytes()),
            None => self.files.remove(name),
        }
    }
}

/// Variables of the firmware, through efivarfs.
#[derive(Debug)]
pub struct EfivarFs {
    dir: PathBuf,
}

impl EfivarFs {
    /// Variables below `dir`, on a real machine `/sys/firmware/efi/efivars`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(file_name(name))
    }
}

impl EfiVars for EfivarFs {
    fn get(&self, name: &str) -> Outcome<Option<String>> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_failure(Code::BootVariable, &path, "read", &error)),
            Ok(_) => {}
        }
        decode(&bytes).map(Some).ok_or_else(|| {
            Failure::new(Code::BootVariable, path.display().to_string(), "is no text")
        })
    }

    fn set(&self, name: &str, value: Option<&str>) -> Outcome<()> {
        let path = self.path(name);
        let failed = |verb: &'static str| {
            let path = path.clone();
            move |error: std::io::Error| io_failure(Code::BootVariable, &path, verb, &error)
        };
        unprotect(&path).map_err(failed("make changeable"))?;
        let Some(value) = value else {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(failed("remove")(error))
                }
                _ => Ok(()),
            };
        };
        // The whole variable must come in one write: efivarfs passes each write to the firmware,
        // which stores it durably before it returns.
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_CLOEXEC.bits())
            .open(&path)
            .map_err(failed("open"))?;
        file.write_all(&encode(value)).map_err(failed("write"))?;
        match self.get(name)?.as_deref() == Some(value) {
            true => Ok(()),
            false => Err(Failure::new(
                Code::BootVariable,
                path.display().to_string(),
                "the firmware did not keep it",
            )),
        }
    }
}

/// efivarfs marks variables it does not know as immutable, against `rm -rf /`.
fn unprotect(path: &Path) -> std::io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let flags = match rustix::fs::ioctl_getflags(&file) {
        // Not every file system below has such flags; then nothing is protected by them.
        Err(rustix::io::Errno::NOTTY | rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    if flags.contains(IFlags::IMMUTABLE) {
        rustix::fs::ioctl_setflags(&file, flags - IFlags::IMMUTABLE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_kept_and_removed_in_either_place() {
        let home = tempfile::tempdir().unwrap();
        let places: [Box<dyn EfiVars>; 2] = [
            Box::new(FileVars::open(&home.path().join("vars")).unwrap()),
            Box::new(EfivarFs::new(home.path())),
        ];
        for vars in places {
            assert_eq!(vars.get(DEFAULT).unwrap(), None);
            vars.set(DEFAULT, Some("a.efi")).unwrap();
            assert_eq!(vars.get(DEFAULT).unwrap().as_deref(), Some("a.efi"));
            vars.set(DEFAULT, None).unwrap();
            vars.set(DEFAULT, None).unwrap();
            assert_eq!(vars.get(DEFAULT).unwrap(), None);
        }
    }
}
