//! Figures of a simulated fleet, each beside its bar where it has one.

use anyhow::Result;
use serde_json::{Value, json};
use twinroot_sim::fleet::{self, Loss, Watch};

/// How large a fleet.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Nodes
    #[arg(long, default_value_t = 1_000_000)]
    nodes: u64,
    /// Another number makes another fleet
    #[arg(long, default_value_t = 20_261_123)]
    seed: u64,
}

/// Days that are simulated.
const DAYS: u64 = 30;
/// The rollout of a routine release: a day for the first hundredth, three days for the first tenth.
const ROUTINE: &[(u8, u64)] = &[(1, 24), (10, 72), (100, 0)];
/// The rollout of a critical one: an hour and three.
const CRITICAL: &[(u8, u64)] = &[(1, 1), (10, 3), (100, 0)];
/// Hours for which the server is away.
const OUTAGE: u64 = 6;
/// Nodes on trial, at the most, whose remote checks are lost, and for how long: nothing may go back.
const ON_TRIAL: u64 = 10_000;
const LOSS: u64 = 3600;
/// Largest difference between a wave's share and its plan, in percentage points.
const SHARE_LIMIT: f64 = 0.2;
/// Largest load after the outage, over the mean.
const LOAD_LIMIT: f64 = 2.0;
/// The share of nodes on which the bad release fails, in percent.
const BAD: u64 = 30;
/// Twenty reports ring somebody's telephone; half an hour later the withdrawal is signed.
const WATCH: Watch = Watch {
    reports: 20,
    reaction: 1800,
};

/// Simulates, and prints the figures as JSON.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut rows = shares(args);
    rows.push(load(args));
    rows.extend(bad(args));
    rows.push(critical(args));
    rows.push(remote(args));
    println!(
        "{:#}",
        json!({ "nodes": args.nodes, "seed": args.seed, "rows": rows })
    );
    Ok(())
}

fn row(what: &str, value: String, against: String, bar: Option<(f64, f64)>) -> Value {
    let (ratio, limit) = bar.unzip();
    json!({ "what": what, "value": value, "against": against, "ratio": ratio, "limit": limit })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts here stay far below 2^52"
)]
fn float(count: u64) -> f64 {
    count as f64
}

fn hours(seconds: u64) -> String {
    format!("{:.2} h", float(seconds) / 3600.0)
}

/// The share of the fleet in each wave of a routine release.
fn shares(args: &Args) -> Vec<Value> {
    let spread = fleet::spread(args.seed, args.nodes, &fleet::schedule(ROUTINE), DAYS);
    let mut before = 0;
    let mut rows = Vec::new();
    for ((percent, _), count) in ROUTINE.iter().zip(spread.in_wave) {
        let plan = f64::from(*percent - before);
        let share = float(count) * 100.0 / float(args.nodes);
        rows.push(row(
            &format!("share that took a release in the wave to {percent} %"),
            format!("{share:.3} %"),
            format!("the plan, {plan} % within {SHARE_LIMIT} points"),
            Some(((share - plan).abs() / SHARE_LIMIT, 1.0)),
        ));
        before = *percent;
    }
    rows
}

/// What a server meets after an outage.
fn load(args: &Args) -> Value {
    let polls = fleet::polls(args.seed, args.nodes, DAYS, OUTAGE);
    let ratio = float(polls.peak_after) / polls.mean;
    let value = format!(
        "{} looks in the busiest minute ({} while it was away; {} in {DAYS} days)",
        polls.peak_after, polls.peak_during, polls.total
    );
    row(
        &format!("load after {OUTAGE} h without a server"),
        value,
        format!("the mean, {:.0} a minute", polls.mean),
        Some((ratio, LOAD_LIMIT)),
    )
}

/// How far a bad release comes.
fn bad(args: &Args) -> Vec<Value> {
    let waves = fleet::schedule(ROUTINE);
    let bad = fleet::bad_release(args.seed, args.nodes, (&waves, BAD), WATCH);
    let share = float(bad.reached) * 100.0 / float(args.nodes);
    let whose = format!(
        "withdrawn {} s after {} reports",
        WATCH.reaction, WATCH.reports
    );
    vec![
        row(
            &format!("a release that fails on {BAD} % of nodes: nodes that it reached"),
            format!(
                "{} ({share:.3} %), of which {} went back",
                bad.reached, bad.failed
            ),
            whose.clone(),
            None,
        ),
        row(
            &format!("a release that fails on {BAD} % of nodes: until the last node took it"),
            format!(
                "{} s; the withdrawal was there after {} s",
                bad.until_held, bad.until_withdrawn
            ),
            whose,
            None,
        ),
    ]
}

/// How fast a critical release spreads.
fn critical(args: &Args) -> Value {
    let spread = fleet::spread(args.seed ^ 1, args.nodes, &fleet::schedule(CRITICAL), DAYS);
    row(
        "a critical release until 99 % of the fleet have taken it",
        hours(spread.until_99_percent),
        String::from("waves of 1 % for 1 h, 10 % for 3 h, then all"),
        None,
    )
}

/// Healthy nodes on trial, from around which everything is taken away.
fn remote(args: &Args) -> Value {
    let nodes = args.nodes.min(ON_TRIAL);
    let trials = |declared| {
        let seconds = LOSS;
        fleet::trials(args.seed, nodes, Loss { seconds, declared })
    };
    let (remote, local) = (trials(true), trials(false));
    // Whoever has no verdict at the end has gone back as well; a bar of nothing has no ratio.
    let back = remote.rolled_back + remote.undecided;
    row(
        &format!(
            "{nodes} healthy nodes on trial whose remote checks all fail for an hour: rollbacks"
        ),
        format!(
            "{back}; {} blessed, {} of them later than without the loss, the last {} after its start",
            remote.blessed,
            remote.delayed,
            hours(remote.longest)
        ),
        format!(
            "the bar, none; were the same checks declared local: {}",
            local.rolled_back + local.undecided
        ),
        Some((float(back + 1), 1.0)),
    )
}
