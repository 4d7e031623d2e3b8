//! The slots of the simulated machine.

use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::SlotObserved;
use twinroot_core::slot::{BootedSlot, InactiveSlot, Part, SlotName};
use twinroot_payload::io::{Fault, ReadAt, WriteAt};
use twinroot_ports::{Disk, Outcome, SlotWriter};

use crate::medium::sectors::Sectors;
use crate::plant::Plant;
use crate::watch::Rule;
use crate::world::World;

impl Disk for World {
    fn observe(&self, slot: SlotName) -> Outcome<SlotObserved> {
        self.effect("disk: observe", |m| {
            let media = &m.slots[slot.index()];
            Ok(SlotObserved {
                data_size: media.data.len(),
                tree_size: media.tree.len(),
                claimed_root: m.claimed(slot),
            })
        })
    }

    fn base(&self, slot: &BootedSlot, part: Part) -> Outcome<Box<dyn ReadAt>> {
        self.reader(slot.name(), part)
    }

    fn reader(&self, slot: SlotName, part: Part) -> Outcome<Box<dyn ReadAt>> {
        self.effect("disk: open for reading", |m| {
            m.slots[slot.index()].part_mut(part).drop_caches();
        });
        Ok(Box::new(Partition {
            world: self.clone(),
            slot,
            part,
        }))
    }

    fn target(&self, slot: &InactiveSlot, part: Part) -> Outcome<Box<dyn SlotWriter>> {
        let slot = match self.planted(Plant::WrongSlot) {
            true => slot.name().other(),
            false => slot.name(),
        };
        self.effect("disk: open for writing", |m| {
            if m.running
                .as_ref()
                .is_none_or(|running| running.slot == slot)
            {
                m.watch.broken(
                    Rule::BootedSlotWritten,
                    format!("slot {slot} opened for writing"),
                );
                let cause = "the running system is on it";
                return Err(Failure::new(
                    Code::SlotIsBooted,
                    format!("slot {slot}"),
                    cause,
                ));
            }
            Ok(())
        })?;
        Ok(Box::new(Partition {
            world: self.clone(),
            slot,
            part,
        }))
    }
}

/// One partition, open.
#[derive(Debug)]
struct Partition {
    world: World,
    slot: SlotName,
    part: Part,
}

impl Partition {
    fn act<R>(&self, what: &'static str, act: impl FnOnce(&mut Sectors) -> R) -> R {
        self.world.effect(
            what,
            |m| act(m.slots[self.slot.index()].part_mut(self.part)),
        )
    }
}

impl ReadAt for Partition {
    /// Reads are not counted: they change nothing, so a cut beside them is a cut beside the effect
    /// before or after.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.world.outside(|m| {
            let media = &m.slots[self.slot.index()];
            media.part(self.part).read(offset, buf)
        })
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self
            .world
            .outside(|m| m.slots[self.slot.index()].part(self.part).len()))
    }
}

impl WriteAt for Partition {
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), Fault> {
        self.act("slot: write", |sectors| sectors.write(offset, buf))
    }

    fn flush(&self) -> Result<(), Fault> {
        let lazy = match self.part {
            Part::Data => Plant::DataFlush,
            Part::Tree => Plant::TreeFlush,
        };
        if self.world.planted(lazy) {
            return Ok(());
        }
        let flushed = self.act("slot: flush", Sectors::flush);
        if self.world.planted(Plant::FlushErrorSwallowed) {
            return Ok(());
        }
        flushed
    }
}

impl SlotWriter for Partition {
    fn drop_caches(&self) -> Result<(), Fault> {
        self.act("slot: drop caches", Sectors::drop_caches);
        Ok(())
    }
}
