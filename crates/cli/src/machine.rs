//! The machine that a command is about: a machine in files, or this host.

use std::path::Path;

use twinroot_agent::reports::NodeKey;
use twinroot_agent::{Agent, Observer, Options};
use twinroot_core::config::{Origins, Settings};
use twinroot_core::error::{Code, Failure};
use twinroot_core::rollout::Seed;
use twinroot_core::update::Goal;
use twinroot_host::machine::{LinuxMachine, Machine};
use twinroot_ports::{Outcome, Ports, RebootGate, Store};

use crate::observe::Watcher;

/// Blob of the store that holds the node's secret for rollouts. Looking on needs none: only a check
/// asks the rollout, and a check acts.
pub(crate) const SEED: &str = "seed";
/// Blob with the secret of the key that signs this node's reports.
pub(crate) const KEY: &str = "node-key";

/// A machine with its ports.
#[derive(Debug)]
pub(crate) enum Node {
    /// In files.
    Files(Box<Machine>),
    /// This host.
    Host(Box<LinuxMachine>),
}

/// Whether a command changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It acts, and holds the lock.
    Act,
    /// It only looks, whoever holds the lock.
    Look,
}

impl Node {
    /// Opens the machine in `dir`, or this host.
    pub(crate) fn open(dir: Option<&Path>, access: Access) -> Outcome<Self> {
        Ok(match (dir, access) {
            (Some(dir), Access::Act) => Self::Files(Box::new(Machine::open(dir)?)),
            (Some(dir), Access::Look) => Self::Files(Box::new(Machine::look(dir)?)),
            (None, Access::Act) => Self::Host(Box::new(LinuxMachine::open()?)),
            (None, Access::Look) => Self::Host(Box::new(LinuxMachine::look()?)),
        })
    }

    /// Its ports.
    pub(crate) fn ports(&self) -> Ports<'_> {
        match self {
            Self::Files(machine) => machine.ports(),
            Self::Host(machine) => machine.ports(),
        }
    }

    /// Its configuration.
    pub(crate) fn settings(&self) -> &Settings {
        match self {
            Self::Files(machine) => machine.settings(),
            Self::Host(machine) => machine.settings(),
        }
    }

    /// Where each setting came from.
    pub(crate) fn origins(&self) -> &Origins {
        match self {
            Self::Files(machine) => machine.origins(),
            Self::Host(machine) => machine.origins(),
        }
    }

    fn anchor(&self) -> Outcome<Vec<u8>> {
        match self {
            Self::Files(machine) => machine.anchor(),
            Self::Host(machine) => machine.anchor(),
        }
    }

    /// The loop over this machine, going by the node's own strategy.
    pub(crate) fn agent<'a>(
        &'a self,
        access: Access,
        observer: &'a dyn Observer,
    ) -> Outcome<Agent<'a>> {
        let options = self.options(access)?;
        self.open_agent(access, options, observer)
    }

    /// The loop for one request of a person: it does what was asked and nothing by itself, so that
    /// `twinroot pause` never restarts a host.
    pub(crate) fn agent_for_request<'a>(&'a self, observer: &'a Watcher) -> Outcome<Agent<'a>> {
        let mut options = self.options(Access::Act)?;
        options.policy.goal = Goal::Check;
        self.open_agent(Access::Act, options, observer)
    }

    /// The same, with this gate in place of the machine's: before the first step, since what was under way is taken up
    /// when the loop is opened.
    pub(crate) fn agent_behind<'a>(
        &'a self,
        gate: &'a dyn RebootGate,
        observer: &'a dyn Observer,
    ) -> Outcome<Agent<'a>> {
        let ports = Ports {
            gate,
            ..self.ports()
        };
        Agent::open(ports, self.options(Access::Act)?, observer)
    }

    fn options(&self, access: Access) -> Outcome<Options> {
        let settings = self.settings();
        let store = self.ports().store;
        let seed = secret(store, SEED, access)?.unwrap_or_default();
        let zone = twinroot_host::zone::read(&settings.reboot.zone)?;
        let seed = Seed::from_bytes(seed);
        let mut options = Options::from_settings(settings, self.anchor()?, seed, zone);
        options.key = secret(store, KEY, access)?.map(NodeKey::from_secret);
        Ok(options)
    }

    fn open_agent<'a>(
        &'a self,
        access: Access,
        options: Options,
        observer: &'a dyn Observer,
    ) -> Outcome<Agent<'a>> {
        let ports = self.ports();
        match access {
            Access::Act => Agent::open(ports, options, observer),
            Access::Look => Agent::look(ports, options, observer),
        }
    }
}

/// A secret of the node, made once by whoever acts first; whoever only looks makes none.
fn secret(store: &dyn Store, name: &str, access: Access) -> Outcome<Option<[u8; 32]>> {
    let mut bytes = [0; 32];
    match (store.read(name)?, access) {
        (Some(kept), _) => {
            bytes = kept.try_into().map_err(|kept: Vec<u8>| {
                let cause = format!("it has {} bytes, not 32", kept.len());
                Failure::new(Code::StateDamaged, format!("the node's {name}"), cause).with_remedy(
                    "remove it; the node then makes a new one, and is a new node to others",
                )
            })?;
        }
        (None, Access::Look) => return Ok(None),
        (None, Access::Act) => {
            getrandom::fill(&mut bytes).map_err(|e| {
                Failure::new(Code::Internal, "the system's random numbers", e.to_string())
            })?;
            store.write(name, &bytes)?;
        }
    }
    Ok(Some(bytes))
}
