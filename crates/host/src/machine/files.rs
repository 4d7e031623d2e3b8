//! The machine in files: a directory that behaves like a node.
//!
//! ```text
//! machine.json   what it is: schema, sectors, size of the ESP; written last when it is made
//! disk.img       sparse GPT disk: esp (a placeholder), root-a, root-a-verity, root-b, …, state
//! esp/           the EFI system partition      vars/     EFI variables
//! state/         what lies on /var             lock      taken by whoever acts
//! image/         what the image carries: root.json, config.d/, health.d/
//! config.d/ health.d/ gate.d/                  what the operator may add
//! boot.json      what the kernel says of this boot; absent while the machine is off
//! units.json     state of each unit            reboot-requested    it wants to be restarted
//! clock-offset   seconds its clock is off      time-passed         seconds that passed beyond ours
//! run/           sockets of its agent          logind/ machine-id  what its gates look at
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twinroot_core::config::{Layer, Origins, Settings};
use twinroot_core::error::{Code, Failure};
use twinroot_core::health::Author;
use twinroot_core::layout::{Architecture, Holds, Layout, SectorSize, SizesWanted};
use twinroot_core::slot::{Part, SlotName};
use twinroot_ports::{Collector, Outcome, Ports, Store};

use super::settings;
use crate::clock::FilesClock;
use crate::disk::GptDisk;
use crate::disk::table;
use crate::esp::{SdBoot, Volume, attempts, stage, vars};
use crate::fetch::Mirrors;
use crate::gate::{Gates, Places};
use crate::health::units::FilesUnits;
use crate::health::{Folders, Runner};
use crate::power::FilesPower;
use crate::provision::FirstRelease;
use crate::store::{FileStore, Lock};
use crate::system::{BootFacts, FilesSystem};

/// File with the seconds that have passed beyond the host's.
pub(super) const PASSED: &str = "time-passed";

/// The schema of `machine.json` that this version makes and reads.
const SCHEMA: u32 = 1;

/// Types of its partitions; the machine in files is of the architecture it runs on.
const ARCHITECTURE: Architecture = if cfg!(target_arch = "aarch64") {
    Architecture::Arm64
} else {
    Architecture::X86_64
};

/// What a machine in files is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Description {
    schema: u32,
    /// Bytes that fit on its ESP.
    esp: u64,
}

/// Paths of a machine in files, which must be one.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    description: Description,
}

impl Home {
    pub(super) fn open(dir: &Path) -> Outcome<Self> {
        let invalid =
            |cause: String| Failure::new(Code::MachineInvalid, dir.display().to_string(), cause);
        let there = std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir());
        let bytes = if there {
            FileStore::open(dir)?.read("machine.json")?
        } else {
            None
        };
        let bytes = bytes.ok_or_else(|| invalid("is no machine in files".into()))?;
        let description: Description = serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("machine.json: {error}")))?;
        if description.schema != SCHEMA {
            return Err(invalid(format!(
                "has schema {}, not {SCHEMA}",
                description.schema
            )));
        }
        Ok(Self {
            dir: dir.to_owned(),
            description,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn lock(&self) -> Outcome<Lock> {
        Lock::acquire(&self.path("lock"))
    }

    pub(super) fn volume(&self) -> Outcome<Volume> {
        Volume::open(&self.path("esp"), Some(self.description.esp))
    }

    pub(super) fn variables(&self) -> Outcome<vars::FileVars> {
        vars::FileVars::open(&self.path("vars"))
    }

    pub(super) fn disk(&self) -> GptDisk {
        let layout = Layout::twinroot(Holds::Root, ARCHITECTURE);
        GptDisk::new(
            &self.path("disk.img"),
            layout,
            Arc::new(FilesSystem::new(&self.dir)),
        )
    }

    pub(super) fn loader(&self, notes: Arc<dyn Store>) -> Outcome<SdBoot> {
        let system = Arc::new(FilesSystem::new(&self.dir));
        Ok(SdBoot::new(
            self.volume()?,
            Box::new(self.variables()?),
            notes,
            system,
        ))
    }

    fn settings(&self) -> Outcome<(Settings, Origins)> {
        let (image, etc) = (self.path("image/config.d"), self.path("config.d"));
        settings::load(&[(Layer::Image, &image), (Layer::Etc, &etc)])
    }
}

/// All ports of a machine in files.
#[derive(Debug)]
pub struct Machine {
    dir: PathBuf,
    settings: Settings,
    origins: Origins,
    clock: FilesClock,
    system: FilesSystem,
    store: Arc<FileStore>,
    disk: GptDisk,
    loader: SdBoot,
    fetch: Mirrors,
    health: Runner,
    gate: Gates,
    collector: Box<dyn Collector>,
    power: FilesPower,
    lock: Option<Lock>,
}

impl Machine {
    /// Opens the machine in `dir` to act on it, and holds its lock.
    ///
    /// # Errors
    /// `machine-invalid` where there is none or it is off, `lock-held`, and what its configuration
    /// says.
    pub fn open(dir: &Path) -> Outcome<Self> {
        let home = Home::open(dir)?;
        let lock = home.lock()?;
        Self::assemble(&home, Some(lock))
    }

    /// Opens it to look only, whoever holds the lock.
    ///
    /// # Errors
    /// As [`Machine::open`], the lock aside.
    pub fn look(dir: &Path) -> Outcome<Self> {
        Self::assemble(&Home::open(dir)?, None)
    }

    fn assemble(home: &Home, lock: Option<Lock>) -> Outcome<Self> {
        let booted = BootFacts::read(&home.dir)?;
        let (settings, origins) = home.settings()?;
        let store = Arc::new(FileStore::open(&home.path("state"))?);
        let folders = Folders {
            definitions: vec![
                (Author::Publisher, home.path("image/health.d")),
                (Author::Owner, home.path("health.d")),
            ],
            greenboot: vec![
                (Author::Publisher, home.path("image/greenboot/check")),
                (Author::Owner, home.path("greenboot/check")),
            ],
        };
        let units = Arc::new(FilesUnits::new(&home.path("units.json")));
        // The machine's own file; on a real node the setting names it.
        let hold = home.path("hold-reboot");
        let gate = Gates::open(
            &settings,
            Places {
                folder: &home.path("gate.d"),
                file: hold,
                logind: &home.path("logind"),
                machine_id: &home.path("machine-id"),
            },
        )?;
        Ok(Self {
            clock: FilesClock {
                offset: home.path("clock-offset"),
                passed: home.path(PASSED),
                booted_at: booted.booted_at,
            },
            system: FilesSystem::new(&home.dir),
            disk: home.disk(),
            loader: home.loader(store.clone())?,
            fetch: settings::source(&settings)?,
            collector: settings::collector(&settings)?,
            health: Runner::new(folders, units),
            gate,
            power: FilesPower::open(&home.dir)?,
            dir: home.dir.clone(),
            settings,
            origins,
            store,
            lock,
        })
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            clock: &self.clock,
            system: &self.system,
            store: &*self.store,
            disk: &self.disk,
            bootloader: &self.loader,
            fetch: &self.fetch,
            health: &self.health,
            gate: &self.gate,
            collector: &*self.collector,
            power: &self.power,
        }
    }

    /// Its configuration.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where each setting came from.
    #[must_use]
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The trust anchor that its image carries.
    ///
    /// # Errors
    /// `anchor-missing`.
    pub fn anchor(&self) -> Outcome<Vec<u8>> {
        let path = self.dir.join("image/root.json");
        std::fs::read(&path).map_err(|error| {
            Failure::new(
                Code::AnchorMissing,
                path.display().to_string(),
                error.to_string(),
            )
        })
    }

    /// Bytes and requests of its source of releases.
    #[must_use]
    pub fn traffic(&self) -> crate::fetch::Traffic {
        self.fetch.traffic()
    }

    /// Whether it asks to be restarted.
    #[must_use]
    pub fn wants_reboot(dir: &Path) -> bool {
        dir.join(crate::power::REQUESTED).exists()
    }

    /// Whether it was opened to act.
    #[must_use]
    pub const fn may_act(&self) -> bool {
        self.lock.is_some()
    }
}

/// Sizes of a machine in files, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// What fits on the ESP.
    pub esp: u64,
    /// Each slot's data partition.
    pub data: u64,
    /// Each slot's tree partition.
    pub tree: u64,
    /// Sectors of the disk.
    pub sector: SectorSize,
}

/// A machine in files to be made.
#[derive(Debug)]
pub struct New<'a> {
    /// Sizes of its partitions.
    pub sizes: Sizes,
    /// Its first release, for slot A.
    pub first: FirstRelease<'a>,
    /// The trust anchor of its image.
    pub anchor: &'a [u8],
    /// Files of `image/config.d` with their names: identity and defaults.
    pub image_config: &'a [(&'a str, &'a str)],
    /// Files of `config.d` with their names.
    pub config: &'a [(&'a str, &'a str)],
    /// Files of `image/health.d` with their names.
    pub health: &'a [(&'a str, &'a str)],
    /// Units that it runs.
    pub units: &'a [&'a str],
}

/// Makes a machine in `dir`, which must not hold one yet. It is off afterwards.
///
/// # Errors
/// `machine-invalid` where there is one, and whatever keeps its first release from being written.
pub fn provision(dir: &Path, new: &New<'_>) -> Outcome<()> {
    new.first.check()?;
    let files = FileStore::open(dir)?;
    if files.read("machine.json")?.is_some() {
        let cause = "there is a machine already";
        return Err(
            Failure::new(Code::MachineInvalid, dir.display().to_string(), cause)
                .with_remedy("choose another directory"),
        );
    }
    let wanted = SizesWanted {
        holds: Holds::Root,
        architecture: ARCHITECTURE,
        esp: new.sizes.esp,
        data: new.sizes.data,
        tree: new.sizes.tree,
        // A placeholder: what lies on /var is in the folder `state`.
        state: 1024 * 1024,
    };
    table::create(&dir.join("disk.img"), new.sizes.sector, &wanted)?;
    let description = Description {
        schema: SCHEMA,
        esp: new.sizes.esp,
    };
    let home = Home {
        dir: dir.to_owned(),
        description,
    };
    for folder in ["esp", "config.d", "health.d", "gate.d", "image/health.d"] {
        std::fs::create_dir_all(home.path(folder)).map_err(|error| {
            crate::fail::io_failure(Code::FileIo, &home.path(folder), "create", &error)
        })?;
    }
    write_files(&files, new)?;
    let disk = home.disk();
    let open = |part| disk.open_for_install(SlotName::A, part);
    new.first
        .write_slot(&open(Part::Data)?, &open(Part::Tree)?)?;
    let store = Arc::new(FileStore::open(&home.path("state"))?);
    new.first.write_entry(&home.loader(store)?)?;
    attempts::prepare(&home.volume()?)?;
    stage::prepare(&home.volume()?)?;
    // Last: only now is it a machine.
    let bytes = serde_json::to_vec_pretty(&home.description)
        .map_err(|error| Failure::new(Code::Internal, "machine.json", error.to_string()))?;
    files.write("machine.json", &bytes)
}

fn write_files(files: &FileStore, new: &New<'_>) -> Outcome<()> {
    let places = [
        ("image/config.d", new.image_config),
        ("config.d", new.config),
        ("image/health.d", new.health),
    ];
    for (folder, list) in places {
        for (name, text) in list {
            files.write(&format!("{folder}/{name}"), text.as_bytes())?;
        }
    }
    files.write("image/root.json", new.anchor)?;
    let active = new.units.iter().map(|unit| (*unit, "active"));
    let units: std::collections::BTreeMap<&str, &str> = active.collect();
    let bytes = serde_json::to_vec_pretty(&units)
        .map_err(|error| Failure::new(Code::Internal, "units.json", error.to_string()))?;
    files.write("units.json", &bytes)
}
