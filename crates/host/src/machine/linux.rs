//! This machine: the ports of a real host. Anything that a host of ours has and this one lacks is
//! refused by name, so that the program is never half at home.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinroot_core::bootfmt::stage::Stage;
use twinroot_core::bootfmt::start::STATE_LOST;
use twinroot_core::config::{Layer, Origins, Settings};
use twinroot_core::error::{Code, Failure};
use twinroot_core::health::Author;
use twinroot_core::layout::{Architecture, Holds, Layout};
use twinroot_core::slot::{Part, SlotName};
use twinroot_ports::{Collector, Outcome, Ports, System};
use twinroot_trust::digest::Digest;

use super::{boot_disk, settings};
use crate::clock::SystemClock;
use crate::disk::GptDisk;
use crate::esp::{SdBoot, Volume, stage, vars::EfivarFs};
use crate::fetch::Mirrors;
use crate::gate::{Gates, Places};
use crate::health::units::SystemdUnits;
use crate::health::{Folders, Runner};
use crate::power::LinuxPower;
use crate::store::{FileStore, Lock};
use crate::system::LinuxSystem;
use crate::system::linux::Devices;
use crate::system::mapper;

/// Records of a node (DESIGN section 14).
const STATE: &str = "/var/lib/twinroot";
/// Where systemd's generator mounts the ESP that the machine was booted from.
const ESP: &str = "/efi";
/// Variables of the firmware.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// What holds for this boot only.
const RUN: &str = "/run/twinroot";
/// Configuration of the image, which is under dm-verity.
const IMAGE: &str = "/usr/lib/twinroot";
/// The trust anchor of the image.
const ANCHOR: &str = "/usr/share/twinroot/root.json";

/// All ports of this host.
#[derive(Debug)]
pub struct LinuxMachine {
    settings: Settings,
    origins: Origins,
    clock: SystemClock,
    system: Arc<LinuxSystem>,
    store: Arc<FileStore>,
    disk: GptDisk,
    loader: SdBoot,
    fetch: Mirrors,
    health: Runner,
    gate: Gates,
    collector: Box<dyn Collector>,
    power: LinuxPower,
    lock: Option<Lock>,
}

impl LinuxMachine {
    /// Opens this host to act on it, and holds its lock.
    ///
    /// # Errors
    /// What this host lacks: configuration, an ESP on `/efi`, a disk with slots under it.
    pub fn open() -> Outcome<Self> {
        if let Err(lost) = Self::refuse_without_state() {
            // It did come up, and whoever starts it again should know.
            if let Err(failure) = system().map(|system| say_that_it_acts(&system)) {
                tracing::warn!(%failure, "the stage mark stays as it is");
            }
            return Err(lost);
        }
        let store = Arc::new(FileStore::open(Path::new(STATE))?);
        let lock = Lock::acquire(&Path::new(STATE).join("lock"))?;
        let machine = Self::assemble(store, Some(lock))?;
        say_that_it_acts(&machine.system);
        Ok(machine)
    }

    /// A host whose state partition could not be mounted has forgotten what it denied and what was set on
    /// it: it stays up, says so, and takes no release.
    fn refuse_without_state() -> Outcome<()> {
        let Ok(cause) = std::fs::read_to_string(STATE_LOST) else {
            return Ok(());
        };
        Err(Failure::new(Code::StateLost, "/var", cause.trim_end()))
    }

    /// Leaves the mark that units are started, for whoever has to say how far this start came.
    ///
    /// # Errors
    /// What this host lacks, and what its ESP says.
    pub fn mark_userspace() -> Outcome<()> {
        let observed = system()?.observe()?;
        stage::reached(
            &Volume::open(Path::new(ESP), None)?,
            &observed,
            Stage::Userspace,
        )
    }

    /// Opens it to look only.
    ///
    /// # Errors
    /// As [`LinuxMachine::open`], the lock aside.
    pub fn look() -> Outcome<Self> {
        let missing = || {
            Failure::new(
                Code::MachineInvalid,
                STATE,
                "this host has no records of twinroot",
            )
        };
        Self::refuse_without_state()?;
        if !Path::new(STATE).is_dir() {
            return Err(missing().with_remedy(
                "run it on a host that was installed with twinroot, or give --machine",
            ));
        }
        Self::assemble(Arc::new(FileStore::open(Path::new(STATE))?), None)
    }

    fn assemble(store: Arc<FileStore>, lock: Option<Lock>) -> Outcome<Self> {
        let folder = |parent: &str, name: &str| PathBuf::from(parent).join(name);
        let (image, run, etc) = (
            folder(IMAGE, "config.d"),
            folder(RUN, "config.d"),
            folder("/etc/twinroot", "config.d"),
        );
        let (settings, origins) = settings::load(&[
            (Layer::Image, &image),
            (Layer::Run, &run),
            (Layer::Etc, &etc),
        ])?;
        let variables = Box::new(EfivarFs::new(Path::new(VARIABLES)));
        let found = boot_disk::find(Path::new(ESP), &*variables)?;
        let volume = Volume::open(Path::new(ESP), None)?;
        let disk_path = found.disk;
        let devices = Arc::new(KernelDevices {
            disk: disk_path.clone(),
        });
        let system = Arc::new(LinuxSystem::new(Path::new("/"), devices));
        Ok(Self {
            clock: SystemClock,
            disk: GptDisk::new(&disk_path, layout(), system.clone()),
            loader: SdBoot::new(volume, variables, store.clone(), system.clone())
                .with_firmware(Path::new(VARIABLES)),
            fetch: settings::source(&settings)?,
            collector: settings::collector(&settings)?,
            health: Runner::new(
                Folders {
                    definitions: vec![
                        (Author::Publisher, folder(IMAGE, "health.d")),
                        (Author::Owner, folder("/etc/twinroot", "health.d")),
                    ],
                    greenboot: vec![
                        (Author::Publisher, folder("/usr/lib/greenboot", "check")),
                        (Author::Owner, folder("/etc/greenboot", "check")),
                    ],
                },
                Arc::new(SystemdUnits),
            ),
            gate: Gates::open(
                &settings,
                Places {
                    folder: &folder(RUN, "gate.d"),
                    file: PathBuf::from(&settings.reboot.gate_file),
                    logind: Path::new("/run/systemd"),
                    machine_id: Path::new("/etc/machine-id"),
                },
            )?,
            power: LinuxPower,
            settings,
            origins,
            system,
            store,
            lock,
        })
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            clock: &self.clock,
            system: &*self.system,
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
        std::fs::read(ANCHOR)
            .map_err(|error| Failure::new(Code::AnchorMissing, ANCHOR, error.to_string()))
    }

    /// Bytes and requests of its source of releases.
    #[must_use]
    pub fn traffic(&self) -> crate::fetch::Traffic {
        self.fetch.traffic()
    }

    /// Whether it was opened to act.
    #[must_use]
    pub const fn may_act(&self) -> bool {
        self.lock.is_some()
    }
}

/// Leaves the stage mark, and the file that ends `twinroot-deadline.service`'s concern. Neither is worth a
/// refusal: a node with a read-only ESP must still come up and say so.
fn say_that_it_acts(system: &LinuxSystem) {
    let volume = Volume::open(Path::new(ESP), None);
    let marked = system
        .observe()
        .and_then(|system| stage::reached(&volume?, &system, Stage::Agent));
    if let Err(failure) = marked {
        tracing::warn!(%failure, "the stage mark stays as it is");
    }
    let made =
        std::fs::create_dir_all(RUN).and_then(|()| File::create(Path::new(RUN).join("agent")));
    if let Err(error) = made {
        tracing::warn!(%error, "the deadline unit will not know of the agent");
    }
}

/// Kernel and image of this host.
fn system() -> Outcome<LinuxSystem> {
    let variables = EfivarFs::new(Path::new(VARIABLES));
    let disk = boot_disk::find(Path::new(ESP), &variables)?.disk;
    let devices = Arc::new(KernelDevices { disk });
    Ok(LinuxSystem::new(Path::new("/"), devices))
}

fn layout() -> Layout {
    let architecture = if cfg!(target_arch = "aarch64") {
        Architecture::Arm64
    } else {
        Architecture::X86_64
    };
    Layout::twinroot(Holds::Root, architecture)
}

/// What the kernel says of the disk that was booted and of its mappings.
#[derive(Debug)]
struct KernelDevices {
    disk: PathBuf,
}

impl Devices for KernelDevices {
    fn slot_of(&self, device: &str) -> Option<SlotName> {
        let of = |slot: &SlotName| {
            crate::disk::device_number(&self.disk, &layout(), *slot, Part::Data)
                .is_ok_and(|number| number == device)
        };
        SlotName::BOTH.into_iter().find(of)
    }

    fn enforced(&self, name: &str) -> Outcome<Digest> {
        let target = mapper::table_of(name)?;
        target.verity_root().map(|(root, _)| root).ok_or_else(|| {
            let cause = format!("is a {} mapping, not dm-verity", target.kind);
            Failure::new(Code::BootedSlotUnknown, format!("mapping {name}"), cause)
        })
    }
}
