//! Making a machine: disk, ESP, first slot, first entry. One piece of code for the machine in files,
//! disk images and installation, so that what is tested is what is shipped.
//!
//! The first entry is counted like every later one: its first boot shows whether the loader counts,
//! before any trial depends on it (DESIGN section 8).

use twinroot_core::bootfmt::pe;
use twinroot_core::error::{Code, Failure};
use twinroot_payload::finish::{self, Goal};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_payload::verity::TreeShape;
use twinroot_ports::{Arming, Bootloader, Outcome, SlotWriter};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use crate::fail::fault_failure;

/// Data is copied in pieces of this size.
const PIECE: usize = 1024 * 1024;

/// Tries of the first entry: as many as a trial gets by default.
pub const FIRST_TRIES: u32 = 3;

/// A release whose artefacts were verified before they came here.
pub struct FirstRelease<'a> {
    /// Its version.
    pub version: Version,
    /// The root image, or a reader that decodes its payload.
    pub data: &'a dyn ReadAt,
    /// Salt of the hash tree.
    pub salt: &'a [u8],
    /// The root hash that was signed.
    pub root_hash: Digest,
    /// The UKI.
    pub uki: &'a [u8],
}

impl std::fmt::Debug for FirstRelease<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstRelease")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl FirstRelease<'_> {
    /// Refuses image and UKI of different builds before anything is written.
    ///
    /// # Errors
    /// `uki-invalid`, `uki-root-hash-missing`, `uki-root-hash-mismatch`.
    pub fn check(&self) -> Outcome<()> {
        let info = pe::read_uki("UKI of the first release", self.uki)?;
        if info.root_hash != self.root_hash {
            let cause = format!(
                "its command line names {}, the image has {}",
                info.root_hash, self.root_hash
            );
            return Err(Failure::new(
                Code::UkiRootHashMismatch,
                "UKI of the first release",
                cause,
            ));
        }
        Ok(())
    }

    /// Writes image and hash tree, in the order of every later update: the tree claims nothing while
    /// it is written, and is sealed after it was read back.
    ///
    /// # Errors
    /// `slot-too-small`, `root-hash-mismatch`, and what the disk says.
    pub fn write_slot(&self, data: &dyn SlotWriter, tree: &dyn SlotWriter) -> Outcome<()> {
        let subject = "first slot";
        let lower = |error: twinroot_payload::error::Error| {
            Failure::from_code(error.code(), subject, error.to_string())
        };
        let disk = |fault: Fault| fault_failure(subject, &fault);
        let size = self.data.len().map_err(disk)?;
        let shape = TreeShape::for_size(size).map_err(lower)?;
        for (what, part, needed) in [
            ("image", data, size),
            ("hash tree", tree, shape.partition_bytes()),
        ] {
            let room = part.len().map_err(disk)?;
            if room < needed {
                let cause = format!("the {what} has {needed} bytes, its partition {room}");
                return Err(Failure::new(Code::SlotTooSmall, subject, cause));
            }
        }
        finish::begin(&shape, tree).map_err(lower)?;
        copy(self.data, data, size).map_err(disk)?;
        data.drop_caches().map_err(disk)?;
        let goal = Goal {
            shape,
            salt: self.salt,
            root_hash: *self.root_hash.as_bytes(),
        };
        let proof = finish::prove(&goal, data, tree, &mut |_| Ok(())).map_err(lower)?;
        let proven = proof.into_result(&goal).map_err(lower)?;
        tree.drop_caches().map_err(disk)?;
        proven
            .check_tree(tree)
            .map_err(lower)?
            .seal(tree)
            .map_err(lower)
    }

    /// Makes the UKI the first boot entry, counted.
    ///
    /// # Errors
    /// What the bootloader port says.
    pub fn write_entry(&self, loader: &dyn Bootloader) -> Outcome<()> {
        let uki = Digest::of(self.uki);
        let mut image = loader.stage_image(&uki, self.uki.len() as u64)?;
        for piece in self.uki.chunks(PIECE) {
            image.write(piece)?;
        }
        image.finish()?;
        loader.arm(&self.version, &uki, Arming::Counted { tries: FIRST_TRIES })
    }
}

fn copy(from: &dyn ReadAt, to: &dyn SlotWriter, size: u64) -> Result<(), Fault> {
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        from.read_at(offset, &mut piece[..length])?;
        to.write_at(offset, &piece[..length])?;
        offset += length as u64;
    }
    to.flush()
}
