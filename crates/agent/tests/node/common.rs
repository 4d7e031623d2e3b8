//! A node of its own for each test: a simulated machine and a small signed repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use twinroot_agent::{Agent, Options, Quiet};
use twinroot_core::health::Rules;
use twinroot_core::rollout::Seed;
use twinroot_core::update::{Command, Event, Goal, Policy};
use twinroot_ports::Failure;
use twinroot_publish::fake;
use twinroot_sim::boot::Boot;
use twinroot_sim::provision::{First, Sizes, install};
use twinroot_sim::source::Repository;
use twinroot_sim::world::{Behaviour, Image, World};
use twinroot_trust::digest::Digest;
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::release::Identity;
use twinroot_trust::time::Seconds;
use twinroot_trust::tuf::Limits;

/// Blocks of the test images.
pub(crate) const BLOCKS: u64 = 8;

/// A repository and the machine that follows it.
pub(crate) struct Node {
    pub(crate) repo: fake::Repo,
    pub(crate) world: World,
    anchor: Vec<u8>,
}

/// Reads a published directory into the simulator's source.
fn read(dir: &Path) -> Repository {
    let mut repository = Repository::default();
    for (part, into) in [("metadata", 0), ("targets", 1)] {
        let top = dir.join(part);
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path
                    .strip_prefix(&top)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                let bytes: Arc<[u8]> = std::fs::read(&path).unwrap().into();
                let map = if into == 0 {
                    &mut repository.metadata
                } else {
                    &mut repository.targets
                };
                map.insert(name, bytes);
            }
        }
    }
    repository
}

impl Node {
    /// With 1.0 published and installed; off.
    pub(crate) fn new() -> Self {
        let mut repo = fake::Repo::new(1);
        let image = fake::image(7, BLOCKS);
        let first = repo.release(fake::STABLE, "1.0", &image);
        let anchor = repo.anchor();
        let tree = tree_of(&image);
        let images = BTreeMap::from([(digest(&first.root_hash), plain(&first, Behaviour::Good))]);
        let machine = install(
            Sizes::default(),
            &First {
                version: &first.version,
                data: &image,
                tree: &tree,
                uki: &first.uki,
                tries: 3,
            },
            images,
            Arc::new(read(&repo.published())),
            repo.now,
        );
        Self {
            repo,
            world: World::new(machine),
            anchor,
        }
    }

    /// Publishes a release that behaves so when it runs.
    pub(crate) fn publish(
        &mut self,
        version: &str,
        seed: u64,
        behaviour: Behaviour,
    ) -> fake::Release {
        let image = fake::changed(&fake::image(7, BLOCKS), seed, [seed % BLOCKS]);
        let release = self.repo.release(fake::STABLE, version, &image);
        self.show();
        let (root, image) = (digest(&release.root_hash), plain(&release, behaviour));
        self.world.outside(|m| {
            let mut images = (*m.images).clone();
            images.insert(root, image);
            m.images = Arc::new(images);
        });
        release
    }

    /// Lets the machine see what is published now.
    pub(crate) fn show(&self) {
        let now = Arc::new(read(&self.repo.published()));
        let wall = self.repo.now;
        self.world.outside(|m| {
            m.source.show(now);
            m.wall = wall;
        });
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            policy: Policy {
                identity: Identity {
                    product: "container-host".parse().unwrap(),
                    variant: None,
                    architecture: "x86-64".parse().unwrap(),
                    channel: fake::STABLE.parse().unwrap(),
                },
                goal: Goal::Check,
                tries: 3,
                max_attempts: 3,
                trial_deadline: 600_000,
                metadata_max_age: 3_600_000,
                schedule: twinroot_core::schedule::Schedule::always(),
            },
            anchor: self.anchor.clone(),
            key_policy: KeyPolicy::node(),
            limits: Limits::node(),
            workers: 1,
            seed: Seed::from_bytes([7; 32]),
            health: Rules {
                probation: Seconds(2),
                deadline: Seconds(300),
                remote_extension: Seconds(0),
                on_remote_loss: twinroot_core::health::RemoteLoss::KeepNewSlot,
            },
            key: None,
        }
    }

    /// Runs a request to rest, through as many restarts as the machine asks for.
    pub(crate) fn run(&self, command: Option<Command>) -> Option<Failure> {
        let mut command = command;
        let mut refused = None;
        for _ in 0..10 {
            if self.world.outside(|m| m.running.is_none()) {
                assert!(matches!(self.world.boot(), Boot::Up { .. }), "bricked");
            }
            let ports = self.world.ports();
            let mut agent = Agent::open(ports, self.options(), &Quiet).expect("opens");
            let mut wait = |time: std::time::Duration| {
                self.world
                    .outside(|m| m.since_boot += time.as_millis() as u64);
                true
            };
            refused = agent.settle(&mut wait).expect("settles").or(refused);
            if let Some(command) = command.take() {
                refused = agent
                    .handle(Event::Command(command))
                    .expect("handles")
                    .or(refused);
            }
            refused = agent.settle(&mut wait).expect("settles").or(refused);
            drop(agent);
            if !self.world.outside(|m| m.reboot_requested) {
                return refused;
            }
            self.world.outside(|m| {
                m.running = None;
                m.reboot_requested = false;
            });
        }
        panic!("it does not come to rest");
    }

    /// The version that runs.
    pub(crate) fn running(&self) -> String {
        self.world
            .ports()
            .system
            .observe()
            .unwrap()
            .version
            .to_string()
    }

    /// `what` of every line of history.
    pub(crate) fn history(&self) -> Vec<String> {
        let ports = self.world.ports();
        let lines = twinroot_agent::history::history(ports.store).unwrap();
        lines
            .into_iter()
            .map(|line| format!("{}: {}", line.what, line.detail))
            .collect()
    }
}

pub(crate) fn apply() -> Command {
    Command::Update {
        goal: Goal::Reboot,
        version: None,
        force: false,
    }
}

fn digest(root: &impl ToString) -> Digest {
    root.to_string().parse().unwrap()
}

fn plain(release: &fake::Release, behaviour: Behaviour) -> Image {
    Image {
        version: release.version.clone(),
        uki: Digest::of(&release.uki),
        behaviour,
        stamped_floor: None,
        built: fake::BEGINNING,
    }
}

/// Superblock and tree of an image.
fn tree_of(image: &[u8]) -> Vec<u8> {
    use twinroot_payload::finish::{Goal as Slot, Proof, prove};
    use twinroot_payload::verity::{TreeShape, root_of};
    let shape = TreeShape::for_size(image.len() as u64).unwrap();
    let root_hash = root_of(&image, &shape, &fake::SALT).unwrap();
    let tree = Memory(std::sync::Mutex::new(vec![
        0;
        shape.partition_bytes() as usize
    ]));
    let goal = Slot {
        shape,
        salt: &fake::SALT,
        root_hash,
    };
    let Proof::Right(proven) = prove(&goal, &image, &tree, &mut |_| Ok(())).unwrap() else {
        panic!("an image has its own root hash");
    };
    proven.check_tree(&tree).unwrap().seal(&tree).unwrap();
    tree.0.into_inner().unwrap()
}

struct Memory(std::sync::Mutex<Vec<u8>>);

impl twinroot_ports::ReadAt for Memory {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), twinroot_ports::Fault> {
        let bytes = self.0.lock().unwrap();
        buf.copy_from_slice(&bytes[offset as usize..offset as usize + buf.len()]);
        Ok(())
    }

    fn len(&self) -> Result<u64, twinroot_ports::Fault> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

impl twinroot_ports::WriteAt for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), twinroot_ports::Fault> {
        self.0.lock().unwrap()[offset as usize..offset as usize + bytes.len()]
            .copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> Result<(), twinroot_ports::Fault> {
        Ok(())
    }
}
