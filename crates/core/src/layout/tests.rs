use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use twinroot_trust::digest::Digest;

use super::*;
use crate::error::Code;
use crate::slot::SlotName;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const DISK_UUID: Guid = Guid::from_number(0x11111111_2222_4333_8444_555555555555);
// What Flatcar's own images carry for their two slots.
const USR_A: Guid = Guid::from_number(0x7130c94a_213a_4e5a_8e26_6cce9662f132);
const USR_B: Guid = Guid::from_number(0xe03dd35c_7c2d_4a47_b3fe_27f15780a57c);
const FLATCAR_ROOTFS: Guid = Guid::from_number(0x5dfbf5f4_2848_4bac_aa5e_0d9a20b745a6);
const OEM: Guid = Guid::from_number(0x0fc63daf_8483_4772_8e79_3d69d8477de4);

fn wanted() -> SizesWanted {
    SizesWanted {
        holds: Holds::Root,
        architecture: Architecture::X86_64,
        esp: GIB,
        data: 2 * GIB,
        tree: 64 * MIB,
        state: GIB,
    }
}

fn planned(sector: SectorSize) -> PartitionTable {
    let size = DiskSize {
        bytes: 16 * GIB,
        sector,
    };
    plan_table("disk.img", size, &wanted(), DISK_UUID).expect("it fits")
}

fn ours() -> Layout {
    Layout::twinroot(Holds::Root, Architecture::X86_64)
}

/// A table of the Flatcar kind on a disk with 4096-byte sectors; slots have fixed UUIDs and a type
/// that no specification of ours knows.
fn usr_table() -> PartitionTable {
    let row = |number, label: &str, kind, uuid, first: u64, last| Partition {
        number,
        kind,
        uuid,
        label: label.to_string(),
        first,
        last,
    };
    let uuid = |n| Guid::derived(DISK_UUID, n);
    PartitionTable {
        disk: "usr.img".to_string(),
        uuid: DISK_UUID,
        sector: SectorSize::S4096,
        usable: 6..2_000_000,
        partitions: vec![
            row(9, "ROOT", FLATCAR_ROOTFS, uuid("r"), 1_000_000, 1_999_999),
            row(1, "EFI-SYSTEM", types::ESP, uuid("e"), 512, 33_000),
            row(3, "USR-A", FLATCAR_ROOTFS, USR_A, 40_000, 300_000),
            row(4, "USR-B", FLATCAR_ROOTFS, USR_B, 300_001, 600_000),
            row(6, "OEM", OEM, uuid("o"), 600_001, 700_000),
        ],
    }
}

fn usr_layout() -> Layout {
    let state = Wanted {
        kind: None,
        mark: Mark::Label("ROOT".to_string()),
    };
    Layout::fixed_uuids([USR_A, USR_B], state)
}

#[test]
fn types_are_those_that_systemd_knows() {
    // As `systemd-id128 show` prints them.
    for (guid, text) in [
        (types::ESP, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
        (types::VAR, "4d21b016-b534-45c2-a9fb-5c16e091fd2d"),
        (
            types::slot_types(Holds::Root, Architecture::X86_64).0,
            "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        ),
        (
            types::slot_types(Holds::Root, Architecture::X86_64).1,
            "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
        ),
        (
            types::slot_types(Holds::Root, Architecture::Arm64).0,
            "b921b045-1df0-41c3-af44-4c6f280d3fae",
        ),
        (
            types::slot_types(Holds::Root, Architecture::Arm64).1,
            "df3300ce-d69f-4c92-978c-9bfb0f38d820",
        ),
        (
            types::slot_types(Holds::Usr, Architecture::X86_64).0,
            "8484680c-9521-48c6-9c11-b0720656f69e",
        ),
        (
            types::slot_types(Holds::Usr, Architecture::X86_64).1,
            "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
        ),
        (
            types::slot_types(Holds::Usr, Architecture::Arm64).0,
            "b0e01050-ee5f-4390-949a-9101b17104e9",
        ),
        (
            types::slot_types(Holds::Usr, Architecture::Arm64).1,
            "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
        ),
    ] {
        assert_eq!(guid.to_string(), text);
        assert_eq!(text.parse(), Ok(guid));
    }
}

#[test]
fn a_guid_lies_on_the_disk_as_the_uefi_specification_says() {
    // The first bytes of every ESP's row on every GPT disk.
    let disk = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9,
        0x3b,
    ];
    assert_eq!(types::ESP.to_disk(), disk);
    assert_eq!(Guid::from_disk(disk), types::ESP);
    for text in [
        "",
        "c12a7328f81f11d2ba4b00a0c93ec93b",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
        "c12a732-8f81f-11d2-ba4b-00a0c93ec93b",
    ] {
        assert!(text.parse::<Guid>().is_err(), "{text}");
    }
}

#[test]
fn uuids_of_a_root_are_the_two_halves_of_its_hash() {
    let hash: Digest = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef"
        .parse()
        .expect("a digest");
    let (data, tree) = Guid::of_root(&hash);
    assert_eq!(data.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(tree.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
}

#[test]
fn a_planned_table_is_found_again_on_both_sector_sizes() {
    for sector in [SectorSize::S512, SectorSize::S4096] {
        let table = planned(sector);
        let found = locate(&table, &ours()).expect("all is there");
        let a = found.slot(SlotName::A);
        let b = found.slot(SlotName::B);
        assert_eq!(
            (a.data.label.as_str(), b.data.label.as_str()),
            ("root-a", "root-b")
        );
        for partition in [&a.data, &b.data] {
            let bytes = partition.bytes(sector);
            assert_eq!(bytes.end - bytes.start, 2 * GIB);
            assert!(bytes.start.is_multiple_of(MIB));
        }
        assert!(matches!(&a.tree, Tree::Partition(tree) if tree.label == "root-a-verity"));
        let state = found.state.bytes(sector);
        assert!(
            state.end - state.start > 10 * GIB,
            "state gets what is left"
        );
        assert!(
            state.end <= 16 * GIB - 34 * 512,
            "the copy of the table stays free"
        );
    }
}

#[test]
fn a_usr_table_with_fixed_uuids_and_large_sectors_is_found() {
    let found = locate(&usr_table(), &usr_layout()).expect("all is there");
    let (a, b) = (found.slot(SlotName::A), found.slot(SlotName::B));
    assert_eq!((a.data.number, b.data.number), (3, 4));
    assert_eq!(a.data.bytes(found.sector).start, 40_000 * 4096);
    assert_eq!((&a.tree, &b.tree), (&Tree::BehindData, &Tree::BehindData));
    assert_eq!((found.esp.number, found.state.number), (1, 9));
}

#[test]
fn numbers_and_order_do_not_matter() {
    for (table, layout) in [
        (planned(SectorSize::S512), ours()),
        (usr_table(), usr_layout()),
    ] {
        let before = locate(&table, &layout).expect("all is there");
        let mut renumbered = table.clone();
        renumbered.partitions.reverse();
        for (n, partition) in renumbered.partitions.iter_mut().enumerate() {
            partition.number = n as u32 + 40;
        }
        let after = locate(&renumbered, &layout).expect("all is there");
        for name in SlotName::BOTH {
            assert_eq!(before.slot(name).data.uuid, after.slot(name).data.uuid);
        }
    }
}

type Damage = fn(&mut PartitionTable);

#[test]
fn a_table_that_is_not_what_it_should_be_is_refused() {
    let position = |table: &PartitionTable, label: &str| {
        table
            .partitions
            .iter()
            .position(|p| p.label == label)
            .expect("it is there")
    };
    let tables = [
        (planned(SectorSize::S512), ours(), "root-b"),
        (usr_table(), usr_layout(), "USR-B"),
    ];
    for (table, layout, slot) in tables {
        let at = position(&table, slot);
        let damages: [(&str, Code, Damage); 7] = [
            ("missing", Code::SlotMissing, |t| drop(t.partitions.pop())),
            ("same UUID", Code::SlotAmbiguous, |t| {
                t.partitions[0].uuid = t.partitions[5].uuid
            }),
            ("same number", Code::SlotAmbiguous, |t| {
                t.partitions[0].number = t.partitions[5].number
            }),
            ("overlap", Code::TableInvalid, |t| {
                t.partitions[5].first = t.partitions[0].first
            }),
            ("backwards", Code::TableInvalid, |t| {
                t.partitions[5].first = t.partitions[5].last + 1
            }),
            ("past the end", Code::TableInvalid, |t| {
                t.usable.end = t.partitions[5].last
            }),
            ("overflow", Code::TableInvalid, |t| t.usable.end = u64::MAX),
        ];
        for (what, code, damage) in damages {
            let mut damaged = table.clone();
            // Damage goes to the slot: bring it to the end, and keep six rows.
            let row = damaged.partitions.remove(at);
            damaged.partitions.push(row);
            while damaged.partitions.len() < 6 {
                let mut filler = damaged.partitions[0].clone();
                (filler.number, filler.uuid) = (77, Guid::derived(DISK_UUID, "filler"));
                (filler.first, filler.last) = (800_000, 800_001);
                (filler.kind, filler.label) = (OEM, "filler".to_string());
                damaged.partitions.insert(1, filler);
            }
            assert!(locate(&damaged, &layout).is_ok(), "{slot} {what}: before");
            damage(&mut damaged);
            let failure = locate(&damaged, &layout).expect_err(what);
            assert_eq!(failure.code, code, "{slot} {what}: {failure}");
            assert!(failure.subject.contains(&table.disk));
        }
    }
}

#[test]
fn two_partitions_with_one_label_are_refused() {
    let mut table = planned(SectorSize::S512);
    let twin = table
        .partitions
        .iter()
        .find(|p| p.label == "root-a")
        .cloned()
        .expect("there");
    for partition in &mut table.partitions {
        if partition.label == "root-b" {
            partition.label = twin.label.clone();
        }
    }
    let failure = locate(&table, &ours()).expect_err("two root-a");
    assert_eq!(failure.code, Code::SlotAmbiguous);
    assert!(failure.cause.contains("root-a (partition 3)"), "{failure}");
}

#[test]
fn a_second_esp_and_a_label_of_another_type_are_refused() {
    let mut second = planned(SectorSize::S512);
    second.partitions[5].kind = types::ESP;
    assert_eq!(
        locate(&second, &ours()).expect_err("two ESPs").code,
        Code::SlotAmbiguous
    );
    let mut other = planned(SectorSize::S512);
    for partition in &mut other.partitions {
        if partition.label == "root-b" {
            partition.kind = OEM;
        }
    }
    assert_eq!(
        locate(&other, &ours()).expect_err("another type").code,
        Code::SlotMissing
    );
}

#[test]
fn a_layout_that_names_one_partition_twice_is_refused() {
    let same = Layout::fixed_uuids([USR_A, USR_A], usr_layout().state);
    assert_eq!(
        locate(&usr_table(), &same).expect_err("twice").code,
        Code::SlotAmbiguous
    );
}

#[test]
fn a_disk_that_is_too_small_is_refused_with_what_is_missing() {
    let size = DiskSize {
        bytes: 5 * GIB,
        sector: SectorSize::S512,
    };
    let failure = plan_table("d", size, &wanted(), DISK_UUID).expect_err("too small");
    assert_eq!(failure.code, Code::TableDoesNotFit);
    assert!(failure.cause.contains("GiB more"), "{failure}");
    for bytes in [0, 1, 512, 4096, 40_000] {
        let size = DiskSize {
            bytes,
            sector: SectorSize::S512,
        };
        assert!(
            plan_table("d", size, &wanted(), DISK_UUID).is_err(),
            "{bytes}"
        );
    }
    let nothing = SizesWanted {
        tree: 0,
        ..wanted()
    };
    let size = DiskSize {
        bytes: 16 * GIB,
        sector: SectorSize::S512,
    };
    let failure = plan_table("d", size, &nothing, DISK_UUID).expect_err("no tree");
    assert_eq!(failure.code, Code::BadRequest);
}

proptest! {
    #[test]
    fn every_planned_table_is_sound_and_large_enough(
        disk in 20 * GIB..64 * GIB, esp in 1u64..2 * GIB, data in 1u64..8 * GIB, tree in 1u64..GIB,
        state in 1u64..8 * GIB, large: bool,
    ) {
        let sector = if large { SectorSize::S4096 } else { SectorSize::S512 };
        let wanted = SizesWanted { esp, data, tree, state, ..wanted() };
        let size = DiskSize { bytes: disk, sector };
        let planned = plan_table("d", size, &wanted, DISK_UUID);
        let need = esp + 2 * (data + tree) + state;
        prop_assert!(planned.is_ok() || need + 8 * MIB > disk, "there was room");
        if let Ok(table) = planned {
            let found = locate(&table, &ours());
            prop_assert!(found.is_ok());
            let sizes: Vec<u64> = table.partitions.iter().map(|p| {
                let bytes = p.bytes(sector);
                bytes.end - bytes.start
            }).collect();
            let least = [esp, tree, data, tree, data, state];
            prop_assert!(sizes.iter().zip(least).all(|(has, least)| *has >= least));
            prop_assert!(table.partitions.iter().all(|p| p.bytes(sector).end <= disk));
        }
    }
}
