//! `./x bench`: figures against other tools, measured in the same run.
//!
//! Every bar is a ratio of two things measured here and now, so that the machine cancels out. Real images
//! come from `images/make.sh`; seeded ones show that memory depends on neither size nor content.

pub mod agent;
pub mod host;
pub mod idle;
pub mod images;
pub mod memory;
pub mod node;
pub mod payload;
pub mod publisher;
pub mod reference;
pub mod report;
pub mod reuse;
pub mod sizes;
pub mod speed;
pub mod usage;
pub mod wire;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::programs::{Profile, Programs};
use crate::run;
use images::Images;
use publisher::Publisher;
use report::Report;

/// Options of `./x bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this part; several may be named
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Take the images (old.erofs, new.erofs, …) from this folder instead of building them
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Only this part; repeatable
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Where to write bench.md and bench.json [default: bench below Cargo's target folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Take the programs in this folder instead of building them; they should be release builds
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Size of the large seeded image in MiB
    #[arg(long, default_value_t = 4096)]
    large: u64,
    /// Part `agent`: nodes of the simulated fleet
    #[arg(long, default_value_t = 1_000_000)]
    nodes: u64,
    /// Part `payload`: make every patch anew instead of taking those that an earlier run has kept
    #[arg(long)]
    fresh: bool,
    /// Part `payload`: only this pair; repeatable
    #[arg(long, value_name = "NAME")]
    pair: Vec<String>,
    /// Part `payload`: only this tool; repeatable
    #[arg(long, value_name = "NAME")]
    tool: Vec<String>,
}

/// Parts that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Real images: root hashes, sizes, reuse, speed
    Real,
    /// Seeded images: memory and temporary files at 400 MB and at the large size
    Memory,
    /// What an idle agent costs, and how a simulated fleet of them behaves
    Agent,
    /// Bytes, CPU and memory of deltas, reuse and full payloads beside every other tool
    Payload,
    /// Bytes of the reference host and the time of a warm build; needs root and Debian's archive
    Host,
}

/// Measures, prints the tables, writes them, and fails where a bar was missed.
pub fn run(args: &Args) -> Result<()> {
    let named = |part| args.only.contains(&part) || args.parts.contains(&part);
    let wanted = |part| (args.only.is_empty() && args.parts.is_empty()) || named(part);
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| run::target_dir().join("bench"));
    let mut outcome = Ok(());
    if wanted(Part::Memory) || wanted(Part::Real) {
        outcome = basics(args, wanted(Part::Memory), wanted(Part::Real), &out);
    }
    if wanted(Part::Agent) {
        outcome = agent(args, &out.join("agent")).and(outcome);
    }
    if wanted(Part::Payload) {
        let options = payload::Options {
            images: args.images.as_deref(),
            programs: args.programs.as_deref(),
            out: &out,
            fresh: args.fresh,
            pairs: &args.pair,
            tools: &args.tool,
            large: args.large,
        };
        // A bar missed in one part must not hide the figures of the other.
        outcome = payload::run(&options).and(outcome);
    }
    if wanted(Part::Host) {
        outcome = host(&out.join("host")).and(outcome);
    }
    outcome
}

/// The reference host.
fn host(out: &Path) -> Result<()> {
    let scratch = tempfile::TempDir::with_prefix_in("bench-host-", run::target_dir())
        .context("cannot make a folder")?;
    let mut report = Report::default();
    about(&mut report);
    host::rows(&mut report, scratch.path())?;
    report.finish(out)
}

/// The agent and its fleet.
fn agent(args: &Args, out: &Path) -> Result<()> {
    let programs = Programs::get(args.programs.as_deref(), Profile::Release)?;
    let scratch = tempfile::TempDir::with_prefix_in("bench-agent-", run::target_dir())
        .context("cannot make a folder")?;
    let mut report = Report::default();
    about(&mut report);
    agent::rows(&mut report, &programs, scratch.path(), args.nodes)?;
    report.finish(out)
}

/// Reuse, full payloads and memory.
fn basics(args: &Args, memory: bool, real: bool, out: &Path) -> Result<()> {
    let programs = Programs::get(args.programs.as_deref(), Profile::Release)?;
    let scratch = run::target_dir().join("bench-scratch");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).context("cannot clear the folder of the last run")?;
    }
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot make {}", scratch.display()))?;
    let mut report = Report::default();
    about(&mut report);
    if memory {
        memory::rows(&mut report, &programs, &scratch, args.large)?;
    }
    if real {
        self::real(&mut report, args, &programs, &scratch)?;
    }
    std::fs::remove_dir_all(&scratch).context("cannot clear the folder of this run")?;
    report.finish(out)
}

fn real(report: &mut Report, args: &Args, programs: &Programs, scratch: &Path) -> Result<()> {
    let images = Images::get(args.images.as_deref())?;
    let releases = scratch.join("real");
    std::fs::create_dir_all(&releases).context("cannot make a folder")?;
    let publisher = Publisher::new(programs, &releases)?;
    let old = sizes::publish_before(&publisher, "1.0", &images.old)?;
    // From here the repository forks: in one `new` follows `old` directly, in the other `middle` lies between.
    reuse::direct(
        report,
        programs,
        &publisher.fork(&scratch.join("direct"))?,
        (&old, &images.new),
        scratch,
    )?;
    let middle = sizes::publish_before(&publisher, "1.1", &images.middle)?;
    let new = sizes::publish(&publisher, "1.2", &images.new)?;
    sizes::rows(report, &[&old, &middle, &new], scratch)?;
    let mut server = publisher.serve()?;
    reuse::from_older(
        report,
        programs,
        (&publisher, &mut server),
        (&old, &new),
        scratch,
    )?;
    speed::rows(report, programs, (&publisher, &mut server), &new, scratch)?;
    Ok(())
}

/// What the figures depend on besides the code.
fn about(report: &mut Report) {
    let first_line = |program: &str, argument: &str| {
        let output = run::capture(std::process::Command::new(program).arg(argument));
        output
            .ok()
            .and_then(|text| text.lines().next().map(str::to_owned))
            .unwrap_or_else(|| "not found".into())
    };
    for (program, argument) in [
        ("zstd", "--version"),
        ("openssl", "version"),
        ("casync", "--version"),
        ("uname", "-srm"),
    ] {
        report.about(program, first_line(program, argument));
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    report.about("cores", cores.to_string());
    report.about("load before", load);
}
