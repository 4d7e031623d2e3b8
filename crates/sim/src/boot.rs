//! What happens between power and a running system: firmware, systemd-boot (the model in
//! `core::bootfmt::loader`), the initramfs (`core::bootfmt::attempt`), dm-verity.

use twinroot_core::bootfmt::attempt::{AttemptRecord, FILE, Next, Start, decide};
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::{Choice, LoaderEntry, LoaderState, choose};
use twinroot_core::bootfmt::pe::{UkiInfo, read_uki};
use twinroot_core::slot::SlotName;
use twinroot_trust::digest::Digest;

use crate::plant::Plant;
use crate::watch::{Rule, slot_holds};
use crate::world::{Behaviour, Machine, Running, World};

/// The initramfs's file of starts without health, beside the entries.
pub const ATTEMPTS: &str = "twinroot-attempts.bin";

/// The pin.
pub const DEFAULT: &str = "LoaderEntryDefault";
/// The entry for the next start alone.
pub const ONE_SHOT: &str = "LoaderEntryOneShot";
/// The entry that the loader started, as it found it.
pub const SELECTED: &str = "LoaderEntrySelected";

/// Starts after which the machine counts as bricked. A trial may use 3, a committed slot that went
/// bad 3 and one that leads away from it, a fallback 3 more; twice that is generous.
pub const STARTS_MAX: u32 = 20;

/// How a start ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// A system runs.
    Up {
        /// Starts that it took.
        starts: u32,
    },
    /// Nothing came up.
    Bricked {
        /// What each start ended with.
        story: Vec<String>,
    },
}

/// What one start led to.
enum Stage {
    Up(Running),
    Reset(String),
}

impl World {
    /// Switches the machine on and waits until a system runs. A start that ends in a reset is
    /// followed by the next one, as with `panic=` and a watchdog.
    pub fn boot(&self) -> Boot {
        let mut story = Vec::new();
        while (story.len() as u32) < STARTS_MAX {
            match self.start() {
                Stage::Up(running) => {
                    self.outside(|m| m.running = Some(running));
                    return Boot::Up {
                        starts: story.len() as u32 + 1,
                    };
                }
                Stage::Reset(why) => story.push(why),
            }
        }
        Boot::Bricked { story }
    }

    fn start(&self) -> Stage {
        let choice = self.effect("firmware starts the loader", |m| {
            m.starts += 1;
            m.since_boot = 0;
            m.health_runs = 0;
            m.watch.healthy_runs = 0;
            m.running = None;
            m.reboot_requested = false;
            m.variables.restart();
            choose(&m.loader_state())
        });
        let Some(choice) = choice else {
            return Stage::Reset("no boot entry at all".to_owned());
        };
        let name = self.loader_acts(&choice);
        let uki = match self.outside(|m| m.checked_uki(&name)) {
            Ok(uki) => uki,
            Err(why) => return Stage::Reset(format!("{name}: {why}")),
        };
        match self.initramfs(&name, &uki) {
            Ok(slot) => self.kernel(&choice.entry, slot, &uki),
            Err(why) => Stage::Reset(format!("{name}: {why}")),
        }
    }

    /// One-shot request taken, counter moved, choice reported. Gives the name that is started.
    fn loader_acts(&self, choice: &Choice) -> String {
        self.effect("loader takes the one-shot request", |m| {
            m.variables.set_volatile(SELECTED, Some(&choice.entry));
            if m.variables.get(ONE_SHOT).is_some() {
                // A store that cannot be written keeps the request: the same entry again.
                let _ = m.variables.set(ONE_SHOT, None);
            }
        });
        let Some(renamed) = &choice.renamed_to else {
            return choice.entry.clone();
        };
        // One update of one directory sector, or none: an assumption that is printed. What firmware
        // does to a FAT is outside of what we can order.
        self.effect("loader moves the counter", |m| {
            let stays = choice
                .old_name_stays
                .then(|| m.esp.read(&choice.entry))
                .flatten();
            let renamed_all = m.esp.rename(&choice.entry, renamed);
            if let (Some(bytes), Ok(())) = (stays, &renamed_all) {
                let _ = m.esp.create(&choice.entry);
                let _ = m.esp.append(&choice.entry, &bytes);
            }
            let _ = m.esp.sync_all();
            m.watch_tries();
        });
        renamed.clone()
    }

    /// Chooses the slot, counts a start of a committed system, or leads away from one that is tired.
    fn initramfs(&self, name: &str, uki: &UkiInfo) -> Result<SlotName, String> {
        let (next, record, slot) = self.outside(|m| m.initramfs_decides(name, uki));
        if let Some(record) = record {
            self.effect("initramfs counts the start", |m| m.write_attempts(&record));
        }
        match (next, slot) {
            (Next::Start | Next::StartDegraded, Some(slot)) => Ok(slot),
            (Next::OtherSlotOnce { entry }, _) => {
                self.effect("initramfs asks for the other slot", |m| {
                    let _ = m.variables.set(ONE_SHOT, Some(&entry));
                });
                Err(format!("left for {entry}"))
            }
            (Next::Halt { reason }, _) => Err(reason),
            (Next::Start | Next::StartDegraded, None) => Err("no slot holds its root".to_owned()),
        }
    }

    /// dm-verity, then whatever this release does.
    fn kernel(&self, entry: &str, slot: SlotName, uki: &UkiInfo) -> Stage {
        self.effect("kernel starts", |m| {
            let root = uki.root_hash;
            let Some(image) = m.images.get(&root).cloned() else {
                m.watch
                    .broken(Rule::UnverifiedStarted, format!("root {root}"));
                return Stage::Reset("a root that nobody signed".to_owned());
            };
            if !slot_holds(&m.slots[slot.index()], &root) {
                return Stage::Reset(format!("dm-verity: slot {slot} is not as it was signed"));
            }
            match image.behaviour {
                Behaviour::Panics => Stage::Reset("kernel panic".to_owned()),
                Behaviour::Hangs => Stage::Reset("hung; reset by the watchdog".to_owned()),
                Behaviour::Good | Behaviour::Unhealthy | Behaviour::Flaky => {
                    let text = |key| uki.os_release.get(key).unwrap_or_default().to_owned();
                    Stage::Up(Running {
                        boot_id: format!("boot-{}", m.starts),
                        slot,
                        root,
                        entry: entry.to_owned(),
                        product: uki.os_release.sort_key().to_owned(),
                        variant: text("VARIANT_ID"),
                        architecture: uki.machine.architecture().to_owned(),
                        version: image.version,
                    })
                }
            }
        })
    }
}

impl Machine {
    /// What the loader sees. A file that is no whole UKI is no entry for it.
    #[must_use]
    pub fn loader_state(&self) -> LoaderState {
        let entries = self.esp.names().into_iter().filter_map(|file| {
            let name = EntryName::parse(&file).ok()?;
            let uki = read_uki(&file, &self.esp.read_begin(&file)?).ok()?;
            Some(LoaderEntry {
                name,
                sort_key: uki.os_release.sort_key().to_owned(),
                version: uki.os_release.version().to_owned(),
            })
        });
        LoaderState {
            entries: entries.collect(),
            default: self.variables.text(DEFAULT),
            one_shot: self.variables.text(ONE_SHOT),
            quirks: self.quirks.clone(),
        }
    }

    /// Secure Boot: only what was signed starts, byte for byte.
    fn checked_uki(&self, name: &str) -> Result<UkiInfo, String> {
        let bytes = self.esp.read(name).ok_or("its clusters are lost")?;
        if !self.signed_ukis().contains(&Digest::of(&bytes)) {
            return Err("refused by Secure Boot".to_owned());
        }
        read_uki(name, &bytes).map_err(|failure| failure.to_string())
    }

    fn initramfs_decides(
        &self,
        name: &str,
        uki: &UkiInfo,
    ) -> (Next, Option<AttemptRecord>, Option<SlotName>) {
        let holder = |root| {
            SlotName::BOTH
                .into_iter()
                .find(|s| self.claimed(*s) == Some(root))
        };
        let record = self.attempts();
        let slot = holder(uki.root_hash);
        let start = Start {
            root: &uki.root_hash,
            on_disk: slot.is_some(),
            counted: EntryName::parse(name).is_ok_and(|entry| entry.tries().is_some()),
            allowed_on_disk: record
                .allowed
                .as_ref()
                .is_some_and(|a| holder(a.root).is_some()),
            // The model's systems fail in their workload, or are not whole at all.
            came_up: true,
        };
        let (next, changed) = decide(&record, &start);
        (next, changed, slot)
    }

    /// The initramfs's record as it is now.
    #[must_use]
    pub fn attempts(&self) -> AttemptRecord {
        AttemptRecord::read(&self.esp.read(ATTEMPTS).unwrap_or_default())
    }

    /// Writes one copy of the record in place and flushes; without the file there is no record.
    pub(crate) fn write_attempts(&mut self, record: &AttemptRecord) {
        if self.planted(Plant::StartsUncounted) {
            return;
        }
        let Some(file) = self.esp.read(ATTEMPTS).filter(|file| file.len() == FILE) else {
            return;
        };
        let copy = record.write(&file);
        // A file system that refuses leaves the old record: the start is not counted.
        let _ = self
            .esp
            .overwrite(ATTEMPTS, copy.offset as u64, &copy.bytes);
        let _ = self.esp.sync_file(ATTEMPTS);
    }
}
