//! A machine in files and the repository that it follows, for one test.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use twinroot_core::layout::SectorSize;
use twinroot_host::machine::files::Sizes;
use twinroot_host::machine::{self, BootFault, Machine, New};
use twinroot_host::provision::FirstRelease;
use twinroot_publish::fake;
use twinroot_publish::serve::Server;
use twinroot_publish::serve::faults::{Fault, Kind};
use twinroot_tests::program;

/// Blocks of each image: several segments of the fake repository's 16.
pub const BLOCKS: u64 = 64;
const MIB: u64 = 1 << 20;

const HEALTH: &str = "[[check]]\nname = \"workload\"\nkind = \"unit\"\nunit = \"workload.service\"\n\
                      period = \"1s\"\nsuccesses = 1\n";

pub struct Node {
    pub repo: fake::Repo,
    pub server: Server,
    pub dir: tempfile::TempDir,
    image: Vec<u8>,
}

impl Node {
    /// With 1.0 published, installed, started and committed.
    pub fn new() -> Self {
        Self::sized(MIB)
    }

    /// The same with slots of this many bytes.
    pub fn sized(slot: u64) -> Self {
        let mut repo = fake::Repo::new(1);
        let image = fake::image(7, BLOCKS);
        let first = repo.release(fake::STABLE, "1.0", &image);
        let server = repo.serve();
        let dir = tempfile::TempDir::new().unwrap();
        let config = format!(
            "[identity]\nproduct = \"container-host\"\narchitecture = \"x86-64\"\n\
             [repository]\nmetadata-url = \"{}\"\ntargets-url = \"{}\"\n\
             [update]\nchannel = \"stable\"\nstrategy = \"manual\"\n\
             [health]\nprobation = \"1s\"\n",
            server.metadata_url(),
            server.targets_url()
        );
        let new = New {
            sizes: Sizes {
                esp: 8 * MIB,
                data: slot,
                tree: MIB,
                sector: SectorSize::S512,
            },
            first: FirstRelease {
                version: first.version.clone(),
                data: &first.image,
                salt: &fake::SALT,
                root_hash: first.root_hash,
                uki: &first.uki,
            },
            anchor: &repo.anchor(),
            image_config: &[("10-test.toml", &config)],
            config: &[],
            health: &[("10-test.toml", HEALTH)],
            units: &["workload.service"],
        };
        machine::provision(&dir.path().join("machine"), &new).unwrap();
        let node = Self {
            repo,
            server,
            dir,
            image,
        };
        node.boot(BootFault::None);
        node.run(&["agent", "--once"]).is_good();
        assert_eq!(node.running(), "1.0");
        node
    }

    /// The image of 1.0.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    pub fn machine(&self) -> PathBuf {
        self.dir.path().join("machine")
    }

    /// Publishes a release that differs in a few blocks.
    pub fn publish(&mut self, version: &str, seed: u64) -> fake::Release {
        let image = fake::changed(&self.image, seed, [3, 17, 40]);
        self.repo.release(fake::STABLE, version, &image)
    }

    /// Publishes one after the plan was changed.
    pub fn publish_with(
        &mut self,
        version: &str,
        seed: u64,
        change: impl FnOnce(&mut twinroot_publish::add::AddPlan),
    ) -> fake::Release {
        let image = fake::changed(&self.image, seed, [3, 17, 40]);
        self.repo
            .release_with(fake::STABLE, version, &image, change)
    }

    /// Sets the machine's clock to the repository's time, or by that many seconds off it.
    fn set_clock(&self, off: i64) {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs() as i64;
        let offset = self.repo.now.0 - real + off;
        std::fs::write(self.machine().join("clock-offset"), offset.to_string()).unwrap();
    }

    pub fn boot(&self, fault: BootFault) -> Option<String> {
        self.set_clock(0);
        let report = machine::boot(&self.machine(), fault).unwrap();
        report.booted.map(|booted| booted.version.to_string())
    }

    pub fn run(&self, args: &[&str]) -> Answer {
        self.run_at(0, args)
    }

    /// Runs the program with the machine's clock off by this many seconds.
    pub fn run_at(&self, off: i64, args: &[&str]) -> Answer {
        self.set_clock(off);
        let mut command = Command::new(program("twinroot"));
        command.arg("--machine").arg(self.machine()).args(args);
        Answer(command.output().unwrap())
    }

    /// A whole update: apply, restart, trial.
    pub fn update(&self) {
        self.run(&["apply"]).is_good();
        assert!(Machine::wants_reboot(&self.machine()));
        self.boot(BootFault::None);
        self.run(&["agent", "--once"]).is_good();
    }

    pub fn status(&self) -> Value {
        self.run(&["status", "--json"]).json()
    }

    pub fn running(&self) -> String {
        self.status()["booted"]["release"]["version"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn plant(&self, path: &str, kind: Kind) {
        self.server.set_faults(vec![Fault::always(path, kind)]);
    }

    pub fn heal(&self) {
        self.server.set_faults(Vec::new());
    }

    /// What no refusal may change: the running slot's bytes, the default entry, the floor.
    pub fn untouched(&self) -> (Vec<String>, Vec<u8>, Value) {
        let esp = self.machine().join("esp/EFI/Linux");
        let entries = std::fs::read_dir(esp)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let blessed = entries.map(|name| name.into_string().unwrap());
        // A counted or staged image is no default; only blessed entries count here.
        let mut blessed: Vec<_> = blessed
            .filter(|n| n.ends_with(".efi") && !n.contains('+'))
            .collect();
        blessed.sort();
        let ports = Machine::look(&self.machine()).unwrap();
        let booted = ports.ports().system.observe().unwrap().slot;
        let reader = ports
            .ports()
            .disk
            .reader(booted, twinroot_core::slot::Part::Data)
            .unwrap();
        let mut bytes = vec![0; usize::try_from(reader.len().unwrap()).unwrap()];
        reader.read_at(0, &mut bytes).unwrap();
        (blessed, bytes, self.status()["floor"].clone())
    }

    /// Runs a request that must be refused with this code and change nothing that matters.
    pub fn refuses(&self, args: &[&str], code: &str) {
        let before = self.untouched();
        self.run(args).is_refused(code);
        assert_eq!(self.untouched(), before, "{code}");
    }
}

/// What the program answered.
pub struct Answer(pub Output);

impl Answer {
    pub fn is_good(&self) {
        assert!(self.0.status.success(), "{}", self.said());
    }

    /// One line: subject, cause, remedy, code.
    pub fn is_refused(&self, code: &str) {
        let said = self.said();
        assert!(
            !self.0.status.success(),
            "not refused, {code} was expected: {said}"
        );
        let line = said
            .lines()
            .find(|line| line.starts_with("twinroot: "))
            .unwrap_or_default();
        assert!(
            line.ends_with(&format!("[{code}]")),
            "{code} was expected: {said}"
        );
        let (head, remedy) = line.rsplit_once("; ").unwrap_or_default();
        assert!(
            head.contains(": ") && !remedy.starts_with('['),
            "no cause or remedy: {line}"
        );
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout)
            .unwrap_or_else(|_| panic!("no JSON: {}", self.said()))
    }

    pub fn said(&self) -> String {
        let (out, err) = (&self.0.stdout, &self.0.stderr);
        format!(
            "{}{}",
            String::from_utf8_lossy(err),
            String::from_utf8_lossy(out)
        )
    }
}
