//! A saboteur between the loop and the machine: loses a call, keeps one back until the next one is
//! done, makes one twice, or tells the loop something that is not so. The loop itself stays as it is.

use std::sync::Mutex;

use twinroot_core::envelope;
use twinroot_core::facts::{Counting, EntryObserved, LoaderObserved};
use twinroot_core::records::Records;
use twinroot_ports::{Arming, Bootloader, ImageWriter, Outcome, Ports, Power, ReadAt, Store};
use twinroot_sim::world::World;
use twinroot_tests::crash::node::Wire;
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

/// A kind of call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Writing down where the update stands.
    State,
    /// Writing floor and deny list.
    Records,
    /// Keeping the signed bytes of a release.
    SignedBytes,
    /// Keeping accepted metadata.
    Metadata,
    /// Making an entry unbootable.
    Remove,
    /// Making an entry bootable.
    Arm,
    /// Pinning.
    Pin,
    /// Clearing a pin.
    Unpin,
    /// Blessing.
    Bless,
    /// Clearing the attempt record.
    ClearAttempts,
    /// Restarting.
    Reboot,
}

/// What the saboteur does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The call is answered and not made.
    Lose(Call),
    /// The call is answered at once and made after the next one that changes the machine.
    Swap(Call),
    /// The call is made twice. Every effect can be repeated, so this must do no harm.
    Twice(Call),
    /// The deny list reads as empty.
    DenialsUnread,
    /// The loader is said to have been seen counting.
    CountingClaimed,
    /// The floor that is written is far above everything.
    FloorTooHigh,
    /// The entry is armed as soon as its boot image is staged: before the slot is proven.
    ArmsBeforeProof,
    /// A trial is blessed as soon as it is seen: before its health is.
    BlessesBeforeHealth,
    /// Tries given to a trial.
    Tries(u32),
    /// The entry that was booted is reported as blessed.
    TrialUnseen,
    /// The record of denials keeps the version's text and another digest.
    DenialsByOtherDigest,
}

/// A call that was kept back.
#[derive(Debug)]
enum Held {
    Write(String, Vec<u8>),
    Remove(String),
    Arm(Version, Digest, Arming),
    Pin(Option<String>),
    Bless(String),
    Clear,
    Reboot(String),
}

/// The ports with the saboteur in between.
#[derive(Debug)]
struct Between<'a> {
    world: &'a World,
    ports: Ports<'a>,
    act: Act,
    held: Mutex<Option<Held>>,
}

/// Puts the saboteur between.
pub(crate) fn wire(act: Act) -> Box<Wire> {
    Box::new(move |world: &World, run| {
        let between = Between {
            world,
            ports: world.ports(),
            act,
            held: Mutex::new(None),
        };
        let ports = Ports {
            store: &between,
            bootloader: &between,
            power: &between,
            ..world.ports()
        };
        run(ports)
    })
}

impl Between<'_> {
    /// Makes the call, or does to it what is to be done.
    fn call(&self, kind: Call, held: Held) -> Outcome<()> {
        match self.act {
            Act::Lose(lost) if lost == kind => Ok(()),
            Act::Swap(late) if late == kind => {
                // What was kept back before is due now.
                self.release()?;
                *self.slot() = Some(held);
                Ok(())
            }
            Act::Twice(again) if again == kind => {
                self.make(&held)?;
                self.make(&held)
            }
            _ => {
                self.make(&held)?;
                match kind {
                    // Writing down is no change of the machine: what is late stays late.
                    Call::State | Call::SignedBytes | Call::Metadata => Ok(()),
                    _ => self.release(),
                }
            }
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn release(&self) -> Outcome<()> {
        let held = self.slot().take();
        held.map_or(Ok(()), |held| self.make(&held))
    }

    fn make(&self, held: &Held) -> Outcome<()> {
        let Ports {
            store,
            bootloader,
            power,
            ..
        } = self.ports;
        match held {
            Held::Write(name, bytes) => store.write(name, bytes),
            Held::Remove(stem) => bootloader.remove(stem),
            Held::Arm(version, uki, how) => bootloader.arm(version, uki, *how),
            Held::Pin(stem) => bootloader.pin(stem.as_deref()),
            Held::Bless(stem) => bootloader.bless(stem),
            Held::Clear => bootloader.clear_attempts(),
            Held::Reboot(reason) => power.reboot(reason),
        }
    }

    /// Records as the saboteur lets them be read.
    fn bent(&self, name: &str, bytes: Vec<u8>) -> Vec<u8> {
        let bends = matches!(self.act, Act::DenialsUnread | Act::DenialsByOtherDigest);
        if !bends || !name.starts_with("records.") {
            return bytes;
        }
        let Some(opened) = envelope::open::<Records>(&bytes) else {
            return bytes;
        };
        let mut records = opened.value;
        match self.act {
            Act::DenialsUnread => records.denied.clear(),
            _ => {
                for denial in &mut records.denied {
                    denial.root_hash = Digest::of(denial.root_hash.as_bytes());
                    denial.uki = Digest::of(denial.uki.as_bytes());
                }
            }
        }
        envelope::seal(opened.sequence, &records).expect("records can be written")
    }
}

/// Records with a floor that no fallback reaches, wherever one was to be written.
fn too_high(bytes: &[u8]) -> Vec<u8> {
    let Some(opened) = envelope::open::<Records>(bytes) else {
        return bytes.to_vec();
    };
    let mut records = opened.value;
    if records.floor.is_some() {
        records.floor = records
            .known
            .iter()
            .map(|release| release.version.clone())
            .max();
    }
    envelope::seal(opened.sequence, &records).expect("records can be written")
}

impl Store for Between<'_> {
    fn read(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        Ok(self
            .ports
            .store
            .read(name)?
            .map(|bytes| self.bent(name, bytes)))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Outcome<()> {
        let kind = match name.split(['/', '.']).next() {
            Some("state") => Call::State,
            Some("records") => Call::Records,
            Some("releases") => Call::SignedBytes,
            Some("trust") => Call::Metadata,
            _ => return self.ports.store.write(name, bytes),
        };
        let bytes = match (self.act, kind) {
            (Act::FloorTooHigh, Call::Records) => too_high(bytes),
            _ => bytes.to_vec(),
        };
        self.call(kind, Held::Write(name.to_owned(), bytes))
    }

    fn remove(&self, name: &str) -> Outcome<()> {
        self.ports.store.remove(name)
    }

    fn list(&self, prefix: &str) -> Outcome<Vec<String>> {
        self.ports.store.list(prefix)
    }
}

impl Bootloader for Between<'_> {
    fn observe(&self) -> Outcome<LoaderObserved> {
        let mut seen = self.ports.bootloader.observe()?;
        if self.act == Act::BlessesBeforeHealth {
            let booted = |e: &&EntryObserved| Some(&e.stem) == seen.booted.as_ref();
            if let Some(trial) = seen.entries.iter().find(booted).filter(|e| !e.is_blessed()) {
                self.ports.bootloader.bless(&trial.stem)?;
                seen = self.ports.bootloader.observe()?;
            }
        }
        if self.act == Act::CountingClaimed {
            seen.counting = Counting::Proven;
        }
        if self.act == Act::TrialUnseen {
            let booted = seen.booted.clone();
            for entry in seen
                .entries
                .iter_mut()
                .filter(|e| Some(&e.stem) == booted.as_ref())
            {
                entry.tries = None;
            }
        }
        Ok(seen)
    }

    fn image(&self, uki: &Digest) -> Outcome<Option<Box<dyn ReadAt>>> {
        self.ports.bootloader.image(uki)
    }

    fn stage_image(&self, uki: &Digest, size: u64) -> Outcome<Box<dyn ImageWriter>> {
        let writer = self.ports.bootloader.stage_image(uki, size)?;
        if self.act != Act::ArmsBeforeProof {
            return Ok(writer);
        }
        Ok(Box::new(Hasty {
            world: self.world.clone(),
            uki: *uki,
            writer,
        }))
    }

    fn arm(&self, version: &Version, uki: &Digest, how: Arming) -> Outcome<()> {
        let how = match (self.act, how) {
            (Act::Tries(tries), Arming::Counted { .. }) => Arming::Counted { tries },
            (Act::Tries(tries), Arming::OneShot { .. }) => Arming::OneShot { tries },
            (_, how) => how,
        };
        self.call(Call::Arm, Held::Arm(version.clone(), *uki, how))
    }

    fn remove(&self, stem: &str) -> Outcome<()> {
        self.call(Call::Remove, Held::Remove(stem.to_owned()))
    }

    fn bless(&self, stem: &str) -> Outcome<()> {
        self.call(Call::Bless, Held::Bless(stem.to_owned()))
    }

    fn pin(&self, stem: Option<&str>) -> Outcome<()> {
        let kind = if stem.is_some() {
            Call::Pin
        } else {
            Call::Unpin
        };
        self.call(kind, Held::Pin(stem.map(str::to_owned)))
    }

    fn clear_attempts(&self) -> Outcome<()> {
        self.call(Call::ClearAttempts, Held::Clear)
    }

    fn sweep(&self, keep: &[Digest]) -> Outcome<()> {
        self.ports.bootloader.sweep(keep)
    }
}

/// Arms what it has written.
#[derive(Debug)]
struct Hasty {
    world: World,
    uki: Digest,
    writer: Box<dyn ImageWriter>,
}

impl ImageWriter for Hasty {
    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.writer.write(bytes)
    }

    fn finish(self: Box<Self>) -> Outcome<()> {
        self.writer.finish()?;
        let uki = self.uki;
        let version = self.world.outside(|m| {
            let image = m.images.values().find(|image| image.uki == uki);
            image.map(|image| image.version.clone())
        });
        let version = version.expect("only signed releases are staged");
        self.world.arm(&version, &uki, Arming::Counted { tries: 3 })
    }
}

impl Power for Between<'_> {
    fn reboot(&self, reason: &str) -> Outcome<()> {
        self.call(Call::Reboot, Held::Reboot(reason.to_owned()))
    }
}
