//! `twinroot status`: what is, in one look.

use twinroot_core::config::Settings;
use twinroot_core::error::Failure;
use twinroot_core::facts::{Facts, Fallback};
use twinroot_core::records::{DeniedBy, Records};
use twinroot_core::slot::SlotName;
use twinroot_core::update::recover::under_way;
use twinroot_core::update::state::{Purpose, Resume};
use twinroot_core::update::{Phase, PhaseName, SavedRelease};
use twinroot_core::why::WaitReason;
use twinroot_core::wire::{
    Denied, FallbackStatus, LoaderStatus, Node, Reason, ReleaseRef, Schema, SlotStatus, Status,
};
use twinroot_ports::Outcome;
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;

use super::last::last_look;
use super::{check, saved, why};
use crate::agent::Agent;

/// What is.
///
/// # Errors
/// What the store says.
pub fn status(agent: &Agent<'_>, settings: &Settings) -> Outcome<Status> {
    let (state, records, facts) = (agent.state(), agent.records(), agent.facts());
    let look = last_look(agent.ports().store)?;
    let stamped = facts.system().stamped_floor.as_ref();
    let last_failure = match &state.phase {
        Phase::Blocked { failure } => Some(failure.clone()),
        _ => look.as_ref().and_then(|look| look.failure.clone()),
    };
    let waits = why::reasons(agent)?;
    Ok(Status {
        schema: Schema,
        phase: phase_name(&state.phase).as_str().to_owned(),
        sentence: sentence(&state.phase, facts),
        node: node(agent, settings),
        booted: slot(agent, facts.booted().name()),
        other: slot(agent, facts.inactive().name()),
        fallback: match facts.fallback() {
            Fallback::Proven => FallbackStatus::Proven,
            Fallback::Unproven => FallbackStatus::Unproven,
            Fallback::Absent => FallbackStatus::Absent,
        },
        target: under_way(&state.phase).map(|release| saved(&release)),
        progress: None,
        floor: records.floor(stamped).map(ToString::to_string),
        pinned: records.pinned.as_ref().map(ToString::to_string),
        paused: records.paused.is_some(),
        denied: denied(records, agent.ports().clock.now().wall),
        last_failure: last_failure
            .filter(|failure| !under_way_since(&state.phase) || stops(failure, &waits)),
        waits_for: waits.into_iter().map(Reason::from).collect(),
        verified_fresh: look.and_then(|look| look.fresh),
        warnings: check::warnings(agent),
        loader: loader(facts),
    })
}

/// A failure that stands in the way no more: something is under way since.
fn under_way_since(phase: &Phase) -> bool {
    matches!(
        phase,
        Phase::Staged { .. } | Phase::Activated { .. } | Phase::Rebooting { .. }
    )
}

/// What is under way waits for nothing but this failure: a release that was staged, and that cannot be armed.
fn stops(failure: &Failure, waits: &[WaitReason]) -> bool {
    waits.iter().any(|wait| {
        matches!(wait, WaitReason::OperatorNeeded { failure: code, .. } if code == failure.code.as_str())
    })
}

fn node(agent: &Agent<'_>, settings: &Settings) -> Node {
    let identity = &settings.identity;
    Node {
        product: identity.product.to_string(),
        variant: identity.variant.as_ref().map(ToString::to_string),
        architecture: identity.architecture.to_string(),
        channel: settings.update.channel.to_string(),
        strategy: settings.update.strategy.as_str().to_owned(),
        key: agent.options().key.as_ref().map(|key| key.public()),
    }
}

fn loader(facts: &Facts) -> Option<LoaderStatus> {
    let identity = &facts.loader().identity;
    (!identity.name.is_empty()).then(|| LoaderStatus {
        name: identity.name.clone(),
        revocation: identity.sbat.clone(),
    })
}

/// What a slot holds, by its own claim; `verify` proves it.
fn slot(agent: &Agent<'_>, name: SlotName) -> SlotStatus {
    let (facts, records) = (agent.facts(), agent.records());
    let now = agent.ports().clock.now().wall;
    let booted = name == facts.booted().name();
    // The running root is what the kernel enforces, whatever the partition says.
    let root = if booted {
        Some(facts.system().root_hash)
    } else {
        facts.slot(name).claimed_root
    };
    let entry = root.and_then(|root| facts.entry_of(&root));
    SlotStatus {
        slot: name,
        release: root.map(|root| release_of(facts, records, &root)),
        entry: entry.map(|entry| entry.stem.clone()),
        tries: entry.and_then(|entry| entry.tries),
        denied: root.is_some_and(|root| records.denies_root(&root, now).is_some()),
    }
}

/// The release with this root: as remembered, else as its boot entry or the booted image says.
fn release_of(facts: &Facts, records: &Records, root: &Digest) -> ReleaseRef {
    if let Some(known) = records.known_by_root(root) {
        return saved(known);
    }
    let version = match facts.entry_of(root) {
        Some(entry) => entry.version.to_string(),
        None if *root == facts.system().root_hash => facts.system().version.to_string(),
        None => String::from("unknown"),
    };
    ReleaseRef {
        version,
        manifest: None,
        root_hash: Some(*root),
    }
}

fn denied(records: &Records, now: UnixTime) -> Vec<Denied> {
    let entry = |denial: &twinroot_core::records::Denial| Denied {
        release: ReleaseRef {
            version: denial.version.to_string(),
            manifest: None,
            root_hash: Some(denial.root_hash),
        },
        since: denial.first_seen,
        reason: denial.reason.clone(),
        automatic: denial.by == DeniedBy::Node,
        last_seen: Some(denial.last_seen),
        until: denial.until,
        left: denial.left.clone(),
    };
    let holding = records.denied.iter().filter(|denial| denial.holds(now));
    holding.map(entry).collect()
}

/// The phase's name. Whoever looks on from outside sees a release that is to be verified again as
/// standing where it stood.
const fn phase_name(phase: &Phase) -> PhaseName {
    match phase {
        Phase::Checking {
            purpose: Purpose::Resume { at, .. },
        } => match at {
            Resume::Staging => PhaseName::Staging,
            Resume::Staged => PhaseName::Staged,
            Resume::Activated => PhaseName::Activated,
            Resume::Repairing => PhaseName::Repairing,
        },
        other => other.name(),
    }
}

fn resuming(at: Resume, version: &str, facts: &Facts) -> String {
    let slot = facts.inactive().name();
    match at {
        Resume::Staging => format!("{version} is half written to slot {slot}"),
        Resume::Staged => format!("{version} lies in slot {slot} and is not activated"),
        Resume::Activated => format!("{version} is tried at the next start"),
        Resume::Repairing => format!("slot {slot} is half repaired with {version}"),
    }
}

/// The phase in one sentence.
fn sentence(phase: &Phase, facts: &Facts) -> String {
    let running = &facts.system().version;
    let about = |release: &SavedRelease| release.version.to_string();
    match phase {
        Phase::Idle { .. } => format!("{running} runs and nothing is under way"),
        Phase::Checking { purpose } => match purpose {
            Purpose::Look => String::from("looking for a release"),
            Purpose::BeforeReboot(proven) => format!(
                "looking once more at {} before the restart",
                proven.candidate().version()
            ),
            Purpose::Resume { saved, at } => resuming(*at, &about(saved), facts),
        },
        Phase::Available { candidate, .. } => {
            format!("{} is available", candidate.version())
        }
        Phase::Staging { candidate, .. } => format!(
            "{} is being written to slot {}",
            candidate.version(),
            facts.inactive().name()
        ),
        Phase::Staged { proven, .. } => format!(
            "{} lies in slot {}, proven, and is not activated",
            proven.candidate().version(),
            proven.slot()
        ),
        Phase::Activated { proven, .. } => format!(
            "{} is tried at the next start",
            proven.candidate().version()
        ),
        Phase::Rebooting { to } => format!("restarting into {}", about(to)),
        Phase::Trial { trial, .. } => {
            format!("{} runs on probation", about(&trial.release))
        }
        Phase::Blessing { trial, .. } | Phase::Committing { trial, .. } => {
            format!(
                "{} is healthy and is being committed",
                about(&trial.release)
            )
        }
        Phase::RollingBack { from, .. } => format!("going back from {}", about(&from.release)),
        Phase::Denying { release, .. } => {
            format!("{} failed and is being remembered", about(&release.release))
        }
        Phase::Repairing { candidate, .. } => format!(
            "slot {} is written again with {}",
            facts.inactive().name(),
            candidate.version()
        ),
        Phase::Blocked { failure } => format!("a person is needed: {}", failure.cause),
    }
}
