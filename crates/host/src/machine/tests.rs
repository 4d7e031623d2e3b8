use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinroot_core::error::Code;
use twinroot_core::facts::{Counting, Facts, Observed, Tries};
use twinroot_core::health::Outcome as Ended;
use twinroot_core::layout::SectorSize;
use twinroot_core::slot::{Part, SlotName};
use twinroot_ports::{Outcome, Ports};
use twinroot_trust::digest::Digest;

use super::files::Sizes;
use super::*;
use crate::provision::FirstRelease;
use crate::testing::{Release, SALT, release};

const MIB: u64 = 1024 * 1024;
const BLOCKS: u64 = 200;

const IMAGE: &str = "[identity]\nproduct = \"container-host\"\narchitecture = \"x86-64\"\n\n\
    [update]\nchannel = \"stable\"\n";
const HEALTH: &str =
    "[[check]]\nname = \"workload\"\nkind = \"unit\"\nunit = \"workload.service\"\n";

struct Node {
    home: tempfile::TempDir,
}

fn first(release: &Release) -> FirstRelease<'_> {
    FirstRelease {
        version: release.version.parse().unwrap(),
        data: &release.data,
        salt: &SALT,
        root_hash: release.root_hash,
        uki: &release.uki,
    }
}

fn sizes() -> Sizes {
    Sizes {
        esp: 8 * MIB,
        data: MIB,
        tree: MIB,
        sector: SectorSize::S512,
    }
}

fn make(dir: &Path, release: FirstRelease<'_>, sizes: Sizes) -> Outcome<()> {
    let repository = "[repository]\nmetadata-url = \"http://127.0.0.1:9/metadata\"\ntargets-url = \"http://127.0.0.1:9/targets\"\n";
    provision(
        dir,
        &New {
            sizes,
            first: release,
            anchor: b"{}",
            image_config: &[("00-image.toml", IMAGE)],
            config: &[("10-repository.toml", repository)],
            health: &[("10-workload.toml", HEALTH)],
            units: &["workload.service"],
        },
    )
}

impl Node {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        make(
            &home.path().join("m"),
            first(&release("1.0", BLOCKS)),
            sizes(),
        )
        .unwrap();
        Self { home }
    }

    /// A node whose first release was booted and blessed.
    fn settled() -> Self {
        let node = Self::new();
        node.boot(BootFault::None);
        node.healthy();
        node
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("m")
    }

    fn boot(&self, fault: BootFault) -> BootReport {
        boot(&self.dir(), fault).unwrap()
    }

    fn with<T>(&self, act: impl FnOnce(Ports<'_>, &Facts) -> T) -> T {
        let machine = Machine::open(&self.dir()).unwrap();
        let ports = machine.ports();
        let slots = SlotName::BOTH.map(|slot| ports.disk.observe(slot).unwrap());
        let (system, loader) = (
            ports.system.observe().unwrap(),
            ports.bootloader.observe().unwrap(),
        );
        let facts = Facts::establish(Observed {
            system,
            slots,
            loader,
        })
        .unwrap();
        act(ports, &facts)
    }

    /// What the agent does when everything holds.
    fn healthy(&self) {
        self.with(|ports, facts| {
            ports
                .bootloader
                .bless(&facts.booted_entry().unwrap().stem)
                .unwrap();
            ports.bootloader.clear_attempts().unwrap();
        });
    }

    /// What the agent does to install a release.
    fn install(&self, release: &Release) {
        self.with(|ports, facts| {
            let target = |part| ports.disk.target(facts.inactive(), part).unwrap();
            let release = first(release);
            release
                .write_slot(&*target(Part::Data), &*target(Part::Tree))
                .unwrap();
            release.write_entry(ports.bootloader).unwrap();
        });
    }

    fn version(report: &BootReport) -> &str {
        report.booted.as_ref().expect("it came up").version.as_str()
    }
}

fn ends(report: &BootReport) -> Vec<&StartEnd> {
    report.starts.iter().map(|start| &start.end).collect()
}

#[test]
fn a_new_machine_boots_its_first_release_and_shows_that_the_loader_counts() {
    let node = Node::new();
    assert_eq!(
        Machine::look(&node.dir()).unwrap_err().code,
        Code::MachineInvalid,
        "it is off"
    );
    let report = node.boot(BootFault::None);
    assert_eq!(
        (ends(&report), Node::version(&report)),
        (vec![&StartEnd::Up], "1.0")
    );
    assert_eq!(report.booted.as_ref().unwrap().slot, SlotName::A);
    node.with(|ports, facts| {
        assert_eq!(facts.system().product, "container-host");
        assert_eq!(facts.system().root_hash, release("1.0", BLOCKS).root_hash);
        assert_eq!(facts.loader().counting, Counting::Proven);
        assert_eq!(
            facts.booted_entry().unwrap().tries,
            Some(Tries { left: 2, done: 1 })
        );
        let checks = ports.health.checks().unwrap();
        assert_eq!(
            ports.health.run(&checks, &|| {}).unwrap()[0].outcome,
            Ended::Passed
        );
    });
}

#[test]
fn only_one_acts_on_a_machine_and_everybody_may_look() {
    let node = Node::settled();
    let machine = Machine::open(&node.dir()).unwrap();
    assert!(machine.may_act());
    assert_eq!(Machine::open(&node.dir()).unwrap_err().code, Code::LockHeld);
    assert_eq!(
        boot(&node.dir(), BootFault::None).unwrap_err().code,
        Code::LockHeld
    );
    assert!(!Machine::look(&node.dir()).unwrap().may_act());
}

#[test]
fn a_request_to_reboot_is_seen_and_gone_with_the_next_boot() {
    let node = Node::settled();
    assert!(!Machine::wants_reboot(&node.dir()));
    let boot_id = node.with(|ports, facts| {
        ports.power.reboot("release 1.1").unwrap();
        facts.system().boot_id.clone()
    });
    assert!(Machine::wants_reboot(&node.dir()));
    node.boot(BootFault::None);
    assert!(!Machine::wants_reboot(&node.dir()));
    node.with(|_, facts| assert_ne!(facts.system().boot_id, boot_id, "each boot has its own id"));
}

#[test]
fn a_trial_whose_kernel_panics_uses_up_its_tries_and_the_good_slot_comes_back() {
    let node = Node::settled();
    node.install(&release("1.1", BLOCKS));
    let report = node.boot(BootFault::Kernel);
    let panic = &StartEnd::Panic;
    assert_eq!(ends(&report), [panic, panic, panic, &StartEnd::Up]);
    assert_eq!(Node::version(&report), "1.0");
    node.with(|_, facts| {
        let entry = facts.entry_of(&release("1.1", BLOCKS).root_hash).unwrap();
        assert_eq!(entry.tries, Some(Tries { left: 0, done: 3 }));
    });
}

#[test]
fn a_trial_that_comes_up_ill_says_so_and_is_left_after_its_tries() {
    let node = Node::settled();
    node.install(&release("1.1", BLOCKS));
    for _ in 0..3 {
        let report = node.boot(BootFault::Health);
        assert_eq!(Node::version(&report), "1.1");
        node.with(|ports, _| {
            let checks = ports.health.checks().unwrap();
            assert_eq!(
                ports.health.run(&checks, &|| {}).unwrap()[0].outcome,
                Ended::FailedForGood
            );
        });
    }
    let report = node.boot(BootFault::None);
    assert_eq!(Node::version(&report), "1.0");
    node.with(|ports, _| {
        let checks = ports.health.checks().unwrap();
        assert_eq!(
            ports.health.run(&checks, &|| {}).unwrap()[0].outcome,
            Ended::Passed
        );
    });
}

#[test]
fn a_committed_slot_that_goes_bad_weeks_later_is_left_for_the_other_good_one() {
    let node = Node::settled();
    node.install(&release("1.1", BLOCKS));
    node.boot(BootFault::None);
    node.healthy();
    let report = node.boot(BootFault::Hang);
    let hang = &StartEnd::Hang;
    let [one, two, three, StartEnd::Left { .. }, StartEnd::Up] = ends(&report)[..] else {
        panic!("{report:?}");
    };
    assert_eq!([one, two, three], [hang; 3]);
    assert_eq!(Node::version(&report), "1.0");
    node.with(|_, facts| {
        assert_eq!(
            facts.loader().abandoned,
            Some(release("1.1", BLOCKS).root_hash)
        );
    });
}

#[test]
fn a_pin_boots_the_older_entry_until_it_is_taken_away() {
    let node = Node::settled();
    node.install(&release("1.1", BLOCKS));
    node.boot(BootFault::None);
    node.healthy();
    let old = node.with(|_, facts| facts.fallback_entry().unwrap().stem.clone());
    node.with(|ports, _| ports.bootloader.pin(Some(&old)).unwrap());
    for _ in 0..2 {
        assert_eq!(Node::version(&node.boot(BootFault::None)), "1.0");
    }
    node.with(|ports, _| ports.bootloader.pin(None).unwrap());
    assert_eq!(Node::version(&node.boot(BootFault::None)), "1.1");
}

#[test]
fn a_slot_with_one_flipped_bit_does_not_come_up() {
    let node = Node::settled();
    node.install(&release("1.1", BLOCKS));
    // One bit of the release's 100th block, wherever that lies on the disk.
    let disk = std::fs::read(node.dir().join("disk.img")).unwrap();
    let block = Digest::of(b"1.1 100").as_bytes().repeat(128);
    let at = disk
        .chunks(4096)
        .position(|chunk| chunk == block)
        .expect("it was written") as u64
        * 4096;
    let image = File::options()
        .write(true)
        .open(node.dir().join("disk.img"))
        .unwrap();
    image.write_all_at(&[block[0] ^ 1], at).unwrap();
    let report = node.boot(BootFault::None);
    assert!(
        matches!(ends(&report)[0], StartEnd::NoRoot(why) if why.contains("dm-verity")),
        "{report:?}"
    );
    assert_eq!(Node::version(&report), "1.0");
}

#[test]
fn a_machine_with_nothing_to_boot_stays_down_and_says_so() {
    let node = Node::settled();
    std::fs::remove_dir_all(node.dir().join("esp/EFI/Linux")).unwrap();
    let report = node.boot(BootFault::None);
    assert_eq!(
        report,
        BootReport {
            starts: Vec::new(),
            booted: None
        }
    );
    assert_eq!(
        Machine::look(&node.dir()).unwrap_err().code,
        Code::MachineInvalid
    );
}

#[test]
fn what_does_not_fit_or_belong_together_never_becomes_a_machine() {
    let home = tempfile::tempdir().unwrap();
    let (good, other) = (release("1.0", BLOCKS), release("1.1", BLOCKS));
    let dir = |name: &str| home.path().join(name);
    let large = release("1.0", MIB / 4096 + 1);
    let too_small = make(&dir("a"), first(&large), sizes()).unwrap_err();
    assert_eq!(too_small.code, Code::SlotTooSmall, "{too_small}");
    let mixed = FirstRelease {
        uki: &other.uki,
        ..first(&good)
    };
    assert_eq!(
        make(&dir("b"), mixed, sizes()).unwrap_err().code,
        Code::UkiRootHashMismatch
    );
    let mut wrong = release("1.0", BLOCKS);
    wrong.data[4096 * 7] ^= 1;
    let refusal = make(&dir("c"), first(&wrong), sizes()).unwrap_err();
    assert_eq!(refusal.code, Code::PayloadRootHash, "{refusal}");
    let full = Sizes {
        esp: 16 * 1024,
        ..sizes()
    };
    assert_eq!(
        make(&dir("d"), first(&good), full).unwrap_err().code,
        Code::EspFull
    );
    for name in ["a", "b", "c", "d", "none"] {
        assert_eq!(
            boot(&dir(name), BootFault::None).unwrap_err().code,
            Code::MachineInvalid,
            "{name}"
        );
    }
    make(&dir("e"), first(&good), sizes()).unwrap();
    let twice = make(&dir("e"), first(&good), sizes()).unwrap_err();
    assert_eq!(
        twice.code,
        Code::MachineInvalid,
        "a machine is never made over"
    );
}

#[test]
fn off_a_host_of_ours_the_refusal_says_what_is_missing() {
    let refusal = LinuxMachine::look().unwrap_err();
    assert!(!refusal.remedy.is_empty(), "{refusal}");
}
