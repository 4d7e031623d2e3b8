//! Where the index of a full payload lies while it is worked with. It grows with the image (6.3 MB for
//! 4 GiB), and memory must not: a large one is kept in the tree partition of the slot that is being
//! written, which holds nothing until the slot is proven and has five times the room.

use twinroot_payload::error::Error as PayloadError;
use twinroot_payload::finish;
use twinroot_payload::index::{load, load_to};
use twinroot_payload::io::{Fault, Part, ReadAt};
use twinroot_payload::verity::BLOCK;
use twinroot_trust::manifest::IndexRef;

use super::stage::{Source, Target};

/// The largest index that is held in memory, 1 MiB: that of an image of 600 MB. Below it the partition
/// would save less than what a worker holds.
const HELD: u64 = 1 << 20;

/// Superblock and root block of the tree stay zero, so that the slot claims nothing meanwhile.
const START: u64 = 2 * BLOCK as u64;

/// A fetched index whose digest was right.
pub(super) enum IndexBytes<'a> {
    Held(Vec<u8>),
    InTheSlot(Part<'a>),
}

impl<'a> IndexBytes<'a> {
    /// Fetches it. A slot that is to keep it claims nothing from here on.
    pub(super) fn fetch(
        target: &'a Target<'_>,
        source: &Source<'_>,
        index: &IndexRef,
    ) -> Result<Self, PayloadError> {
        let (size, digest) = (index.size, index.sha256.as_bytes());
        let room = target.tree.len().map_err(|fault| PayloadError::Io {
            doing: "look at the target slot's tree",
            fault,
        })?;
        if size <= HELD || START + size > room {
            return load(source, size, digest).map(Self::Held);
        }
        finish::begin(&target.shape, &*target.tree)?;
        load_to(source, size, digest, &*target.tree, START)?;
        let (whole, start): (&dyn ReadAt, _) = (&*target.tree, START);
        Ok(Self::InTheSlot(Part { whole, start, size }))
    }

    fn bytes(&self) -> &dyn ReadAt {
        match self {
            Self::Held(bytes) => bytes,
            Self::InTheSlot(part) => part,
        }
    }
}

impl ReadAt for IndexBytes<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.bytes().read_at(offset, buf)
    }

    fn len(&self) -> Result<u64, Fault> {
        self.bytes().len()
    }
}
