//! A node: the real loop on the ports of a simulated machine.

use std::collections::BTreeMap;
use std::time::Duration;

use twinroot_agent::{Agent, Options, Quiet, RECORDS};
use twinroot_core::envelope;
use twinroot_core::health::Rules;
use twinroot_core::records::Records;
use twinroot_core::rollout::Seed;
use twinroot_core::update::{Command, Event, Goal, Policy};
use twinroot_ports::Ports;
use twinroot_publish::fake::{ARCHITECTURE, PRODUCT, STABLE};
use twinroot_sim::matrix::Driver;
use twinroot_sim::world::{Machine, World};
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::name::Name;
use twinroot_trust::release::Identity;
use twinroot_trust::time::Seconds;
use twinroot_trust::tuf::Limits;

/// How long everything must hold on trial. Short, since each round of checks is a few effects and
/// each effect is a moment to die at; long enough for several rounds.
const PROBATION: Seconds = Seconds(1);
/// When a trial without a verdict is over.
const DEADLINE: Seconds = Seconds(4);
/// Rounds of waiting after which a node that does not rest never will: the deadline allows eight,
/// and no phase waits longer.
const ROUNDS_MAX: u32 = 64;

/// Gives the loop the machine's ports, or others in their place.
pub type Wire =
    dyn Fn(&World, &mut dyn FnMut(Ports<'_>) -> Result<(), String>) -> Result<(), String> + Sync;

/// The loop with its options.
pub struct Node {
    options: Options,
    wire: Box<Wire>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node whose images carry this trust anchor. It updates by itself, as far as a reboot.
    #[must_use]
    pub fn new(anchor: &[u8]) -> Self {
        Self {
            options: options(anchor),
            wire: Box::new(|world, run| run(world.ports())),
        }
    }

    /// The same with other options.
    #[must_use]
    pub fn with_options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// The same with something between the loop and the machine.
    #[must_use]
    pub fn with_wire(mut self, wire: Box<Wire>) -> Self {
        self.wire = wire;
        self
    }

    /// Recovers, does what is asked, goes on until the node rests or restarts.
    fn go(&self, ports: Ports<'_>, world: &World, request: Option<&Command>) -> Result<(), String> {
        let failed = |failure: twinroot_ports::Failure| failure.to_string();
        let mut agent = Agent::open(ports, self.options.clone(), &Quiet).map_err(failed)?;
        settle(&mut agent, world)?;
        if agent.rebooting() {
            return Ok(());
        }
        // Nobody asks: then the timer does, as it would on a node that updates by itself.
        let event = request.map_or(Event::CheckDue, |command| Event::Command(command.clone()));
        agent.handle(event).map_err(failed)?;
        settle(&mut agent, world)
    }
}

fn settle(agent: &mut Agent<'_>, world: &World) -> Result<(), String> {
    let mut rounds = 0;
    let mut wait = |pause: Duration| {
        rounds += 1;
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        world.outside(|m| m.since_boot += millis);
        rounds < ROUNDS_MAX
    };
    agent
        .settle(&mut wait)
        .map_err(|failure| failure.to_string())?;
    if agent.rebooting() || agent.state().phase.is_at_rest() {
        return Ok(());
    }
    let phase = agent.state().phase.name().as_str();
    Err(format!("still {phase} after {ROUNDS_MAX} rounds"))
}

impl Driver for Node {
    fn run(&self, world: &World, request: Option<&Command>) -> Result<(), String> {
        (self.wire)(world, &mut |ports| self.go(ports, world, request))
    }

    fn records(&self, machine: &Machine) -> Records {
        let copies = envelope::copies(RECORDS).map(|name| machine.files.read(&name));
        envelope::newest(&copies)
            .map(|opened| opened.value)
            .unwrap_or_default()
    }

    fn metadata(&self, machine: &Machine) -> BTreeMap<String, u64> {
        let role = |name: String| {
            let role = name
                .strip_prefix("trust/")?
                .strip_suffix(".json")?
                .to_owned();
            let text: serde_json::Value =
                serde_json::from_slice(&machine.files.read(&name)?).ok()?;
            Some((role, text["signed"]["version"].as_u64()?))
        };
        machine.files.names().into_iter().filter_map(role).collect()
    }
}

fn options(anchor: &[u8]) -> Options {
    let name = |text: &str| text.parse::<Name>().expect("the constant is a name");
    Options {
        policy: Policy {
            identity: Identity {
                product: name(PRODUCT),
                variant: None,
                architecture: name(ARCHITECTURE),
                channel: name(STABLE),
            },
            goal: Goal::Reboot,
            tries: 3,
            max_attempts: 3,
            trial_deadline: DEADLINE.0 * 1000,
            metadata_max_age: 3600 * 1000,
            schedule: twinroot_core::schedule::Schedule::always(),
        },
        anchor: anchor.to_vec(),
        key_policy: KeyPolicy::node(),
        limits: Limits::node(),
        workers: 1,
        seed: Seed::from_bytes([7; 32]),
        health: Rules {
            probation: PROBATION,
            deadline: DEADLINE,
            remote_extension: Seconds(0),
            on_remote_loss: twinroot_core::health::RemoteLoss::KeepNewSlot,
        },
        key: None,
    }
}
