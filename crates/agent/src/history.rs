//! The history: one small JSON document a line, numbered, kept in the store. What was ignored is in
//! it too, so that nothing happens without a trace.

use twinroot_core::facts::Facts;
use twinroot_core::update::Note;
use twinroot_ports::{Code, Failure, Outcome, Store};
use twinroot_trust::digest::Digest;

use crate::agent::Agent;
use crate::reports;

/// Folder of the history in the store.
const FOLDER: &str = "history";

/// Lines that are kept: at a release a week with a dozen lines each, more than a year and a half.
const KEPT: usize = 1000;

/// Lines that are about a verdict, and so carry the checks with their evidence.
const VERDICTS: [&str; 4] = ["committed", "kept", "trial-failed", "degraded"];
/// The line that carries PCR 11.
const COMMITTED: &str = "committed";
/// Lines that carry what a failed trial has left.
const LEFT: [&str; 2] = ["denied", "rolled-back"];

pub use twinroot_core::wire::HistoryLine;

/// Appends a line.
pub(crate) fn append(agent: &Agent<'_>, note: &Note, facts: &Facts) -> Outcome<()> {
    let (ports, totals) = (agent.ports, agent.counters.totals());
    let names = ports.store.list(FOLDER)?;
    let number = names.iter().filter_map(|n| number_of(n)).max().unwrap_or(0) + 1;
    let (pcr11, unread) = measured(agent, note);
    let line = HistoryLine {
        number,
        at: ports.clock.now().wall,
        boot: facts.system().boot_id.clone(),
        running: facts.system().version.to_string(),
        what: note.what.to_owned(),
        release: note.release.clone(),
        detail: note.detail.clone() + &unread,
        fetched: totals.fetched,
        written: totals.written,
        by: agent.by.clone(),
        health: match VERDICTS.contains(&note.what) {
            true => agent.health(),
            false => Vec::new(),
        },
        left: left(agent, note),
        pcr11,
    };
    let name = format!("{FOLDER}/{number:08}.json");
    let bytes = serde_json::to_vec(&line)
        .map_err(|e| Failure::new(Code::Internal, name.clone(), e.to_string()))?;
    // The report first: a line that is there is one that the fleet will hear of, whatever is cut between the two.
    reports::keep(agent, &line)?;
    ports.store.write(&name, &bytes)?;
    if names.len() >= KEPT
        && let Some(oldest) = names.first()
    {
        ports.store.remove(&full(oldest))?;
    }
    Ok(())
}

/// PCR 11, where the line is about a release that is kept from now on, so that an auditor can hold it to what
/// the image's build has predicted. A TPM that does not answer undoes no commit: the line says so.
fn measured(agent: &Agent<'_>, note: &Note) -> (Option<Digest>, String) {
    if note.what != COMMITTED {
        return (None, String::new());
    }
    match agent.ports.system.measured() {
        Ok(pcr11) => (pcr11, String::new()),
        Err(failure) => (None, format!("; PCR 11 is not known: {failure}")),
    }
}

/// What the trial that a line is about has left, as its denial remembers it.
fn left(agent: &Agent<'_>, note: &Note) -> Option<twinroot_core::records::Left> {
    let release = note
        .release
        .as_ref()
        .filter(|_| LEFT.contains(&note.what))?;
    let mut denials = agent.records.denied.iter();
    denials
        .find(|denial| denial.concerns(release))?
        .left
        .clone()
}

fn full(name: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("{FOLDER}/{name}")
    }
}

fn number_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.strip_suffix(".json")?.parse().ok()
}

/// All lines, oldest first. A damaged line is left out.
///
/// # Errors
/// What the store says.
pub fn history(store: &dyn Store) -> Outcome<Vec<HistoryLine>> {
    let mut lines = Vec::new();
    for name in store.list(FOLDER)? {
        if let Some(bytes) = store.read(&full(&name))?
            && let Ok(line) = serde_json::from_slice::<HistoryLine>(&bytes)
        {
            lines.push(line);
        }
    }
    lines.sort_by_key(|line| line.number);
    Ok(lines)
}
