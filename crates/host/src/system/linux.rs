//! A real machine: the kernel's command line, sysfs and the booted image's `os-release`.
//!
//! Two sources must agree before a slot counts as booted: the command line names the root hash (it
//! is part of the signed UKI), and the block device that `/` is mounted from must be a dm-verity
//! mapping that enforces that hash over a partition of a slot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinroot_core::bootfmt::pe::{OsRelease, root_hash};
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::SystemObserved;
use twinroot_core::slot::SlotName;
use twinroot_ports::{Outcome, System};
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;

use super::cpu;

/// Where the kernel shows PCR 11: the stub measures the boot image into it.
const PCR11: &str = "sys/class/tpm/tpm0/pcr-sha256/11";

/// What the kernel says of devices.
pub trait Devices: std::fmt::Debug + Send + Sync {
    /// The slot whose data partition has the number `major:minor`.
    fn slot_of(&self, device: &str) -> Option<SlotName>;

    /// The root hash that dm-verity enforces for the mapping `name`.
    ///
    /// # Errors
    /// `booted-slot-unknown` where that is no dm-verity mapping.
    fn enforced(&self, name: &str) -> Outcome<Digest>;
}

/// The running kernel and image.
#[derive(Debug)]
pub struct LinuxSystem {
    root: PathBuf,
    devices: Arc<dyn Devices>,
}

impl LinuxSystem {
    /// Reads below `root`, which is `/` on a real machine.
    #[must_use]
    pub fn new(root: &Path, devices: Arc<dyn Devices>) -> Self {
        Self {
            root: root.to_owned(),
            devices,
        }
    }

    fn text(&self, path: &str) -> Outcome<String> {
        let full = self.root.join(path);
        std::fs::read_to_string(&full)
            .map(|text| text.trim_end().to_owned())
            .map_err(|error| {
                Failure::new(
                    Code::BootedSlotUnknown,
                    full.display().to_string(),
                    error.to_string(),
                )
            })
    }

    /// The slot under the dm-verity mapping that `/` is mounted from, and the root hash that is
    /// enforced there.
    fn booted_slot(&self) -> Outcome<(SlotName, Digest)> {
        let unknown =
            |cause: String| Failure::new(Code::BootedSlotUnknown, "root file system", cause);
        let mounts = self.text("proc/self/mountinfo")?;
        let device = mounted_root(&mounts).ok_or_else(|| unknown("has no mount".into()))?;
        let block = format!("sys/dev/block/{device}");
        let uuid = self.text(&format!("{block}/dm/uuid")).unwrap_or_default();
        if !uuid.starts_with("CRYPT-VERITY-") {
            return Err(unknown(format!("device {device} is no dm-verity mapping")));
        }
        let slaves = self.root.join(&block).join("slaves");
        let listed = std::fs::read_dir(&slaves)
            .map_err(|error| unknown(format!("{}: {error}", slaves.display())))?;
        let mut found: Vec<SlotName> = Vec::new();
        for slave in listed.flatten() {
            let number = std::fs::read_to_string(slave.path().join("dev")).unwrap_or_default();
            found.extend(self.devices.slot_of(number.trim()));
        }
        match found.as_slice() {
            [slot] => {
                let name = self.text(&format!("{block}/dm/name"))?;
                Ok((*slot, self.devices.enforced(&name)?))
            }
            _ => Err(unknown(format!(
                "dm-verity runs over {} slots of this disk",
                found.len()
            ))),
        }
    }
}

impl System for LinuxSystem {
    fn observe(&self) -> Outcome<SystemObserved> {
        let cmdline = self.text("proc/cmdline")?;
        let os_release = OsRelease::parse(&self.text("etc/os-release")?);
        let firmware = if self.root.join("sys/firmware/efi").exists() {
            "uefi"
        } else {
            "bios"
        };
        let boot_id = self.text("proc/sys/kernel/random/boot_id")?;
        let cpuinfo = self.text("proc/cpuinfo")?;
        let signed = root_hash("/proc/cmdline", &cmdline)?;
        let (slot, enforced) = self.booted_slot()?;
        if signed != enforced {
            let cause = format!("dm-verity enforces {enforced}, the command line names {signed}");
            return Err(Failure::new(
                Code::BootFactsContradict,
                "root file system",
                cause,
            ));
        }
        describe(&os_release, signed, slot).map(|facts| SystemObserved {
            boot_id,
            cpu: cpu::level(&cpuinfo).into(),
            firmware: firmware.into(),
            ..facts
        })
    }

    fn measured(&self) -> Outcome<Option<Digest>> {
        let path = self.root.join(PCR11);
        let failed = |cause: String| {
            Failure::new(Code::BootFactsContradict, path.display().to_string(), cause)
        };
        match std::fs::read_to_string(&path) {
            // The kernel prints it in capitals.
            Ok(text) => {
                let parsed = text.trim().to_ascii_lowercase().parse();
                let is_none = |_| failed(format!("{:?} is no SHA-256 digest", text.trim()));
                parsed.map(Some).map_err(is_none)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Facts that an image says of itself in `os-release`. `TWINROOT_FLOOR` and `TWINROOT_BUILT` are
/// stamped by the image build; a machine without them has no floor and no earliest time of its own.
///
/// # Errors
/// `boot-facts-contradict` where the version is missing or is none: nothing can be compared then.
pub(crate) fn describe(
    os_release: &OsRelease,
    root_hash: Digest,
    slot: SlotName,
) -> Outcome<SystemObserved> {
    let wrong = |cause: String| {
        Failure::new(
            Code::BootFactsContradict,
            "os-release of the booted image",
            cause,
        )
    };
    let text = |key: &str| String::from(os_release.get(key).unwrap_or_default());
    let version = os_release
        .version()
        .parse()
        .map_err(|_| wrong("IMAGE_VERSION is no version".into()))?;
    let stamped_floor = match os_release.get("TWINROOT_FLOOR") {
        None => None,
        Some(floor) => Some(
            floor
                .parse()
                .map_err(|_| wrong("TWINROOT_FLOOR is no version".into()))?,
        ),
    };
    let built = match os_release.get("TWINROOT_BUILT") {
        None => 0,
        Some(built) => built
            .parse()
            .map_err(|_| wrong("TWINROOT_BUILT is no number of seconds".into()))?,
    };
    Ok(SystemObserved {
        boot_id: String::new(),
        root_hash,
        slot,
        product: text("IMAGE_ID"),
        variant: text("VARIANT_ID"),
        architecture: architecture().into(),
        version,
        built: UnixTime(built),
        stamped_floor,
        cpu: String::new(),
        firmware: String::new(),
    })
}

/// The manifest's spelling of what this program was built for.
pub(crate) const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86-64"
    }
}

/// Device number of what is mounted on `/` last: fields 3 and 5 of `/proc/self/mountinfo`.
fn mounted_root(mountinfo: &str) -> Option<&str> {
    let root = |line: &&str| line.split(' ').nth(4) == Some("/");
    mountinfo.lines().rfind(root)?.split(' ').nth(2)
}

#[cfg(test)]
mod tests;
