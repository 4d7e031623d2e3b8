//! What goes onto a disk, whether it is a file or a device: the slot, the ESP and the state partition.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::{Architecture, Guid, Holds, Layout, SectorSize, SizesWanted};
use twinroot_core::slot::{Part, SlotName};
use twinroot_host::disk::GptDisk;
use twinroot_host::esp::{SdBoot, Volume, attempts, stage, vars::FileVars};
use twinroot_host::provision::FirstRelease;
use twinroot_host::store::FileStore;
use twinroot_host::system::FilesSystem;
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_ports::SlotWriter;

use crate::Outcome;
use crate::build::{Description, Partitions, names};
use crate::output::Progress;
use crate::tool::Tool;
use crate::{files, secure_boot};

/// What goes onto a disk.
#[derive(Debug)]
pub struct Content {
    /// Folder of a build.
    pub image: PathBuf,
    /// What a person chooses for this host, for the first boot.
    pub provision: Option<PathBuf>,
    /// Folder of Secure Boot keys that the loader enrols at the first start in setup mode.
    pub enrol: Option<PathBuf>,
    /// More files for the state partition, for tests: a folder that becomes `/var`.
    pub var: Option<PathBuf>,
}

/// The loader shows no menu: a host has nobody to look at it. It stays reachable by holding a key.
const LOADER_CONF: &str = "timeout 0\n";

/// Where the first boot looks for what a person chose.
const PROVISION: &str = "twinroot/provision.toml";

/// The sizes as the node's own planning takes them.
#[must_use]
pub fn wanted(sizes: &Partitions) -> SizesWanted {
    SizesWanted {
        holds: Holds::Root,
        architecture: Architecture::X86_64,
        esp: sizes.esp,
        data: sizes.slot,
        tree: sizes.tree,
        state: sizes.state,
    }
}

/// A random GUID for a disk.
///
/// # Errors
/// `file-io`.
pub fn random_guid() -> Outcome<Guid> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let text = files::read_text(path)?;
    text.trim()
        .parse()
        .map_err(|error| Failure::new(Code::FileIo, path.display().to_string(), format!("{error}")))
}

/// The release, as the node's own code for a first slot takes it.
struct Image<'a> {
    data: ImageFile,
    salt: Vec<u8>,
    description: &'a Description,
    uki: Vec<u8>,
}

impl<'a> Image<'a> {
    fn first(dir: &Path, description: &'a Description) -> Outcome<Self> {
        let path = dir.join(names::ROOT);
        let file = File::open(&path).map_err(|error| files::failed(&path, "open", &error))?;
        let salt: twinroot_trust::digest::Digest = description.salt.parse().map_err(|_| {
            Failure::new(
                Code::InputFileInvalid,
                names::DESCRIPTION,
                "its salt is none",
            )
        })?;
        Ok(Self {
            data: ImageFile(file),
            salt: salt.as_bytes().to_vec(),
            description,
            uki: files::read(&dir.join(names::UKI))?,
        })
    }

    fn release(&self) -> Outcome<FirstRelease<'_>> {
        let version = self.description.version.parse().map_err(|_| {
            Failure::new(
                Code::InputFileInvalid,
                names::DESCRIPTION,
                "its version is none",
            )
        })?;
        let release = FirstRelease {
            version,
            data: &self.data,
            salt: &self.salt,
            root_hash: self.description.root_hash,
            uki: &self.uki,
        };
        release.check()?;
        Ok(release)
    }
}

struct ImageFile(File);

impl std::fmt::Debug for ImageFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ReadAt for ImageFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.0
            .read_exact_at(buf, offset)
            .map_err(|error| Fault::disk(error.to_string()))
    }

    fn len(&self) -> Result<u64, Fault> {
        self.0
            .metadata()
            .map(|meta| meta.len())
            .map_err(|error| Fault::disk(error.to_string()))
    }
}

/// Writes the release into slot A of a disk that has its table.
///
/// # Errors
/// `slot-too-small`, `root-hash-mismatch`, and what the disk says.
pub fn write_slot(
    disk: &Path,
    dir: &Path,
    description: &Description,
    progress: &Progress,
) -> Outcome<()> {
    progress.step("slot A");
    let layout = Layout::twinroot(Holds::Root, Architecture::X86_64);
    // Nothing runs from a disk that is being made.
    let gpt = GptDisk::new(disk, layout, Arc::new(FilesSystem::new(dir)));
    let open = |part| gpt.open_for_install(SlotName::A, part);
    write_first(dir, description, &open(Part::Data)?, &open(Part::Tree)?)
}

/// Writes the release into the two parts of a slot.
///
/// # Errors
/// As [`write_slot`].
pub fn write_first(
    dir: &Path,
    description: &Description,
    data: &dyn SlotWriter,
    tree: &dyn SlotWriter,
) -> Outcome<()> {
    let first = Image::first(dir, description)?;
    first.release()?.write_slot(data, tree)
}

/// An empty file of a partition's size.
///
/// # Errors
/// `file-io`.
pub fn sized(path: PathBuf, bytes: u64) -> Outcome<PathBuf> {
    let file = File::create_new(&path).map_err(|error| files::failed(&path, "create", &error))?;
    file.set_len(bytes)
        .map_err(|error| files::failed(&path, "size", &error))?;
    Ok(path)
}

/// Makes the files of the ESP in `work/esp` and the first records in `work/records`, by the same code that
/// a node uses.
///
/// # Errors
/// `uki-invalid`, `key-missing`, `file-io`.
pub fn fill_esp(work: &Path, order: &Content, description: &Description) -> Outcome<()> {
    let esp = work.join("esp");
    for folder in ["EFI/BOOT", "EFI/systemd", "EFI/Linux", "loader", "twinroot"] {
        files::make_folder(&esp.join(folder))?;
    }
    let loader = files::read(&order.image.join(names::LOADER))?;
    files::write(&esp.join("EFI/BOOT/BOOTX64.EFI"), &loader)?;
    files::write(&esp.join("EFI/systemd/systemd-bootx64.efi"), &loader)?;
    let mut conf = LOADER_CONF.to_owned();
    if let Some(keys) = &order.enrol {
        for (place, path) in secure_boot::enrolment_files(keys)? {
            files::write(&esp.join(place), files::read(&path)?)?;
        }
        conf.push_str("secure-boot-enroll force\n");
    }
    files::write(&esp.join("loader/loader.conf"), conf)?;
    files::write(&esp.join("loader/entries.srel"), "type1\n")?;
    if let Some(provision) = &order.provision {
        files::write(&esp.join(PROVISION), files::read(provision)?)?;
    }
    let volume = Volume::open(&esp, None)?;
    files::make_folder(&work.join("vars"))?;
    files::make_folder(&work.join("records"))?;
    let variables = FileVars::open(&work.join("vars"))?;
    let notes = Arc::new(FileStore::open(&work.join("records"))?);
    let system = Arc::new(FilesSystem::new(work));
    let loader = SdBoot::new(volume.clone(), Box::new(variables), notes, system);
    let first = Image::first(&order.image, description)?;
    first.release()?.write_entry(&loader)?;
    attempts::prepare(&volume)?;
    // Both files of the initramfs are there before it runs: it never makes or grows a file on the ESP.
    stage::prepare(&volume)?;
    if !files::list(&work.join("vars"))?.is_empty() {
        let cause = "a first entry wants an EFI variable, which a disk image cannot carry";
        return Err(Failure::new(Code::Internal, "EFI variables", cause));
    }
    Ok(())
}

/// Below this FAT32 has too few clusters with 4 KiB each (Microsoft's FAT specification: at least 65525).
const LARGE: u64 = 272 << 20;

/// Makes the file system of the ESP on a file or partition and puts `work/esp` into it.
///
/// # Errors
/// `tool-missing`, `tool-failed`.
pub fn make_fat(place: &Path, work: &Path, bytes: u64, sector: SectorSize) -> Outcome<()> {
    let (sector, cluster) = match sector {
        SectorSize::S512 => ("512", if bytes >= LARGE { "8" } else { "1" }),
        SectorSize::S4096 => ("4096", "1"),
    };
    Tool::new("mkfs.vfat")
        .args(["-F", "32", "-S", sector, "-s", cluster, "-n", "ESP"])
        .arg(place)
        .run()?;
    let names = files::list(&work.join("esp"))?;
    Tool::new("mcopy")
        .args(["-s", "-Q", "-i"])
        .arg(place)
        .args(names)
        .arg("::")
        .run()
        .map(drop)
}

/// Makes the file system of the state partition on a file or partition, with the records of `work/records`.
///
/// # Errors
/// `tool-missing`, `tool-failed`.
pub fn make_ext4(place: &Path, work: &Path, order: &Content) -> Outcome<()> {
    let var = work.join("var");
    files::make_folder(&var)?;
    if let Some(from) = &order.var {
        files::lay_over(from, &var)?;
    }
    let records = var.join("lib/twinroot");
    files::make_folder(&records)?;
    files::lay_over(&work.join("records"), &records)?;
    Tool::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-L", "state", "-m", "1", "-E"])
        // Nothing may rest on the place being zero before: a disk may have held something else.
        .args([
            "root_owner=0:0,nodiscard,lazy_itable_init=1,lazy_journal_init=0",
            "-d",
        ])
        .arg(&var)
        .arg(place)
        .run()
        .map(drop)
}
