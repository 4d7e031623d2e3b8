//! `twinroot plan`: everything that would happen, before a byte moves. The payload's index is
//! fetched and the plan made as staging would make it, against the same slot and the same base;
//! nothing is written but freshly verified metadata.

use twinroot_core::facts::{Facts, Fallback};
use twinroot_core::schedule::Opening;
use twinroot_core::slot::Part;
use twinroot_core::update::{Candidate, Command, Event, Goal, Phase};
use twinroot_core::why::WaitReason;
use twinroot_core::wire::{EspRoom, Plan, PlannedBytes, Reason, Schema, Space};
use twinroot_payload::delta::{Kind, Plan as Patches};
use twinroot_payload::error::Error as PayloadError;
use twinroot_payload::index::{self, Expect, Index};
use twinroot_payload::io::ReadAt;
use twinroot_payload::plan::{Figures, Plan as Jobs, TargetScan};
use twinroot_payload::verity::TreeShape;
use twinroot_ports::{Code, Failure, GateAnswer, Outcome};
use twinroot_trust::manifest::{Coding, Delta};
use twinroot_trust::version::Version;

use super::{candidate as names, contents, why};
use crate::agent::Agent;
use crate::perform::stage::{BaseSlot, Source, coded};
use crate::perform::{boot_delta, delta};

/// What an update to `version`, or to the newest acceptable release, would do.
///
/// # Errors
/// What the look at the repository refuses, and what reading index and slots does.
pub fn plan(agent: &mut Agent<'_>, version: Option<Version>, force: bool) -> Outcome<Plan> {
    let goal = Goal::Check;
    let command = Command::Update {
        goal,
        version,
        force,
    };
    if let Some(failure) = agent.handle(Event::Command(command))? {
        return Err(failure);
    }
    match &agent.state().phase {
        Phase::Available { candidate, .. } => install(agent, &candidate.clone()),
        Phase::Staged { proven, .. } | Phase::Activated { proven, .. } => {
            Ok(only_start(agent, &proven.candidate().clone()))
        }
        _ => nothing(agent),
    }
}

/// No release would be taken.
fn nothing(agent: &Agent<'_>) -> Outcome<Plan> {
    let reasons = why::reasons(agent)?;
    let phase = agent.state().phase.reason().cloned();
    let barrier = phase.as_ref().and_then(|reason| match reason {
        WaitReason::Barrier { first, .. } => Some(first.clone()),
        WaitReason::ClientTooOld { first, .. } => first.clone(),
        _ => None,
    });
    let mut blocked_by: Vec<WaitReason> = phase.into_iter().collect();
    for reason in reasons {
        if !blocked_by.contains(&reason) {
            blocked_by.push(reason);
        }
    }
    Ok(Plan {
        blocked_by: blocked_by.into_iter().map(Reason::from).collect(),
        barrier,
        ..blank()
    })
}

fn blank() -> Plan {
    Plan {
        schema: Schema,
        release: None,
        payload: None,
        fetch: 0,
        reuse: 0,
        write: 0,
        requests: 0,
        slot: None,
        space: Vec::new(),
        floor_after: None,
        barrier: None,
        steps: Vec::new(),
        blocked_by: Vec::new(),
        bytes: Vec::new(),
        esp: None,
        restart: None,
        contents: None,
    }
}

/// The release lies in the slot already; only the loader and the restart are left.
fn only_start(agent: &Agent<'_>, release: &Candidate) -> Plan {
    let facts = agent.facts();
    Plan {
        release: Some(names(release)),
        slot: Some(facts.inactive().name()),
        floor_after: floor_after(agent, release),
        steps: last_steps(agent, release),
        blocked_by: gates(agent),
        restart: Some(restart(agent, release)),
        contents: contents::change(agent, release),
        ..blank()
    }
}

/// The whole way.
fn install(agent: &Agent<'_>, release: &Candidate) -> Outcome<Plan> {
    let facts = agent.facts();
    let Choice {
        figures,
        index_bytes,
        requests,
        payload,
    } = figures(agent, release)?;
    let (uki_fetch, uki_requests) = uki_fetch(agent, release)?;
    let uki = if uki_fetch > 0 { release.uki().size } else { 0 };
    let manifest = release.manifest().to_toml().len() as u64;
    let slot = facts.inactive().name();
    let mut steps = Vec::new();
    if let Some(entry) = facts.fallback_entry() {
        steps.push(format!(
            "give up {} in slot {slot}: its boot entry goes first",
            entry.version
        ));
    }
    steps.push(format!(
        "write {} to slot {slot} by {payload}",
        release.version()
    ));
    steps.push(format!(
        "read slot {slot} back past the cache and compare its root hash with {}",
        release.root_hash()
    ));
    steps.extend(last_steps(agent, release));
    Ok(Plan {
        release: Some(names(release)),
        payload: Some(payload.to_owned()),
        fetch: figures.fetch + index_bytes + uki_fetch + manifest,
        reuse: figures.reuse + figures.right,
        write: figures.write + uki,
        requests: requests + uki_requests + 1,
        slot: Some(slot),
        space: space(facts, release, uki),
        floor_after: floor_after(agent, release),
        steps,
        blocked_by: gates(agent),
        bytes: bytes(&Pieces {
            figures: &figures,
            payload,
            index: index_bytes,
            uki: uki_fetch,
            manifest,
        }),
        esp: Some(esp(facts, uki)),
        restart: Some(restart(agent, release)),
        contents: contents::change(agent, release),
        ..blank()
    })
}

/// What is fetched and reused, before it is put into words.
struct Pieces<'a> {
    figures: &'a Figures,
    payload: &'a str,
    index: u64,
    uki: u64,
    manifest: u64,
}

/// Where the bytes come from.
fn bytes(pieces: &Pieces<'_>) -> Vec<PlannedBytes> {
    let image = if pieces.payload == "delta" {
        "delta"
    } else {
        "network"
    };
    let all = [
        ("image", image, pieces.figures.fetch),
        ("image", "booted slot", pieces.figures.reuse),
        ("image", "already there", pieces.figures.right),
        ("index", "network", pieces.index),
        ("boot image", "network", pieces.uki),
        ("manifest", "network", pieces.manifest),
    ];
    let some = all.into_iter().filter(|(_, _, bytes)| *bytes > 0);
    some.map(|(what, from, bytes)| PlannedBytes {
        what: what.to_owned(),
        from: from.to_owned(),
        bytes,
    })
    .collect()
}

/// The new boot image comes. What the release that is given up frees is left out: how much that is, only
/// the loader's port knows when it removes it.
fn esp(facts: &Facts, uki: u64) -> EspRoom {
    let before = facts.loader().free;
    EspRoom {
        before,
        after: before.saturating_sub(uki),
    }
}

/// When the node would restart by itself, as things stand.
fn restart(agent: &Agent<'_>, release: &Candidate) -> String {
    let policy = &agent.options().policy;
    if policy.goal < Goal::Reboot {
        return String::from("when a person asks for it");
    }
    let now = agent.ports().clock.now().wall;
    match policy.schedule.opening(now, release.manifest().severity) {
        Opening::Open { until: None } => {
            String::from("as soon as the release is activated and every gate is open")
        }
        Opening::Open { until: Some(until) } => {
            format!("in the window that is open until {until}, once every gate is open")
        }
        Opening::At(at) => format!("in the window that opens at {at}, once every gate is open"),
        Opening::Never => String::from("not within the next year: no window lets it"),
    }
}

fn last_steps(agent: &Agent<'_>, release: &Candidate) -> Vec<String> {
    let (options, version) = (agent.options(), release.version());
    let asked = release.manifest().probation;
    let probation = asked.map_or(options.health.probation, |p| {
        p.max(options.health.probation)
    });
    vec![
        format!(
            "tell the bootloader to try {version} at most {} times",
            options.policy.tries
        ),
        String::from("look at the repository once more, ask the gates, restart"),
        format!(
            "keep {version} if its health checks hold for {probation}, else return to {} and \
             remember {version} as bad",
            agent.facts().system().version
        ),
    ]
}

/// What is fetched for one artefact, and by what.
struct Choice {
    figures: Figures,
    index_bytes: u64,
    /// Requests for index and segments.
    requests: u64,
    /// `delta`, `reuse` or `full`.
    payload: &'static str,
}

/// What base and payloads make of it, chosen as staging would choose.
fn figures(agent: &Agent<'_>, release: &Candidate) -> Outcome<Choice> {
    let ports = agent.ports();
    let base = BaseSlot::open(ports, agent.facts().booted());
    let target = ports
        .disk
        .reader(agent.facts().inactive().name(), Part::Data)?;
    if let Some(base) = &base
        && let Some(made) = delta::fitting(release.image(), &base.root_hash)
    {
        let path = made.payload.path.as_str();
        let source = Source::new(ports, path);
        match by_delta(agent, &source, release, made, &*target) {
            Ok(choice) => return Ok(choice),
            Err(error) if delta::is_of_the_delta(&error, &source) => {}
            Err(error) => return Err(source.explain(path, &error)),
        }
    }
    from_full(agent, release, base.as_ref(), &*target)
}

fn by_delta(
    agent: &Agent<'_>,
    source: &Source<'_>,
    release: &Candidate,
    made: &Delta,
    target: &dyn ReadAt,
) -> Result<Choice, PayloadError> {
    let signed = delta::signed(release.image(), made, Kind::Image)?;
    let figures = Patches::make(&delta::index(source, &signed)?, target)?.figures();
    let slot = agent.facts().inactive().name();
    let tree = agent.ports().disk.reader(slot, Part::Tree);
    let begun = tree.is_ok_and(|tree| delta::begun(&*tree, target));
    // A slot that has nothing of it takes index and segments from one stream.
    let all = signed.index_size + figures.fetch == made.payload.size;
    let own = u64::from(begun || !all);
    Ok(Choice {
        figures,
        index_bytes: signed.index_size,
        requests: u64::from(figures.requests) + own,
        payload: "delta",
    })
}

fn from_full(
    agent: &Agent<'_>,
    release: &Candidate,
    base: Option<&BaseSlot>,
    target: &dyn ReadAt,
) -> Outcome<Choice> {
    let image = release.image();
    let path = image.full.path.as_str();
    let Coding::Segments { format: 1, index } = &image.full.coding else {
        return Err(Failure::new(
            Code::PayloadFormatUnknown,
            path,
            "this version knows payload format 1 only",
        ));
    };
    let source = Source::new(agent.ports(), path);
    let bytes = index::load(&source, index.size, index.sha256.as_bytes())
        .map_err(|e| source.explain(path, &e))?;
    let expect = Expect {
        image_bytes: image.size,
        root_hash: *release.root_hash().as_bytes(),
        file_bytes: image.full.size,
    };
    let opened = Index::open(&bytes, &expect).map_err(|e| coded(path, &e))?;
    let salt = &release.verity().salt;
    let table = base.map(|base| base.table(&opened, salt));
    let scan = TargetScan::Everything(target, salt);
    let jobs = Jobs::make(&opened, table.as_ref(), scan).map_err(|e| coded(path, &e))?;
    let figures = jobs.figures();
    Ok(Choice {
        figures,
        index_bytes: bytes.len() as u64,
        requests: u64::from(figures.requests) + 1,
        payload: if figures.reuse > 0 { "reuse" } else { "full" },
    })
}

/// Bytes of the boot image that are fetched, and in how many requests: none where it is there.
fn uki_fetch(agent: &Agent<'_>, release: &Candidate) -> Outcome<(u64, u64)> {
    let (ports, uki) = (agent.ports(), release.uki());
    if ports.bootloader.image(&uki.digest())?.is_some() {
        return Ok((0, 0));
    }
    Ok(match boot_delta::base(ports, uki)? {
        Some((made, _)) => (made.payload.size, 1),
        None => (uki.size, 1),
    })
}

fn space(facts: &Facts, release: &Candidate, uki: u64) -> Vec<Space> {
    let name = facts.inactive().name();
    let slot = facts.slot(name);
    let size = release.image().size;
    let tree = TreeShape::for_size(size).map_or(0, |shape| shape.partition_bytes());
    let place = |place: String, needed: u64, available: u64| Space {
        place,
        needed,
        available,
    };
    vec![
        place(format!("slot {name}"), size, slot.data_size),
        place(format!("slot {name} (tree)"), tree, slot.tree_size),
        place(String::from("ESP"), uki, facts.loader().free),
    ]
}

/// The floor follows the fallback, and rises further only where the release revokes older ones
/// (`core::update`, committing). The fallback will be what runs now.
fn floor_after(agent: &Agent<'_>, release: &Candidate) -> Option<String> {
    let running = agent.facts().system().version.clone();
    let stamped = agent.facts().system().stamped_floor.as_ref();
    let kept = agent.records().floor(stamped).cloned();
    let follows = (running <= *release.version()).then_some(running);
    let revokes = release.manifest().revokes_below.clone();
    [kept, follows, revokes]
        .into_iter()
        .flatten()
        .max()
        .map(|version| version.to_string())
}

/// What would hold up the restart, as things stand.
fn gates(agent: &Agent<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    match agent.ports().gate.ask() {
        Ok(GateAnswer::Open) => {}
        Ok(GateAnswer::Held { by }) => reasons.push(WaitReason::GateHeld {
            gate: String::from("gate"),
            holder: by,
        }),
        Err(failure) => reasons.push(WaitReason::OperatorNeeded {
            failure: failure.code.as_str().to_owned(),
            detail: format!("{}: {}", failure.subject, failure.cause),
        }),
    }
    if agent.facts().fallback() == Fallback::Absent && on_counted_entry(agent) {
        let slot = agent.facts().booted().name().to_string();
        reasons.push(WaitReason::FallbackUnproven { slot });
    }
    reasons.into_iter().map(Reason::from).collect()
}

/// The running slot has not been blessed: it is still on trial itself.
fn on_counted_entry(agent: &Agent<'_>) -> bool {
    agent
        .facts()
        .booted_entry()
        .is_some_and(|entry| !entry.is_blessed())
}
