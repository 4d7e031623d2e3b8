//! What the last look at the repository ended with. The state machine keeps a reason only while the
//! program runs; this small blob lets `status` and `why` answer in another process. It is a note for
//! people: nothing is ever decided by it.

use serde::{Deserialize, Serialize};
use twinroot_core::error::Failure;
use twinroot_core::why::WaitReason;
use twinroot_ports::{Code, Outcome, Store};
use twinroot_trust::time::UnixTime;

use crate::agent::Agent;

/// Name of the blob in the store.
const NAME: &str = "last-look.json";

/// The end of a request or of a round of the loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastLook {
    /// When, by the system clock.
    pub at: UnixTime,
    /// When signed metadata was last found fresh.
    pub fresh: Option<UnixTime>,
    /// Why nothing more happened.
    pub reason: Option<WaitReason>,
    /// What failed, if something did.
    pub failure: Option<Failure>,
}

/// Writes down how a request ended.
///
/// # Errors
/// What the store says.
pub fn remember(agent: &Agent<'_>, failure: Option<&Failure>) -> Outcome<()> {
    let ports = agent.ports();
    let at = ports.clock.now().wall;
    let before = last_look(ports.store)?;
    let fresh = match agent.state().refreshed {
        Some(_) => Some(at),
        None => before.and_then(|last| last.fresh),
    };
    write(agent, at, fresh, failure)
}

/// Writes down what failed between two looks: arming or restarting, when their time had come.
///
/// # Errors
/// What the store says.
pub fn remember_failure(agent: &Agent<'_>, failure: &Failure) -> Outcome<()> {
    let fresh = last_look(agent.ports().store)?.and_then(|last| last.fresh);
    write(agent, agent.ports().clock.now().wall, fresh, Some(failure))
}

fn write(
    agent: &Agent<'_>,
    at: UnixTime,
    fresh: Option<UnixTime>,
    failure: Option<&Failure>,
) -> Outcome<()> {
    let look = LastLook {
        at,
        fresh,
        reason: agent.state().phase.reason().cloned(),
        failure: failure.cloned(),
    };
    let bytes =
        serde_json::to_vec(&look).map_err(|e| Failure::new(Code::Internal, NAME, e.to_string()))?;
    agent.ports().store.write(NAME, &bytes)
}

/// How the last request ended; nothing where there was none, or where the note cannot be read.
///
/// # Errors
/// What the store says.
pub fn last_look(store: &dyn Store) -> Outcome<Option<LastLook>> {
    let bytes = store.read(NAME)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
