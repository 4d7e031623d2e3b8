//! The boot model of a machine in files: firmware, systemd-boot, initramfs, kernel, until a system
//! is up. What happens after that is the agent's.
//!
//! The choice and the counting are `core::bootfmt::loader`'s, on the real files of the machine's
//! ESP; the initramfs's decision is `core::bootfmt::attempt`'s.

use std::path::Path;

use twinroot_core::bootfmt::attempt::{self, Next, Start as InitramfsStart};
use twinroot_core::bootfmt::entry::EntryName;
use twinroot_core::bootfmt::loader::{LoaderEntry, LoaderState, choose};
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::SystemObserved;
use twinroot_core::slot::{Part, SlotName};
use twinroot_payload::verity::{TreeShape, claimed_root, root_of};
use twinroot_ports::{Disk, Outcome, Store};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use super::files::Home;
use crate::clock::FilesClock;
use crate::esp::entries::{FOLDER, read_uki};
use crate::esp::vars::{self, EfiVars};
use crate::esp::{Volume, attempts};
use crate::fail::io_failure;
use crate::power::REQUESTED;
use crate::store::FileStore;
use crate::system::linux::describe;
use crate::system::{BootFacts, cpu};

/// Starts until the model gives up: nine tries of a trial, three starts of each committed slot, and
/// some to spare. A machine that has not come up by then stays down.
const STARTS: usize = 20;

/// What goes wrong with the system that the loader chooses first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootFault {
    /// Nothing.
    #[default]
    None,
    /// Its kernel panics and the machine restarts.
    Kernel,
    /// It comes up, but its units fail.
    Health,
    /// It gets past the initramfs, hangs, and the watchdog restarts it.
    Hang,
}

/// How one start ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartEnd {
    /// The system is up.
    Up,
    /// The firmware refused the image: it is not what its name says.
    ImageRefused,
    /// The kernel panicked.
    Panic,
    /// The system hung and was reset.
    Hang,
    /// The initramfs or dm-verity found no good root.
    NoRoot(String),
    /// The initramfs left the slot for another entry.
    Left {
        /// File name of the entry it asked for.
        entry: String,
    },
}

/// One start of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// File name of the entry as the loader found it.
    pub entry: String,
    /// What the loader renamed it to.
    pub renamed_to: Option<String>,
    /// How it ended.
    pub end: StartEnd,
}

/// The system that came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booted {
    /// Its slot.
    pub slot: SlotName,
    /// Its version.
    pub version: Version,
    /// Its root hash.
    pub root_hash: Digest,
    /// File name of its entry.
    pub entry: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootReport {
    /// Every start, in order.
    pub starts: Vec<Start>,
    /// The system that came up; `None` where none did.
    pub booted: Option<Booted>,
}

/// Restarts the machine in `dir`.
///
/// # Errors
/// `machine-invalid`, `lock-held` while somebody acts on it, and what its files say. A machine that
/// does not come up is no error but a report.
pub fn boot(dir: &Path, fault: BootFault) -> Outcome<BootReport> {
    let home = Home::open(dir)?;
    let _lock = home.lock()?;
    let files = FileStore::open(dir)?;
    // Off: what the last kernel said no longer holds.
    files.remove(crate::system::files::BOOT)?;
    files.remove(REQUESTED)?;
    let mut model = Model {
        volume: home.volume()?,
        vars: home.variables()?,
        home,
        fault,
        faulty: None,
    };
    model.vars.set(vars::INFO, Some("twinroot boot model 1"))?;
    let mut starts = Vec::new();
    while starts.len() < STARTS {
        let Some((start, booted)) = model.start()? else {
            break;
        };
        starts.push(start);
        if let Some(facts) = booted {
            let faulty = model.faulty == Some(facts.system.root_hash);
            set_units(&files, fault == BootFault::Health && faulty)?;
            facts.write(dir)?;
            let booted = Some(Booted {
                slot: facts.system.slot,
                version: facts.system.version,
                root_hash: facts.system.root_hash,
                entry: facts.entry,
            });
            return Ok(BootReport { starts, booted });
        }
    }
    Ok(BootReport {
        starts,
        booted: None,
    })
}

struct Model {
    home: Home,
    volume: Volume,
    vars: vars::FileVars,
    fault: BootFault,
    /// Root of the system that was chosen first: the one that the fault belongs to.
    faulty: Option<Digest>,
}

/// A UKI as the loader lists it.
struct Image {
    entry: LoaderEntry,
    /// Its bytes are what its name says, as a signature would show.
    whole: bool,
    root_hash: Digest,
    system: SystemObserved,
}

impl Model {
    /// One start: `None` where there is nothing that the loader could start.
    fn start(&mut self) -> Outcome<Option<(Start, Option<BootFacts>)>> {
        let images = self.images()?;
        let state = LoaderState {
            entries: images.iter().map(|image| image.entry.clone()).collect(),
            default: self.vars.get(vars::DEFAULT)?,
            one_shot: self.vars.get(vars::ONE_SHOT)?,
            quirks: Vec::new(),
        };
        let Some(choice) = choose(&state) else {
            return Ok(None);
        };
        // The request is gone before the image starts, so that it can never hold twice.
        self.vars.set(vars::ONE_SHOT, None)?;
        if let Some(renamed) = &choice.renamed_to {
            self.volume.rename(
                &format!("{FOLDER}/{}", choice.entry),
                &format!("{FOLDER}/{renamed}"),
            )?;
        }
        self.vars
            .set(vars::SELECTED, Some(&choice.entry.to_lowercase()))?;
        let image = images
            .into_iter()
            .find(|image| image.entry.name.file_name() == choice.entry);
        let image = image
            .ok_or_else(|| Failure::new(Code::Internal, choice.entry.clone(), "was not listed"))?;
        self.faulty.get_or_insert(image.root_hash);
        let entry = choice
            .renamed_to
            .clone()
            .unwrap_or_else(|| choice.entry.clone());
        let (end, facts) = self.run(image, &entry)?;
        Ok(Some((
            Start {
                entry: choice.entry,
                renamed_to: choice.renamed_to,
                end,
            },
            facts,
        )))
    }

    fn images(&self) -> Outcome<Vec<Image>> {
        let mut images = Vec::new();
        for file_name in self.volume.list(FOLDER)? {
            let Ok(name) = EntryName::parse(&file_name) else {
                continue;
            };
            // The loader does not list what it cannot read an os-release from.
            let Some((digest, info)) = read_uki(&self.volume, &format!("{FOLDER}/{file_name}"))?
            else {
                continue;
            };
            let Ok(system) = describe(&info.os_release, info.root_hash, SlotName::A) else {
                continue;
            };
            images.push(Image {
                whole: !name.is_ours() || name.names(&digest),
                entry: LoaderEntry {
                    name,
                    sort_key: info.os_release.sort_key().to_owned(),
                    version: info.os_release.version().to_owned(),
                },
                root_hash: info.root_hash,
                system,
            });
        }
        Ok(images)
    }

    /// From the firmware's check of the image to a system that is up.
    fn run(&self, image: Image, entry: &str) -> Outcome<(StartEnd, Option<BootFacts>)> {
        let faulty = self.faulty == Some(image.root_hash);
        if !image.whole {
            return Ok((StartEnd::ImageRefused, None));
        }
        if faulty && self.fault == BootFault::Kernel {
            return Ok((StartEnd::Panic, None));
        }
        let slot = match self.initramfs(&image)? {
            Ok(slot) => slot,
            Err(end) => return Ok((end, None)),
        };
        if faulty && self.fault == BootFault::Hang {
            return Ok((StartEnd::Hang, None));
        }
        let system = SystemObserved {
            boot_id: kernel_text("boot id", "/proc/sys/kernel/random/uuid")?,
            slot,
            cpu: cpu::of_this_machine(),
            firmware: String::from("uefi"),
            ..image.system
        };
        Ok((
            StartEnd::Up,
            Some(BootFacts {
                system,
                entry: entry.to_owned(),
                booted_at: FilesClock::uptime(&self.home.path(super::files::PASSED)),
            }),
        ))
    }

    /// Finds the slot of this disk whose hash tree is the one on the command line, keeps the attempt
    /// record, and lets dm-verity see every block.
    fn initramfs(&self, image: &Image) -> Outcome<Result<SlotName, StartEnd>> {
        let disk = self.home.disk();
        let holder = |root: &Digest| -> Outcome<Option<SlotName>> {
            for slot in SlotName::BOTH {
                if disk.observe(slot)?.claimed_root == Some(*root) {
                    return Ok(Some(slot));
                }
            }
            Ok(None)
        };
        let record = attempts::read(&self.volume)?;
        let found = holder(&image.root_hash)?;
        let allowed_on_disk = match &record.allowed {
            Some(allowed) => holder(&allowed.root)?.is_some(),
            None => false,
        };
        let start = InitramfsStart {
            root: &image.root_hash,
            on_disk: found.is_some(),
            counted: image.entry.name.tries().is_some(),
            allowed_on_disk,
            // The model's systems fail in their workload, or are not whole at all.
            came_up: true,
        };
        let (next, changed) = attempt::decide(&record, &start);
        if let Some(record) = changed {
            attempts::write(&self.volume, &record)?;
        }
        match (next, found) {
            (Next::OtherSlotOnce { entry }, _) => {
                self.vars.set(vars::ONE_SHOT, Some(&entry))?;
                Ok(Err(StartEnd::Left { entry }))
            }
            (Next::Halt { reason }, _) => Ok(Err(StartEnd::NoRoot(reason))),
            (Next::Start | Next::StartDegraded, Some(slot)) => {
                Ok(dm_verity(&disk, slot, &image.root_hash)?
                    .map_or(Ok(slot), |why| Err(StartEnd::NoRoot(why))))
            }
            (Next::Start | Next::StartDegraded, None) => Ok(Err(StartEnd::NoRoot(String::from(
                "no slot holds the root",
            )))),
        }
    }
}

/// Says why the kernel would not run from the slot. It reads blocks one by one as they are needed;
/// here all are read at once, so that any bad block shows at the boot.
fn dm_verity(disk: &dyn Disk, slot: SlotName, root: &Digest) -> Outcome<Option<String>> {
    let lower = |error: twinroot_payload::error::Error| {
        Failure::from_code(error.code(), format!("slot {slot}"), error.to_string())
    };
    let (data, tree) = (
        disk.reader(slot, Part::Data)?,
        disk.reader(slot, Part::Tree)?,
    );
    let Some(claim) = claimed_root(&tree).map_err(lower)? else {
        return Ok(Some(format!("slot {slot} claims no root")));
    };
    let shape = TreeShape::new(claim.data_blocks).map_err(lower)?;
    let found = Digest::from_bytes(root_of(&data, &shape, &claim.salt).map_err(lower)?);
    Ok((found != *root).then(|| format!("dm-verity: slot {slot} has corrupted blocks")))
}

/// The units of the system that comes up: active, or failed where that is its fault.
fn set_units(files: &FileStore, failed: bool) -> Outcome<()> {
    let invalid = |error: serde_json::Error| {
        Failure::new(Code::MachineInvalid, "units.json", error.to_string())
    };
    let Some(bytes) = files.read("units.json")? else {
        return Ok(());
    };
    let mut units: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(&bytes).map_err(invalid)?;
    for state in units.values_mut() {
        *state = String::from(if failed { "failed" } else { "active" });
    }
    files.write(
        "units.json",
        &serde_json::to_vec_pretty(&units).map_err(invalid)?,
    )
}

fn kernel_text(what: &str, path: &str) -> Outcome<String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| io_failure(Code::ToolMissing, Path::new(path), what, &error))
}
