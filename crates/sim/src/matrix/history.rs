//! What happens to a machine, as data.

use std::fmt;
use std::sync::Arc;

use twinroot_core::update::Command;
use twinroot_trust::digest::Digest;

use super::drive::shut_down;
use crate::source::Repository;
use crate::world::Machine;

/// One step of a history.
#[derive(Clone)]
pub enum Step {
    /// The machine runs until it rests, restarting as often as it asks to. Cuts fall in here.
    Run(Option<Command>),
    /// Something changes while it rests: a publisher releases, a disk rots, weeks pass.
    Change(&'static str, Arc<dyn Fn(&mut Machine) + Send + Sync>),
    /// The power goes and comes back while it rests.
    PowerCycle,
}

impl Step {
    /// Does a step in which the node does not run; nothing for one in which it does.
    pub fn change(&self, machine: &mut Machine) {
        match self {
            Self::Run(_) => {}
            Self::Change(_, act) => act(machine),
            Self::PowerCycle => shut_down(machine),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(request) => write!(f, "Run({request:?})"),
            Self::Change(what, _) => write!(f, "Change({what})"),
            Self::PowerCycle => f.write_str("PowerCycle"),
        }
    }
}

/// A release that any node must be able to take, whatever happened to it before.
#[derive(Debug, Clone)]
pub struct NextGood {
    /// The repository that offers it.
    pub repository: Arc<Repository>,
    /// Its root hash.
    pub root: Digest,
}

/// A machine and what happens to it.
#[derive(Debug, Clone)]
pub struct History {
    /// One or two words.
    pub name: &'static str,
    /// The machine at the beginning, off.
    pub start: Machine,
    /// What happens.
    pub steps: Vec<Step>,
    /// Root hash that must run at the end when nothing was cut.
    pub end: Digest,
    /// Starts that each of its runs may take when nothing is cut. More would be a loop that something
    /// else happens to end.
    pub starts: u32,
    /// The release that must be possible afterwards.
    pub next: NextGood,
}
