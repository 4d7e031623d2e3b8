//! The `Disk` port: slots in a GPT, in a disk image or on a block device, by one reader and writer.
//!
//! Partitions are found by what the table says each time, never by number, and the inactive slot is
//! checked again by what the kernel says at the moment it is opened for writing.

mod device;
mod direct;
pub mod table;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::SlotObserved;
use twinroot_core::layout::Layout;
use twinroot_core::slot::{BootedSlot, InactiveSlot, Part, SlotName};
use twinroot_payload::io::ReadAt;
use twinroot_payload::verity::claimed_root;
use twinroot_ports::{Disk, Outcome, SlotWriter, System};
use twinroot_trust::digest::Digest;

use crate::fail::fault_failure;
use device::Kind;
use table::Place;
pub use window::Window;

/// A disk with two slots.
#[derive(Debug)]
pub struct GptDisk {
    path: PathBuf,
    layout: Layout,
    system: Arc<dyn System>,
    /// Where `/proc`, `/sys` and `/dev` are.
    kernel: PathBuf,
}

impl GptDisk {
    /// The disk at `path` (an image file or a block device, never a link) with slots as in `layout`;
    /// `system` says which slot runs.
    #[must_use]
    pub fn new(path: &Path, layout: Layout, system: Arc<dyn System>) -> Self {
        Self {
            path: path.to_owned(),
            layout,
            system,
            kernel: PathBuf::from("/"),
        }
    }

    /// Where a part of a slot is now: the table is read each time, since others may edit it.
    fn place(&self, slot: SlotName, part: Part) -> Outcome<Place> {
        table::place(&table::find(&self.path, &self.layout)?, slot, part)
    }

    /// Opens a part of a slot for reading, on a block device through the partition's own device: the
    /// whole disk's has a cache of its own, in which a part that was written through its partition
    /// may still be what it was.
    fn window(&self, slot: SlotName, part: Part) -> Outcome<Window> {
        let place = self.place(slot, part)?;
        let (path, start) = match device::kind(&self.path)? {
            Kind::File => (self.path.clone(), place.start),
            Kind::Block(disk) => {
                let sys = self.kernel.join("sys");
                let partition = device::partition(&sys, &disk, place.start, place.size)?;
                (partition.node, 0)
            }
        };
        let file = device::open(&path, false, false)?;
        Ok(Window::new(self.named(slot, part), file, start, place.size))
    }

    fn named(&self, slot: SlotName, part: Part) -> PathBuf {
        let part = match part {
            Part::Data => "data",
            Part::Tree => "tree",
        };
        PathBuf::from(format!("{} slot {slot} {part}", self.path.display()))
    }

    fn claimed(&self, slot: SlotName) -> Outcome<Option<Digest>> {
        let tree = self.window(slot, Part::Tree)?;
        tree.forget()
            .map_err(|fault| fault_failure("hash tree", &fault))?;
        let claim = claimed_root(&tree).map_err(|error| {
            Failure::new(Code::DiskIo, format!("slot {slot}"), error.to_string())
        })?;
        Ok(claim.map(|claim| Digest::from_bytes(claim.root_hash)))
    }

    /// Opens a part of a slot of a machine that is not running, to install its first release.
    ///
    /// # Errors
    /// What keeps it from being found or opened for writing.
    pub fn open_for_install(&self, slot: SlotName, part: Part) -> Outcome<Window> {
        self.writable(self.named(slot, part), self.place(slot, part)?)
    }

    /// Opens a part for writing. A disk image is written through its own file, a block device
    /// through the partition's device, since that is what dm-verity reads and what the kernel can
    /// tell to be in use.
    fn writable(&self, name: PathBuf, place: Place) -> Outcome<Window> {
        match device::kind(&self.path)? {
            Kind::File => {
                device::refuse_attached(&self.kernel.join("sys"), &self.path)?;
                let file = device::open(&self.path, true, false)?;
                Ok(Window::new(name, file, place.start, place.size))
            }
            Kind::Block(disk) => {
                let sys = self.kernel.join("sys");
                let partition = device::partition(&sys, &disk, place.start, place.size)?;
                device::refuse_in_use(&self.kernel, &partition)?;
                let file = device::open(&partition.node, true, true)?;
                match device::kind(&partition.node)? {
                    Kind::Block(number) if number == partition.number => {
                        Ok(Window::new(name, file, 0, place.size))
                    }
                    _ => {
                        let cause = format!(
                            "is not the device {} that the kernel has there",
                            partition.number
                        );
                        Err(device::in_use(&partition.node, &cause))
                    }
                }
            }
        }
    }
}

/// Device number (`major:minor`) of a part of a slot on a block device.
///
/// # Errors
/// `table-invalid` where the disk is no block device or the kernel knows another table.
pub(crate) fn device_number(
    disk: &Path,
    layout: &Layout,
    slot: SlotName,
    part: Part,
) -> Outcome<String> {
    let place = table::place(&table::find(disk, layout)?, slot, part)?;
    match device::kind(disk)? {
        Kind::Block(number) => {
            Ok(device::partition(Path::new("/sys"), &number, place.start, place.size)?.number)
        }
        Kind::File => Err(Failure::new(
            Code::TableInvalid,
            disk.display().to_string(),
            "is no block device",
        )),
    }
}

impl Disk for GptDisk {
    fn observe(&self, slot: SlotName) -> Outcome<SlotObserved> {
        let slots = table::find(&self.path, &self.layout)?;
        Ok(SlotObserved {
            data_size: table::place(&slots, slot, Part::Data)?.size,
            tree_size: table::place(&slots, slot, Part::Tree)?.size,
            claimed_root: self.claimed(slot)?,
        })
    }

    fn base(&self, slot: &BootedSlot, part: Part) -> Outcome<Box<dyn ReadAt>> {
        Ok(Box::new(self.window(slot.name(), part)?))
    }

    fn reader(&self, slot: SlotName, part: Part) -> Outcome<Box<dyn ReadAt>> {
        let window = self.window(slot, part)?;
        window
            .forget()
            .map_err(|fault| fault_failure(&window.name.display().to_string(), &fault))?;
        Ok(Box::new(window))
    }

    fn target(&self, slot: &InactiveSlot, part: Part) -> Outcome<Box<dyn SlotWriter>> {
        let name = self.named(slot.name(), part);
        let booted = self.system.observe()?.slot;
        if booted == slot.name() {
            let cause = "the kernel runs from it";
            return Err(Failure::new(
                Code::SlotIsBooted,
                name.display().to_string(),
                cause,
            ));
        }
        let place = self.place(slot.name(), part)?;
        Ok(Box::new(self.writable(name, place)?.past_the_cache()))
    }
}

#[cfg(test)]
mod tests;
