//! The loader's variables: what it booted, what it is to boot.

use std::fmt::Debug;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use rustix::fs::IFlags;
use twinroot_core::error::{Code, Failure};
use twinroot_ports::{Outcome, Store};

use crate::fail::io_failure;
use crate::store::FileStore;

/// Pin: the entry that is taken whatever its version. Survives reboots.
pub const DEFAULT: &str = "LoaderEntryDefault";
/// The entry for the next boot alone; the loader deletes it.
pub const ONE_SHOT: &str = "LoaderEntryOneShot";
/// The entry that was booted. Written by the loader.
pub const SELECTED: &str = "LoaderEntrySelected";
/// Name and version of the loader. Written by the loader.
pub const INFO: &str = "LoaderInfo";

/// Vendor id of the Boot Loader Interface, which all of the above carry.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Non-volatile, boot service access, runtime access: what the interface asks for.
const ATTRIBUTES: u32 = 7;
/// Entry ids are file names: 255 UTF-16 units. Anything much longer is not ours.
const LARGEST: u64 = 4096;

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
        self.dir.join(format!("{name}-{VENDOR}"))
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

fn encode(value: &str) -> Vec<u8> {
    let text = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    ATTRIBUTES.to_le_bytes().into_iter().chain(text).collect()
}

/// Four bytes of attributes, then UTF-16 with a NUL at the end, which some loaders leave out.
fn decode(bytes: &[u8]) -> Option<String> {
    let text = bytes.get(4..)?;
    if text.len() % 2 != 0 {
        return None;
    }
    let units = text
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_the_firmware_writes_them() {
        let mut raw = vec![7, 0, 0, 0];
        raw.extend("os_1.0.efi".bytes().flat_map(|byte| [byte, 0]));
        assert_eq!(decode(&raw).as_deref(), Some("os_1.0.efi"));
        raw.extend([0, 0]);
        assert_eq!(decode(&raw).as_deref(), Some("os_1.0.efi"));
        assert_eq!(encode("os_1.0.efi"), raw);
        for bad in [
            &[][..],
            &[7, 0, 0],
            &[7, 0, 0, 0, 65],
            &[7, 0, 0, 0, 0, 0xD8],
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

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
