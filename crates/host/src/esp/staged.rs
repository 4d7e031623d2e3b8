//! A UKI on its way to the ESP, under a name that no loader boots, and on to one that it does.

use std::fs::File;
use std::os::unix::fs::FileExt;

use twinroot_core::error::{Code, Failure};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_ports::{ImageWriter, Outcome};
use twinroot_trust::digest::Digest;

use super::entries::FOLDER;
use super::volume::{HEAD, Volume, esp_failure, open_read};

/// What ends the name of a staged image: systemd-boot looks at `.efi` only.
const SUFFIX: &str = ".staged";
/// Bytes copied at once.
const PIECE: usize = 256 * 1024;

/// Path of the staged image with that digest.
pub(super) fn path(uki: &Digest) -> String {
    format!("{FOLDER}/twinroot_{uki}{SUFFIX}")
}

/// The digest that a staged image's file name carries; `None` for other files.
pub(super) fn digest_of(file_name: &str) -> Option<Digest> {
    let name = file_name.strip_prefix("twinroot_")?;
    name.strip_suffix(SUFFIX)?.parse().ok()
}

/// Copies an image to a name that the loader starts, in place of a leftover. The head comes last, over content
/// that is durable and proven. Until then the loader passes the file over, and a cut leaves nothing that
/// is half an image; a rename would be two updates of a folder, between which the image has both names or none.
pub(super) fn make_bootable(volume: &Volume, from: &str, to: &str, uki: &Digest) -> Outcome<()> {
    let Some(source) = Image::open(volume, from)? else {
        return Err(Failure::new(
            Code::EntryMissing,
            from,
            "has gone while it was copied",
        ));
    };
    let mut head = vec![0; HEAD.min(usize::try_from(source.size).unwrap_or(HEAD))];
    let torn = |fault: Fault| Failure::new(Code::DiskIo, from, fault.message);
    source.read_at(0, &mut head).map_err(torn)?;
    let file = volume.create(to)?;
    // Where the clusters held an image before, its head must not come to light under this name.
    write(volume, &file, to, 0, &vec![0; head.len()])?;
    copy_rest(volume, &source, from, &file, to, head.len() as u64)?;
    let found = volume.digest_behind(&head, to)?;
    if found != *uki {
        let cause = format!("the copy reads back as {found}");
        volume.remove(to)?;
        return Err(Failure::new(Code::ReadBackMismatch, to, cause));
    }
    write(volume, &file, to, 0, &head)
}

/// Everything behind the head.
fn copy_rest(
    volume: &Volume,
    source: &Image,
    from: &str,
    file: &File,
    to: &str,
    mut offset: u64,
) -> Outcome<()> {
    let path = volume.path(to);
    let mut piece = vec![0; PIECE];
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
    settle(volume, file, to)
}

fn write(volume: &Volume, file: &File, name: &str, offset: u64, bytes: &[u8]) -> Outcome<()> {
    file.write_all_at(bytes, offset)
        .map_err(|error| esp_failure(&volume.path(name), "write", &error))?;
    settle(volume, file, name)
}

/// The file's content, then its name.
fn settle(volume: &Volume, file: &File, name: &str) -> Outcome<()> {
    file.sync_all()
        .map_err(|error| esp_failure(&volume.path(name), "flush", &error))?;
    volume.settle(name)
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
        settle(&self.volume, &self.file, &name)?;
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
        settle(volume, &self.file, name)
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
