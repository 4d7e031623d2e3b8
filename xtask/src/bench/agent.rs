//! `./x bench agent`: what an idle agent costs a node and its server, and how a fleet of them behaves.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::idle::{self, Agent};
use super::node::Node;
use super::publisher::Publisher;
use super::report::{Report, Row, mebibytes, ratio};
use super::wire::Wire;
use crate::programs::Programs;
use crate::run;

/// Resident memory of an idle agent, in bytes.
const RSS_LIMIT: u64 = 14 << 20;
/// The part of it that no file backs: what the machine cannot take back.
const ANONYMOUS_LIMIT: u64 = 6 << 20;
/// Size of the node's binary, in bytes.
const BINARY_LIMIT: u64 = 12 << 20;
/// Requests of a check that finds nothing new: the next root (there is none) and the timestamp.
const REQUESTS_LIMIT: u64 = 2;
/// Bytes of HTTP of such a check, both ways, heads and bodies.
const HTTP_LIMIT: u64 = 4 << 10;
/// For how long an idle agent is watched: longer than any pause of a client library's connection pool.
const WATCHED: Duration = Duration::from_secs(60);

/// All figures of the part.
pub fn rows(report: &mut Report, programs: &Programs, scratch: &Path, nodes: u64) -> Result<()> {
    binary(report, programs)?;
    node(report, programs, scratch)?;
    fleet(report, programs, nodes)
}

fn binary(report: &mut Report, programs: &Programs) -> Result<()> {
    let path = programs.path("twinroot");
    let size = std::fs::metadata(&path)
        .with_context(|| format!("cannot look at {}", path.display()))?
        .len();
    bar(
        report,
        "size of the node's binary",
        mebibytes(size),
        (size, BINARY_LIMIT),
        mebibytes,
    );
    Ok(())
}

/// A measured number beside its bar.
fn bar(
    report: &mut Report,
    what: &str,
    value: String,
    (measured, limit): (u64, u64),
    shown: fn(u64) -> String,
) {
    report.row(Row {
        what: what.to_owned(),
        value,
        against: format!("the bar, {}", shown(limit)),
        // A bar of nothing at all has no ratio; one above it is missed all the same.
        ratio: Some(match limit {
            0 => ratio(measured + 1, 1),
            limit => ratio(measured, limit),
        }),
        limit: Some(1.0),
    });
}

fn node(report: &mut Report, programs: &Programs, scratch: &Path) -> Result<()> {
    let folder = scratch.join("agent");
    std::fs::create_dir_all(&folder).context("cannot make a folder")?;
    let publisher = Publisher::new(programs, &folder)?;
    let image = folder.join("1.img");
    let mut make = programs.lab();
    make.args([
        "seeded",
        "--size",
        &(8 << 20).to_string(),
        "--release",
        "1",
        "--out",
    ]);
    run::capture(make.arg(&image))?;
    let release = publisher.publish("1.0", &image, 1)?;
    let mut server = publisher.serve()?;
    let wire = Wire::to(&server.metadata)?;
    server.metadata = wire.in_place_of(&server.metadata)?;
    server.targets = wire.in_place_of(&server.targets)?;
    let machine = folder.join("machine");
    let node = Node::install(programs, &machine, &publisher, &release, &server)?;
    let config = "[polling]\ninterval = \"1h\"\njitter = \"0s\"\n";
    std::fs::write(machine.join("config.d/50-bench.toml"), config)
        .context("cannot write the configuration")?;
    let agent = Agent::start(node.command(&["agent"]), &machine)?;
    agent.ready()?;
    // The agent has looked once by itself; a second look settles its memory.
    agent.check()?;
    server.sent()?;
    wire.carried();
    agent.check()?;
    let requests = server.sent()?.requests;
    let bytes = wire.carried();
    let plain = |count: u64| count.to_string();
    let of = "a check that finds nothing new";
    bar(
        report,
        &format!("{of}: requests"),
        plain(requests),
        (requests, REQUESTS_LIMIT),
        plain,
    );
    let octets = |count: u64| format!("{count} bytes");
    bar(
        report,
        &format!("{of}: HTTP both ways"),
        octets(bytes),
        (bytes, HTTP_LIMIT),
        octets,
    );
    still(report, &agent)
}

/// The agent between two looks, an hour apart.
fn still(report: &mut Report, agent: &Agent) -> Result<()> {
    agent.settle()?;
    let before = agent.wakeups()?;
    std::thread::sleep(WATCHED);
    let wakeups = agent.wakeups()? - before;
    let memory = agent.memory()?;
    let of = "idle agent";
    let seconds = WATCHED.as_secs();
    let value = format!("{wakeups} in {seconds} s");
    bar(
        report,
        &format!("{of}: wake-ups between looks"),
        value,
        (wakeups, 0),
        |_| String::from("none but the watchdog's (none here)"),
    );
    let idle::Memory {
        resident,
        anonymous,
    } = memory;
    bar(
        report,
        &format!("{of}: resident"),
        mebibytes(resident),
        (resident, RSS_LIMIT),
        mebibytes,
    );
    bar(
        report,
        &format!("{of}: of it anonymous"),
        mebibytes(anonymous),
        (anonymous, ANONYMOUS_LIMIT),
        mebibytes,
    );
    Ok(())
}

/// Figures of the simulated fleet, beside its bars.
fn fleet(report: &mut Report, programs: &Programs, nodes: u64) -> Result<()> {
    let mut lab = programs.lab();
    lab.args(["fleet", "--nodes", &nodes.to_string()]);
    let figures: Value =
        serde_json::from_str(&run::capture(&mut lab)?).context("the fleet printed no JSON")?;
    let Some(rows) = figures["rows"].as_array() else {
        bail!("the fleet printed no rows");
    };
    for row in rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        report.row(Row {
            what: format!("fleet of {nodes}: {}", text("what")),
            value: text("value"),
            against: text("against"),
            ratio: row["ratio"].as_f64(),
            limit: row["limit"].as_f64(),
        });
    }
    Ok(())
}
