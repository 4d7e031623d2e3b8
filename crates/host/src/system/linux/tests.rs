use std::io::Write;

use super::*;

#[derive(Debug)]
struct Slots;

impl Devices for Slots {
    fn slot_of(&self, device: &str) -> Option<SlotName> {
        match device {
            "8:2" => Some(SlotName::A),
            "8:4" => Some(SlotName::B),
            _ => None,
        }
    }

    fn enforced(&self, name: &str) -> Outcome<Digest> {
        let hash = if name == "root" { HASH } else { OTHER };
        Ok(hash.parse().unwrap())
    }
}

const HASH: &str = "4f1d6a5d3d1c7d0bbd0f0b6a0a2e8f7c4f1d6a5d3d1c7d0bbd0f0b6a0a2e8f7c";

const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";

/// A machine's `/proc` and `/sys`, as far as they are read.
fn machine(changes: &[(&str, &str)]) -> (tempfile::TempDir, LinuxSystem) {
    let home = tempfile::tempdir().unwrap();
    let cmdline = format!("quiet roothash={HASH} console=ttyS0\n");
    let mounts = "22 1 254:0 / / ro,relatime - erofs /dev/mapper/root ro\n23 22 0:20 / /proc rw - proc proc rw\n";
    let files = [
        ("proc/cmdline", &*cmdline),
        ("proc/self/mountinfo", mounts),
        (
            "proc/sys/kernel/random/boot_id",
            "5b6a3c1e-0000-4000-8000-000000000001\n",
        ),
        (
            "proc/cpuinfo",
            "flags\t: cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3\n",
        ),
        (
            "etc/os-release",
            "IMAGE_ID=container-host\nIMAGE_VERSION=2026.11.2\nTWINROOT_FLOOR=2026.8.0\nTWINROOT_BUILT=1700000000\n",
        ),
        ("sys/dev/block/254:0/dm/uuid", "CRYPT-VERITY-0123-root\n"),
        ("sys/dev/block/254:0/dm/name", "root\n"),
        ("sys/dev/block/254:0/slaves/sda4/dev", "8:4\n"),
        ("sys/dev/block/254:0/slaves/sda5/dev", "8:5\n"),
    ];
    for (path, text) in files.iter().chain(changes) {
        let path = home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
    let system = LinuxSystem::new(home.path(), Arc::new(Slots));
    (home, system)
}

#[test]
fn the_booted_slot_is_what_dm_verity_runs_over() {
    let (_home, system) = machine(&[]);
    let facts = system.observe().unwrap();
    assert_eq!(facts.slot, SlotName::B);
    assert_eq!(facts.root_hash.to_string(), HASH);
    assert_eq!(
        (facts.product.as_str(), facts.version.as_str()),
        ("container-host", "2026.11.2")
    );
    assert_eq!(facts.stamped_floor.unwrap().as_str(), "2026.8.0");
    assert_eq!(
        (facts.built, facts.cpu.as_str(), facts.firmware.as_str()),
        (UnixTime(1_700_000_000), "x86-64-v2", "bios")
    );
}

#[test]
fn pcr_11_is_read_where_there_is_a_tpm_and_garbage_is_not_taken_for_it() {
    const PATH: &str = "sys/class/tpm/tpm0/pcr-sha256/11";
    let (_home, without) = machine(&[]);
    assert_eq!(without.measured().unwrap(), None);
    let capitals = format!("{}\n", HASH.to_uppercase());
    let (_home, with) = machine(&[(PATH, &capitals)]);
    assert_eq!(with.measured().unwrap().unwrap().to_string(), HASH);
    let (_home, garbage) = machine(&[(PATH, "0000\n")]);
    let refused = garbage.measured().unwrap_err();
    assert!(refused.subject.ends_with(PATH), "{refused}");
}

#[test]
fn where_the_kernel_does_not_say_it_clearly_no_slot_counts_as_booted() {
    let unclear: [&[(&str, &str)]; 4] = [
        &[("sys/dev/block/254:0/dm/uuid", "LVM-abc\n")],
        &[("sys/dev/block/254:0/slaves/sda2/dev", "8:2\n")],
        &[("sys/dev/block/254:0/slaves/sda4/dev", "8:99\n")],
        &[(
            "proc/self/mountinfo",
            "23 22 0:20 / /proc rw - proc proc rw\n",
        )],
    ];
    for changes in unclear {
        let (_home, system) = machine(changes);
        assert_eq!(
            system.observe().unwrap_err().code,
            Code::BootedSlotUnknown,
            "{changes:?}"
        );
    }
    let (_home, system) = machine(&[("sys/dev/block/254:0/dm/name", "usr\n")]);
    let contradicts = system.observe().unwrap_err();
    assert_eq!(contradicts.code, Code::BootFactsContradict, "{contradicts}");
    let two = format!("roothash={HASH} roothash={HASH}");
    let (_home, system) = machine(&[("proc/cmdline", &two)]);
    assert_eq!(system.observe().unwrap_err().code, Code::UkiRootHashMissing);
    let (_home, system) = machine(&[("etc/os-release", "IMAGE_ID=x\n")]);
    assert_eq!(
        system.observe().unwrap_err().code,
        Code::BootFactsContradict
    );
}
