//! Reports: how updates end on this node, each in a signed document. They lie as files in the store, for
//! whoever collects files, and wait there for the collector that the owner names, if there is one.
//!
//! A report never holds anything up: the queue is bounded, the oldest goes first, and a collector that is
//! away is asked again in growing pauses.

mod envelope;
mod key;

use serde::Serialize;
use twinroot_core::wire::HistoryLine;
use twinroot_ports::{Code, Failure, Outcome, Receipt, Store};

pub use key::NodeKey;

use crate::agent::Agent;

/// Folder of the reports in the store.
const FOLDER: &str = "reports";
/// Blob with the number of the last report that the collector has.
const SENT: &str = "reports-sent";
/// Reports that are kept: a year of weekly releases. A longer outage of the collector loses the oldest.
const KEPT: usize = 64;
/// Reports sent in one go, so that a long queue does not hold up the loop.
const AT_ONCE: usize = 8;

/// Lines of history that somebody elsewhere wants to know of.
const WORTH_IT: [&str; 8] = [
    "committed",
    "kept",
    "trial-failed",
    "denied",
    "rolled-back",
    "degraded",
    "repaired",
    "forced",
];

/// The payload of a report.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    node: Node<'a>,
    line: &'a HistoryLine,
}

/// What the node is and follows; no name and no address of it.
#[derive(Serialize)]
struct Node<'a> {
    key: String,
    product: &'a str,
    variant: Option<&'a str>,
    architecture: &'a str,
    channel: &'a str,
}

/// Writes a report of a line that is worth one, where the node has a key.
pub(crate) fn keep(agent: &Agent<'_>, line: &HistoryLine) -> Outcome<()> {
    let Some(key) = &agent.options.key else {
        return Ok(());
    };
    if !WORTH_IT.contains(&line.what.as_str()) {
        return Ok(());
    }
    let identity = &agent.options.policy.identity;
    let report = Report {
        schema: 1,
        node: Node {
            key: key.public(),
            product: identity.product.as_str(),
            variant: identity.variant.as_ref().map(|name| name.as_str()),
            architecture: identity.architecture.as_str(),
            channel: identity.channel.as_str(),
        },
        line,
    };
    let payload = serde_json::to_vec(&report)
        .map_err(|e| Failure::new(Code::Internal, "a report", e.to_string()))?;
    let store = agent.ports.store;
    let numbers = numbers(store)?;
    store.write(&name(line.number), &envelope::seal(key, &payload)?)?;
    let excess = (numbers.len() + 1).saturating_sub(KEPT);
    for number in numbers.iter().take(excess) {
        store.remove(&name(*number))?;
    }
    Ok(())
}

fn name(number: u64) -> String {
    format!("{FOLDER}/{number:08}.json")
}

/// Numbers of the reports that are kept, oldest first.
fn numbers(store: &dyn Store) -> Outcome<Vec<u64>> {
    let number = |name: &String| {
        let file = name.rsplit('/').next()?;
        file.strip_suffix(".json")?.parse().ok()
    };
    let mut numbers: Vec<u64> = store.list(FOLDER)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Numbers of the reports that the collector does not have yet, oldest first. A note that cannot be read
/// sends some of them twice: each has a number, and a collector tells them apart by it.
fn waiting(store: &dyn Store) -> Outcome<Vec<u64>> {
    let sent = store.read(SENT)?.and_then(|bytes| {
        let text = String::from_utf8(bytes).ok()?;
        text.trim().parse::<u64>().ok()
    });
    let mut numbers = numbers(store)?;
    numbers.retain(|number| sent.is_none_or(|sent| *number > sent));
    Ok(numbers)
}

impl Agent<'_> {
    /// Sends what waits, a few reports at a time. True where more are left.
    ///
    /// # Errors
    /// What the collector or the store says; what was not sent waits.
    pub fn send_reports(&self) -> Outcome<bool> {
        let (store, collector) = (self.ports.store, self.ports.collector);
        if !collector.wanted() {
            return Ok(false);
        }
        let waiting = waiting(store)?;
        for number in waiting.iter().take(AT_ONCE) {
            if let Some(report) = store.read(&name(*number))?
                && let Receipt::Refused { why } = collector.send(&report)?
            {
                tracing::warn!(number, "a report is refused for good: {why}");
            }
            store.write(SENT, number.to_string().as_bytes())?;
        }
        Ok(waiting.len() > AT_ONCE)
    }
}
