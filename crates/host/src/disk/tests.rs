use std::fs::File;
use std::os::unix::fs::FileExt;

use twinroot_core::facts::{Facts, SystemObserved};
use twinroot_core::layout::{
    Architecture, Guid, Holds, Mark, Partition, PartitionTable, SectorSize, SizesWanted,
    SlotLayout, TreePlace, Wanted,
};
use twinroot_payload::io::WriteAt;
use twinroot_ports::contract::disk::disk_contract;
use twinroot_ports::contract::facts::{facts_running, system_running};

use super::*;
use crate::testing::skip;

#[derive(Debug)]
struct Runs(SlotName);

impl System for Runs {
    fn observe(&self) -> Outcome<SystemObserved> {
        Ok(system_running(self.0, Digest::of(b"running")))
    }

    fn measured(&self) -> Outcome<Option<Digest>> {
        Ok(None)
    }
}

const MIB: u64 = 1024 * 1024;

fn wanted() -> SizesWanted {
    SizesWanted {
        holds: Holds::Root,
        architecture: Architecture::X86_64,
        esp: MIB,
        data: 2 * MIB,
        tree: MIB,
        state: MIB,
    }
}

fn layout() -> Layout {
    Layout::twinroot(Holds::Root, Architecture::X86_64)
}

fn new_disk(sector: SectorSize) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("disk.img");
    table::create(&path, sector, &wanted()).unwrap();
    (home, path)
}

fn disk(path: &Path, running: SlotName) -> GptDisk {
    GptDisk::new(path, layout(), Arc::new(Runs(running)))
}

fn facts(running: SlotName) -> Facts {
    facts_running(running, Digest::of(b"running"))
}

/// Everything on the medium but the partitions of `slot`.
fn rest(path: &Path, layout: &Layout, slot: SlotName) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let slots = table::find(path, layout).unwrap();
    for part in [Part::Data, Part::Tree] {
        let place = table::place(&slots, slot, part).unwrap();
        let (start, size) = (
            usize::try_from(place.start).unwrap(),
            usize::try_from(place.size).unwrap(),
        );
        bytes[start..start + size].fill(0);
    }
    bytes
}

fn code<T>(outcome: Outcome<T>) -> Code {
    outcome.err().expect("must be refused").code
}

#[test]
fn a_disk_image_keeps_the_contract_whichever_slot_runs_and_whatever_its_sectors() {
    for sector in [SectorSize::S512, SectorSize::S4096] {
        for running in SlotName::BOTH {
            let (_home, path) = new_disk(sector);
            let mut others = |slot| rest(&path, &layout(), slot);
            disk_contract(&disk(&path, running), &facts(running), &mut others);
        }
    }
}

/// A table as hosts of the USR-A/USR-B family have it: fixed partition UUIDs, other partitions in
/// between, numbers in no order, 4096-byte sectors.
fn usr_table() -> (PartitionTable, Layout) {
    let uuid = |n: u128| Guid::from_number(0x7130_c94a_213a_4e5a_8e26_6cce_9662_f100 + n);
    let kind = Guid::from_number(0x5dfb_f5f4_2848_4bac_aa5e_0d9a_20b7_45a6);
    let esp = Guid::from_number(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
    let rows = [
        (1, esp, 0, "EFI-SYSTEM"),
        (3, kind, 1, "USR-A"),
        (4, kind, 2, "USR-B"),
        (6, kind, 3, "OEM"),
        (9, kind, 4, "STATE"),
        (10, kind, 5, "USR-A-VERITY"),
        (11, kind, 6, "USR-B-VERITY"),
    ];
    let mut partitions = Vec::new();
    for (place, (number, kind, id, label)) in rows.into_iter().enumerate() {
        let first = 256 + 256 * place as u64;
        partitions.push(Partition {
            number,
            kind,
            uuid: uuid(id),
            label: label.into(),
            first,
            last: first + 255,
        });
    }
    let by = |id| Wanted {
        kind: None,
        mark: Mark::Uuid(uuid(id)),
    };
    let slot = |data, tree| SlotLayout {
        data: by(data),
        tree: TreePlace::Partition(by(tree)),
    };
    let layout = Layout {
        esp: by(0),
        slots: [slot(1, 5), slot(2, 6)],
        state: by(4),
        uuids: twinroot_core::layout::UuidRule::Fixed,
    };
    let table = PartitionTable {
        disk: String::from("usr.img"),
        uuid: uuid(99),
        sector: SectorSize::S4096,
        usable: 6..2299,
        partitions,
    };
    (table, layout)
}

#[test]
fn a_usr_table_with_fixed_uuids_and_large_sectors_keeps_the_contract() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("usr.img");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.set_len(9 * MIB).unwrap();
    let (partitions, layout) = usr_table();
    table::write(&mut file, &path, &partitions).unwrap();
    assert_eq!(
        table::read(&path).unwrap().partitions,
        partitions.partitions,
        "written as it was read"
    );
    let disk = GptDisk::new(&path, layout.clone(), Arc::new(Runs(SlotName::B)));
    disk_contract(&disk, &facts(SlotName::B), &mut |slot| {
        rest(&path, &layout, slot)
    });
}

#[test]
fn the_booted_slot_is_never_opened_for_writing() {
    let (_home, path) = new_disk(SectorSize::S512);
    // The facts are of an earlier moment; the kernel is asked again.
    let stale = facts(SlotName::A);
    let refusal = disk(&path, SlotName::B)
        .target(stale.inactive(), Part::Data)
        .map(|_| ());
    assert_eq!(code(refusal), Code::SlotIsBooted);
}

#[test]
fn a_disk_that_is_a_link_or_no_disk_is_refused() {
    let (home, path) = new_disk(SectorSize::S512);
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(
        code(disk(&link, SlotName::A).observe(SlotName::A)),
        Code::TableInvalid
    );
    assert_eq!(
        code(disk(home.path(), SlotName::A).observe(SlotName::A)),
        Code::TableInvalid
    );
    assert_eq!(
        code(disk(&home.path().join("none"), SlotName::A).observe(SlotName::A)),
        Code::SlotMissing
    );
    let empty = home.path().join("empty");
    File::create(&empty).unwrap().set_len(4 * MIB).unwrap();
    assert_eq!(
        code(disk(&empty, SlotName::A).observe(SlotName::A)),
        Code::TableInvalid
    );
}

#[test]
fn a_damaged_table_is_read_from_its_copy_and_two_damaged_ones_are_refused() {
    let (_home, path) = new_disk(SectorSize::S512);
    let file = File::options().write(true).open(&path).unwrap();
    let before = table::read(&path).unwrap();
    file.write_all_at(&[0; 512], 512).unwrap();
    assert_eq!(table::read(&path).unwrap().partitions, before.partitions);
    let size = file.metadata().unwrap().len();
    file.write_all_at(&[0; 512], size - 512).unwrap();
    assert_eq!(code(table::read(&path)), Code::TableInvalid);
}

#[test]
fn a_slot_whose_label_stands_twice_is_refused() {
    let (_home, path) = new_disk(SectorSize::S512);
    let mut table = table::read(&path).unwrap();
    for partition in &mut table.partitions {
        if partition.label == "root-b" {
            partition.label = String::from("root-a");
        }
    }
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    super::table::write(&mut file, &path, &table).unwrap();
    let disk = disk(&path, SlotName::A);
    assert_eq!(
        code(disk.target(facts(SlotName::A).inactive(), Part::Data)),
        Code::SlotAmbiguous
    );
}

#[test]
fn a_full_file_system_is_a_fault_and_never_half_a_success() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let home = tempfile::tempdir().unwrap();
    let mounted = mount(
        Some("tmpfs"),
        home.path(),
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=256k"),
    );
    if let Err(errno) = mounted {
        return skip(
            "a full file system under a disk image",
            &format!("tmpfs: {errno}"),
        );
    }
    let path = home.path().join("disk.img");
    let created = table::create(&path, SectorSize::S512, &wanted());
    let disk = disk(&path, SlotName::A);
    let target = created.and_then(|()| disk.target(facts(SlotName::A).inactive(), Part::Data));
    let written = target
        .as_ref()
        .map(|target| target.write_at(0, &vec![1; 512 * 1024]));
    let written = format!("{written:?}");
    drop(target);
    umount2(home.path(), MntFlags::MNT_DETACH).unwrap();
    assert!(written.contains("disk-full"), "{written}");
}

#[test]
fn a_flush_that_failed_once_is_never_reported_as_done() {
    // fsync of a pipe fails: the nearest thing to a failing disk that every machine has.
    let (reader, _writer) = std::io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(reader));
    let window = Window::new(PathBuf::from("pipe"), file, 0, 4096);
    assert!(window.flush().unwrap_err().message.contains("flush-failed"));
    let again = window.flush().unwrap_err().message;
    assert!(again.contains("an earlier flush has failed"), "{again}");
    assert!(
        window.drop_caches().is_err(),
        "and nothing is read back as if it were proven"
    );
}

/// A loop device over an image, detached at the end.
struct Loop(PathBuf);

#[expect(
    clippy::disallowed_methods,
    reason = "a test may run tools; the node never does"
)]
fn run(tool: &str, arguments: &[&str]) -> Result<String, String> {
    let ran = std::process::Command::new(tool).args(arguments).output();
    let output = ran.map_err(|error| format!("{tool}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{tool}: {said}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Loop {
    fn attach(path: &Path) -> Result<Self, String> {
        let path = path.display().to_string();
        let device = run("losetup", &["--find", "--show", "--partscan", &path])?;
        Ok(Self(PathBuf::from(device)))
    }

    /// Tells the kernel of every partition: there are kernels that cannot read GPT.
    fn add_partitions(&self) -> Result<(), String> {
        let device = self.0.display().to_string();
        let table = table::read(&self.0).map_err(|failure| failure.to_string())?;
        for partition in table.partitions {
            let node = format!("{device}p{}", partition.number);
            if Path::new(&node).exists() {
                continue;
            }
            let sectors = partition.last - partition.first + 1;
            let [number, first, sectors] =
                [u64::from(partition.number), partition.first, sectors].map(|n| n.to_string());
            run("addpart", &[&device, &number, &first, &sectors])?;
        }
        Ok(())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(error) = run("losetup", &["--detach", &self.0.display().to_string()]) {
            eprintln!("{} stays attached: {error}", self.0.display());
        }
    }
}

#[test]
fn an_image_that_is_attached_to_a_loop_device_is_in_use() {
    let (_home, path) = new_disk(SectorSize::S512);
    let attached = match Loop::attach(&path) {
        Ok(attached) => attached,
        Err(reason) => return skip("an attached disk image", &reason),
    };
    let facts = facts(SlotName::A);
    let refusal = disk(&path, SlotName::A)
        .target(facts.inactive(), Part::Data)
        .map(|_| ());
    drop(attached);
    assert_eq!(code(refusal), Code::SlotInUse);
}

#[test]
fn a_block_device_keeps_the_contract_and_a_mounted_slot_is_refused() {
    let (_home, path) = new_disk(SectorSize::S512);
    let attached = match Loop::attach(&path) {
        Ok(attached) => attached,
        Err(reason) => return skip("a block device", &reason),
    };
    let running = SlotName::A;
    if let Err(reason) = attached.add_partitions() {
        return skip("a block device", &reason);
    }
    let disk = disk(&attached.0, running);
    let facts = facts(running);
    let target = disk.target(facts.inactive(), Part::Data).unwrap();
    // The kernel lets nobody else write while it is open for writing here.
    assert_eq!(
        code(disk.target(facts.inactive(), Part::Data)),
        Code::SlotInUse
    );
    drop(target);
    disk_contract(&disk, &facts, &mut |slot| {
        rest(&attached.0, &layout(), slot)
    });
}

#[test]
fn mounts_and_holders_are_found_by_device_number() {
    let kernel = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = kernel.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut File::create(path).unwrap(), text.as_bytes()).unwrap();
    };
    let partition = device::PartitionDevice {
        node: PathBuf::from("/dev/sda4"),
        number: String::from("8:4"),
    };
    let refused = || device::refuse_in_use(kernel.path(), &partition);
    assert_eq!(
        code(refused()),
        Code::ToolMissing,
        "what cannot be looked up is not free"
    );
    write(
        "proc/self/mountinfo",
        "30 1 8:2 / / rw - erofs /dev/sda2 ro\n",
    );
    std::fs::create_dir_all(kernel.path().join("sys/dev/block/8:4/holders")).unwrap();
    refused().unwrap();
    write(
        "proc/self/mountinfo",
        "30 1 8:4 / /mnt rw - erofs /dev/sda4 ro\n",
    );
    let refusal = refused().unwrap_err();
    assert_eq!(refusal.code, Code::SlotInUse);
    assert!(refusal.cause.contains("/mnt"), "{refusal}");
    write("proc/self/mountinfo", "");
    std::fs::create_dir_all(kernel.path().join("sys/dev/block/8:4/holders/dm-0")).unwrap();
    assert!(refused().unwrap_err().cause.contains("dm-0"));
}

#[test]
fn the_kernels_partition_is_taken_by_its_place_and_not_by_its_number() {
    let sys = tempfile::tempdir().unwrap();
    let disk = sys.path().join("dev/block/8:0");
    for (name, number, start, size, dev) in [
        ("sda1", "1", "2048", "4096", "8:1"),
        ("sda7", "7", "8192", "4096", "8:7"),
    ] {
        std::fs::create_dir_all(disk.join(name)).unwrap();
        for (file, text) in [
            ("partition", number),
            ("start", start),
            ("size", size),
            ("dev", dev),
        ] {
            std::io::Write::write_all(
                &mut File::create(disk.join(name).join(file)).unwrap(),
                text.as_bytes(),
            )
            .unwrap();
        }
    }
    let found = device::partition(sys.path(), "8:0", 8192 * 512, 4096 * 512).unwrap();
    assert_eq!(
        (found.node, found.number.as_str()),
        (PathBuf::from("/dev/sda7"), "8:7")
    );
    assert_eq!(
        code(device::partition(sys.path(), "8:0", 8192 * 512, 4097 * 512)),
        Code::TableInvalid
    );
}
