//! The few EFI variables that a start needs.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use rustix::fs::IFlags;
use twinroot_core::bootfmt::variables::{FOLDER, LARGEST, decode, encode, file_name};

use crate::trouble::{Outcome, Trouble};

fn path(variable: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(file_name(variable))
}

/// The text of a variable, nothing where it is not set.
pub(crate) fn get(variable: &str) -> Outcome<Option<String>> {
    let path = path(variable);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Trouble::failed("read", path.display(), error)),
        Ok(_) => {}
    }
    decode(&bytes)
        .map(Some)
        .ok_or_else(|| Trouble::failed("read", path.display(), "it is no text"))
}

/// Sets a variable, durably: efivarfs passes the one write to the firmware, which has stored it when
/// it returns.
pub(crate) fn set(variable: &str, value: &str) -> Outcome<()> {
    let path = path(variable);
    // efivarfs marks variables that exist as immutable, against `rm -rf /`.
    if let Ok(file) = File::open(&path)
        && let Ok(flags) = rustix::fs::ioctl_getflags(&file)
        && flags.contains(IFlags::IMMUTABLE)
    {
        rustix::fs::ioctl_setflags(&file, flags - IFlags::IMMUTABLE)
            .map_err(Trouble::on("make changeable", &path))?;
    }
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .and_then(|mut file| file.write_all(&encode(value)))
        .map_err(Trouble::on("write", &path))
}
