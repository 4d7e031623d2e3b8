//! A UKI on its way to the ESP, or to its blessed name, under names that no loader boots.

use std::fs::File;
use std::os::unix::fs::FileExt;

use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_ports::{ImageWriter, Outcome};
use twinroot_trust::digest::Digest;

use super::entries::FOLDER;
use super::volume::{Volume, esp_failure, open_read};

/// What ends the name of a staged image: systemd-boot looks at `.efi` only.
const SUFFIX: &str = ".staged";
/// What ends the name of a copy that is going to be a blessed entry.
const COPY_SUFFIX: &str = ".blessing";
/// Bytes copied at once.
const PIECE: usize = 256 * 1024;

/// Path of the staged image with that digest.
pub(super) fn path(uki: &Digest) -> String {
    format!("{FOLDER}/twinroot_{uki}{SUFFIX}")
}

/// Path of the copy that is going to be the blessed entry with that digest. It is not the staged
/// image's, which may share its clusters with the counted entry after a torn rename.
pub(super) fn copy_path(uki: &Digest) -> String {
    format!("{FOLDER}/twinroot_{uki}{COPY_SUFFIX}")
}

/// The digest that a staged image's or copy's file name carries; `None` for other files.
pub(super) fn digest_of(file_name: &str) -> Option<Digest> {
    let name = file_name.strip_prefix("twinroot_")?;
    name.strip_suffix(SUFFIX)
        .or_else(|| name.strip_suffix(COPY_SUFFIX))?
        .parse()
        .ok()
}

/// Copies a file of the ESP under a new name, durably, and proves the copy.
pub(super) fn copy(volume: &Volume, from: &str, to: &str, uki: &Digest) -> Outcome<()> {
    let Some(source) = Image::open(volume, from)? else {
        return Err(Failure::new(
            Code::EntryMissing,
            from,
            "has gone while it was copied",
        ));
    };
    let path = volume.path(to);
    let file = volume.create(to)?;
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    while offset < source.size {
        let left = usize::try_from(source.size - offset)
            .unwrap_or(PIECE)
            .min(PIECE);
        source
            .read_at(offset, &mut piece[..left])
            .map_err(|fault| Failure::new(Code::DiskIo, from, fault.message))?;
        file.write_all_at(&piece[..left], offset)
            .map_err(|e| esp_failure(&path, "write", &e))?;
        offset += left as u64;
    }
    file.sync_all()
        .map_err(|error| esp_failure(&path, "flush", &error))?;
    volume.settle(to)?;
    let found = volume.digest(to)?;
    if found != *uki {
        let cause = format!("the copy reads back as {found}");
        return Err(Failure::new(Code::ReadBackMismatch, to, cause));
    }
    Ok(())
}

/// Writes one staged image.
#[derive(Debug)]
pub(super) struct Writer {
    volume: Volume,
    uki: Digest,
    size: u64,
    written: u64,
    file: File,
}

impl Writer {
    pub(super) fn start(volume: &Volume, uki: &Digest, size: u64) -> Outcome<Self> {
        let file = volume.create(&path(uki))?;
        Ok(Self {
            volume: volume.clone(),
            uki: *uki,
            size,
            written: 0,
            file,
        })
    }

    fn wrong(&self, code: Code, cause: String) -> Failure {
        Failure::new(code, format!("UKI {}", self.uki), cause)
    }
}

impl ImageWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        let end = self.written.saturating_add(bytes.len() as u64);
        if end > self.size {
            let cause = format!("{end} bytes came, {} are signed", self.size);
            return Err(self.wrong(Code::LengthMismatch, cause));
        }
        let path = self.volume.path(&path(&self.uki));
        self.file
            .write_all_at(bytes, self.written)
            .map_err(|error| esp_failure(&path, "write", &error))?;
        self.written = end;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Outcome<()> {
        let name = path(&self.uki);
        if self.written != self.size {
            let cause = format!("{} of {} bytes came", self.written, self.size);
            return Err(self.wrong(Code::LengthMismatch, cause));
        }
        let file = self.volume.path(&name);
        self.file
            .sync_all()
            .map_err(|error| esp_failure(&file, "flush", &error))?;
        self.volume.settle(&name)?;
        let found = self.volume.digest(&name)?;
        if found != self.uki {
            let cause = format!("read back as {found}");
            // Not what was written, or not what was signed: either way it is of no use here.
            self.volume.remove(&name)?;
            return Err(self.wrong(Code::DigestMismatch, cause));
        }
        Ok(())
    }
}

/// An image file, open for reading.
#[derive(Debug)]
pub(super) struct Image {
    file: File,
    size: u64,
}

impl Image {
    pub(super) fn open(volume: &Volume, name: &str) -> Outcome<Option<Self>> {
        let path = volume.path(name);
        let file = match open_read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| esp_failure(&path, "open", &error))?,
        };
        let size = file
            .metadata()
            .map_err(|error| esp_failure(&path, "look at", &error))?
            .len();
        Ok(Some(Self { file, size }))
    }
}

impl Image {
    /// Makes its content durable.
    pub(super) fn settle(&self, volume: &Volume, name: &str) -> Outcome<()> {
        let path = volume.path(name);
        self.file
            .sync_all()
            .map_err(|error| esp_failure(&path, "flush", &error))?;
        volume.settle(name)
    }
}

impl ReadAt for Image {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        if offset
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.size)
        {
            return Err(Fault::past_end(offset, buf.len(), self.size));
        }
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| Fault::disk(format!("boot image: {error}")))
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.size)
    }
}
