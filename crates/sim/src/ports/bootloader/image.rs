//! A boot image on its way to the EFI system partition, under a name that no loader boots.

use twinroot_core::error::{Code, Failure};
use twinroot_ports::{ImageWriter, Outcome};
use twinroot_trust::digest::Digest;

use crate::plant::Plant;
use crate::world::World;

/// Suffix of images that are not entries.
const STAGED: &str = ".staged";
pub(super) fn staged_name(uki: &Digest) -> String {
    format!("twinroot_{uki}{STAGED}")
}

pub(super) fn staged_digest(name: &str) -> Option<Digest> {
    let name = name.strip_prefix("twinroot_")?;
    name.strip_suffix(STAGED)?.parse().ok()
}

/// An image on its way to the ESP.
#[derive(Debug)]
pub(super) struct Writer {
    world: World,
    name: String,
    uki: Digest,
    size: u64,
    written: u64,
    /// An entry carries the image already: nothing is written, and the entry is left alone.
    there: bool,
}

impl Writer {
    pub(super) fn new(world: &World, name: String, uki: &Digest, size: u64) -> Self {
        Self {
            world: world.clone(),
            name,
            uki: *uki,
            size,
            written: 0,
            there: false,
        }
    }

    /// A writer for what an entry carries already.
    pub(super) fn of_entry(world: &World, uki: &Digest, size: u64) -> Self {
        Self {
            there: true,
            ..Self::new(world, staged_name(uki), uki, size)
        }
    }
}

impl ImageWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.written += bytes.len() as u64;
        if self.written > self.size {
            let cause = format!("more than the {} bytes announced", self.size);
            return Err(Failure::new(
                Code::LengthMismatch,
                self.name.as_str(),
                cause,
            ));
        }
        if self.there {
            return Ok(());
        }
        self.world.change("esp: append", &self.name, |esp| {
            esp.append(&self.name, bytes)
        })
    }

    fn finish(self: Box<Self>) -> Outcome<()> {
        if self.there {
            return Ok(());
        }
        if !self.world.planted(Plant::EspSync) {
            self.world.change("esp: fsync file", &self.name, |esp| {
                esp.sync_file(&self.name)
            })?;
        }
        self.world.settle(&self.name)?;
        let read_back = self.world.file(&self.name);
        let right = read_back.is_some_and(|bytes| Digest::of(&bytes) == self.uki);
        if !right && !self.world.planted(Plant::UkiUnread) {
            let cause = "what was read back is not what was to be written";
            return Err(Failure::new(
                Code::ReadBackMismatch,
                self.name.as_str(),
                cause,
            ));
        }
        Ok(())
    }
}
