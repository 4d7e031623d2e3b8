//! A disk image with a release in slot A, made without loop devices and without root.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinroot_core::error::{Code, Failure};
use twinroot_core::layout::{Architecture, Holds, Layout, SectorSize, SizesWanted, types};
use twinroot_core::slot::{Part, SlotName};
use twinroot_host::disk::{GptDisk, table};
use twinroot_host::esp::{SdBoot, Volume, attempts, stage, vars::FileVars};
use twinroot_host::provision::FirstRelease;
use twinroot_host::store::FileStore;
use twinroot_host::system::FilesSystem;
use twinroot_payload::io::{Fault, ReadAt};

use crate::Outcome;
use crate::build::{Description, Partitions, names, read_description};
use crate::files;
use crate::output::Progress;
use crate::secure_boot;
use crate::tool::Tool;

/// What the disk is to be.
#[derive(Debug)]
pub struct Order {
    /// Folder of a build.
    pub image: PathBuf,
    /// File of the disk; must not exist.
    pub out: PathBuf,
    /// Bytes of the state partition, where it is to be larger than the recipe's.
    pub state: Option<u64>,
    /// Bytes of a sector.
    pub sector: SectorSize,
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

/// Makes the disk.
///
/// # Errors
/// `file-io` where the file exists, `slot-too-small`, `tool-missing`, `tool-failed`, `disk-full`.
pub fn make(order: &Order, progress: &Progress) -> Outcome<Description> {
    let description = read_description(&order.image)?;
    let mut new = order.out.clone().into_os_string();
    new.push(".part");
    let new = PathBuf::from(new);
    files::remove(&new)?;
    if order.out.exists() {
        let cause = "exists already";
        return Err(
            Failure::new(Code::FileIo, order.out.display().to_string(), cause)
                .with_remedy("remove it or choose another name"),
        );
    }
    let sizes = Partitions {
        state: order.state.unwrap_or(description.partitions.state),
        ..description.partitions
    };
    progress.step("partition table");
    table::create(&new, order.sector, &wanted(&sizes))?;
    let uki = files::read(&order.image.join(names::UKI))?;
    write_release(&new, &order.image, &description, &uki, progress)?;
    let folder = order
        .out
        .parent()
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let work =
        tempfile::tempdir_in(folder).map_err(|error| files::failed(folder, "use", &error))?;
    let work = work.path();
    progress.step("EFI system partition");
    let first = Image::first(&order.image, &description, &uki)?;
    fill_esp(work, order, &first.release()?)?;
    let esp = fat_image(work, sizes.esp, order.sector)?;
    put(&new, types::ESP, &esp)?;
    progress.step("state partition");
    let state = state_image(work, order, &new)?;
    put(&new, types::VAR, &state)?;
    files::rename(&new, &order.out)?;
    progress.end();
    Ok(description)
}

fn wanted(sizes: &Partitions) -> SizesWanted {
    SizesWanted {
        holds: Holds::Root,
        architecture: Architecture::X86_64,
        esp: sizes.esp,
        data: sizes.slot,
        tree: sizes.tree,
        state: sizes.state,
    }
}

/// The release, as the node's own code for a first slot takes it.
struct Image<'a> {
    data: ImageFile,
    salt: Vec<u8>,
    description: &'a Description,
    uki: &'a [u8],
}

impl<'a> Image<'a> {
    fn first(dir: &Path, description: &'a Description, uki: &'a [u8]) -> Outcome<Self> {
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
            uki,
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
            uki: self.uki,
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

fn write_release(
    disk: &Path,
    dir: &Path,
    description: &Description,
    uki: &[u8],
    progress: &Progress,
) -> Outcome<()> {
    progress.step("slot A");
    let layout = Layout::twinroot(Holds::Root, Architecture::X86_64);
    // Nothing runs from a disk that is being made.
    let gpt = GptDisk::new(disk, layout, Arc::new(FilesSystem::new(dir)));
    let open = |part| gpt.open_for_install(SlotName::A, part);
    let first = Image::first(dir, description, uki)?;
    first
        .release()?
        .write_slot(&open(Part::Data)?, &open(Part::Tree)?)
}

/// Files of the ESP, made by the same code that a node uses.
fn fill_esp(work: &Path, order: &Order, first: &FirstRelease<'_>) -> Outcome<()> {
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
    first.write_entry(&loader)?;
    attempts::prepare(&volume)?;
    stage::prepare(&volume)?;
    if !files::list(&work.join("vars"))?.is_empty() {
        let cause = "a first entry wants an EFI variable, which a disk image cannot carry";
        return Err(Failure::new(Code::Internal, "EFI variables", cause));
    }
    Ok(())
}

/// Below this FAT32 has too few clusters with 4 KiB each (Microsoft's FAT specification: at least 65525).
const LARGE: u64 = 272 << 20;

fn fat_image(work: &Path, bytes: u64, sector: SectorSize) -> Outcome<PathBuf> {
    let path = work.join("esp.img");
    sized(&path, bytes)?;
    let (sector, cluster) = match sector {
        SectorSize::S512 => ("512", if bytes >= LARGE { "8" } else { "1" }),
        SectorSize::S4096 => ("4096", "1"),
    };
    Tool::new("mkfs.vfat")
        .args(["-F", "32", "-S", sector, "-s", cluster, "-n", "ESP"])
        .arg(&path)
        .run()?;
    let names = files::list(&work.join("esp"))?;
    Tool::new("mcopy")
        .args(["-s", "-Q", "-i"])
        .arg(&path)
        .args(names)
        .arg("::")
        .run()?;
    Ok(path)
}

fn state_image(work: &Path, order: &Order, disk: &Path) -> Outcome<PathBuf> {
    let var = work.join("var");
    files::make_folder(&var)?;
    if let Some(from) = &order.var {
        files::lay_over(from, &var)?;
    }
    let records = var.join("lib/twinroot");
    files::make_folder(&records)?;
    files::lay_over(&work.join("records"), &records)?;
    let place = place(disk, types::VAR)?;
    let path = work.join("state.img");
    sized(&path, place.end - place.start)?;
    Tool::new("mke2fs")
        .args([
            "-q",
            "-t",
            "ext4",
            "-L",
            "state",
            "-m",
            "1",
            "-E",
            "root_owner=0:0,lazy_itable_init=0",
            "-d",
        ])
        .arg(&var)
        .arg(&path)
        .run()?;
    Ok(path)
}

fn sized(path: &Path, bytes: u64) -> Outcome<()> {
    let file = File::create_new(path).map_err(|error| files::failed(path, "create", &error))?;
    file.set_len(bytes)
        .map_err(|error| files::failed(path, "size", &error))
}

/// Where the one partition of a type lies, in bytes.
fn place(disk: &Path, kind: twinroot_core::layout::Guid) -> Outcome<std::ops::Range<u64>> {
    let table = table::read(disk)?;
    let found = table
        .partitions
        .iter()
        .find(|partition| partition.kind == kind);
    let found = found.ok_or_else(|| {
        Failure::new(
            Code::TableInvalid,
            disk.display().to_string(),
            "a partition is missing",
        )
    })?;
    Ok(found.bytes(table.sector))
}

/// Copies a file system into its partition; what is zero stays a hole.
fn put(disk: &Path, kind: twinroot_core::layout::Guid, image: &Path) -> Outcome<()> {
    let place = place(disk, kind)?;
    let mut from = File::open(image).map_err(|error| files::failed(image, "open", &error))?;
    let to = File::options()
        .write(true)
        .open(disk)
        .map_err(|error| files::failed(disk, "open", &error))?;
    let mut piece = vec![0; 1 << 16];
    let mut at = place.start;
    loop {
        let count = from
            .read(&mut piece)
            .map_err(|error| files::failed(image, "read", &error))?;
        if count == 0 {
            break;
        }
        if at + count as u64 > place.end {
            return Err(Failure::new(
                Code::TableDoesNotFit,
                disk.display().to_string(),
                "a file system is larger than its partition",
            ));
        }
        if piece[..count].iter().any(|byte| *byte != 0) {
            to.write_all_at(&piece[..count], at)
                .map_err(|error| files::failed(disk, "write", &error))?;
        }
        at += count as u64;
    }
    to.sync_all()
        .map_err(|error| files::failed(disk, "flush", &error))
}
