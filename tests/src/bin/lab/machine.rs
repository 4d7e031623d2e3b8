//! A machine that lives in a folder of files: made from its first release, and started as firmware and
//! loader would. Recovery and health are then the agent's: `twinroot --machine DIR agent --once`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use twinroot_core::error::Failure;
use twinroot_core::layout::SectorSize;
use twinroot_host::machine::{self, BootFault, New, StartEnd, files::Sizes};
use twinroot_host::provision::FirstRelease;
use twinroot_payload::verity::TreeShape;

use crate::uki::{Image, root_hash, unhex};

/// The unit whose health decides about a release.
const WORKLOAD: &str = "workload.service";
/// The channel that the machine follows.
const CHANNEL: &str = "stable";

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Folder to make it in
    dir: PathBuf,
    /// Image of its first release
    #[arg(long)]
    image: PathBuf,
    /// UKI of its first release
    #[arg(long)]
    uki: PathBuf,
    /// Salt of the hash tree, as hex
    #[arg(long)]
    salt: String,
    /// Version of its first release
    #[arg(long)]
    version: String,
    /// Product that it is
    #[arg(long, default_value = "container-host")]
    product: String,
    /// The publisher's first root.json, which the image carries
    #[arg(long)]
    anchor: PathBuf,
    /// Where the metadata is
    #[arg(long)]
    metadata_url: String,
    /// Where targets and payloads are
    #[arg(long)]
    targets_url: String,
    /// Size of each slot in bytes [default: a quarter more than the image]
    #[arg(long)]
    slot: Option<u64>,
    /// Bytes that fit on its ESP
    #[arg(long, default_value_t = 64 << 20)]
    esp: u64,
    /// How long health must hold after a boot
    #[arg(long, default_value = "1s")]
    probation: String,
}

/// Makes the machine; it is off afterwards.
pub(crate) fn new(args: &NewArgs) -> Result<()> {
    let data = Image::open(&args.image)?;
    let salt = unhex(&args.salt)?;
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (uki, anchor) = (read(&args.uki)?, read(&args.anchor)?);
    // Whole MiB, so that partitions stay aligned.
    let slot = args
        .slot
        .unwrap_or(data.size + data.size / 4)
        .next_multiple_of(1 << 20);
    let tree = TreeShape::for_size(slot)?
        .partition_bytes()
        .next_multiple_of(1 << 20);
    let (image_config, health) = (image_config(args), health());
    let new = New {
        sizes: Sizes {
            esp: args.esp,
            data: slot,
            tree,
            sector: SectorSize::S512,
        },
        first: FirstRelease {
            version: args
                .version
                .parse()
                .map_err(|error| anyhow!("the version is none: {error}"))?,
            root_hash: root_hash(&args.image, &args.salt)?
                .parse()
                .map_err(|error| anyhow!("{error}"))?,
            data: &data,
            salt: &salt,
            uki: &uki,
        },
        anchor: &anchor,
        image_config: &[("10-lab.toml", &image_config)],
        config: &[],
        health: &[("10-workload.toml", &health)],
        units: &[WORKLOAD],
    };
    machine::provision(&args.dir, &new).map_err(flat)?;
    println!(
        "made {} with {} in slot A; it is off",
        args.dir.display(),
        args.version
    );
    Ok(())
}

fn image_config(args: &NewArgs) -> String {
    format!(
        "[identity]\nproduct = \"{}\"\narchitecture = \"x86-64\"\n\n\
         [repository]\nmetadata-url = \"{}\"\ntargets-url = \"{}\"\n\n\
         [update]\nchannel = \"{CHANNEL}\"\nstrategy = \"manual\"\n\n\
         [health]\nprobation = \"{}\"\n",
        args.product, args.metadata_url, args.targets_url, args.probation
    )
}

fn health() -> String {
    format!(
        "[[check]]\nname = \"workload\"\nkind = \"unit\"\nunit = \"{WORKLOAD}\"\nperiod = \"1s\"\nsuccesses = 1\n"
    )
}

/// How to start it.
#[derive(Debug, clap::Args)]
pub(crate) struct BootArgs {
    /// Folder of the machine
    dir: PathBuf,
    /// What goes wrong with the system that the loader chooses first
    #[arg(long, value_enum)]
    fail: Option<Fault>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What can go wrong with a system.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Fault {
    /// The kernel panics and the machine restarts
    Kernel,
    /// It comes up, but its units fail
    Health,
    /// It hangs and the watchdog restarts it
    Hang,
}

/// Starts the machine until a system is up, or says why none is.
pub(crate) fn boot(args: &BootArgs) -> Result<()> {
    let fault = match args.fail {
        None => BootFault::None,
        Some(Fault::Kernel) => BootFault::Kernel,
        Some(Fault::Health) => BootFault::Health,
        Some(Fault::Hang) => BootFault::Hang,
    };
    let report = machine::boot(&args.dir, fault).map_err(flat)?;
    let starts = report.starts.iter().map(|start| {
        json!({ "entry": start.entry, "renamed-to": start.renamed_to, "end": end_of(&start.end) })
    });
    let booted = report.booted.as_ref().map(|booted| {
        json!({ "slot": booted.slot.to_string(), "version": booted.version.to_string(),
            "root-hash": booted.root_hash.to_string(), "entry": booted.entry })
    });
    if args.json {
        println!(
            "{}",
            json!({ "starts": starts.collect::<Vec<_>>(), "booted": booted })
        );
    } else {
        for start in &report.starts {
            let entry = start.renamed_to.as_ref().unwrap_or(&start.entry);
            println!("{entry}: {}", end_of(&start.end));
        }
    }
    let booted = report.booted.context("the machine does not come up")?;
    if !args.json {
        println!("up: {} from slot {}", booted.version, booted.slot);
    }
    Ok(())
}

fn end_of(end: &StartEnd) -> String {
    match end {
        StartEnd::Up => "up".into(),
        StartEnd::ImageRefused => "refused by the firmware".into(),
        StartEnd::Panic => "the kernel panicked".into(),
        StartEnd::Hang => "hung, reset by the watchdog".into(),
        StartEnd::NoRoot(why) => format!("no good root: {why}"),
        StartEnd::Left { entry } => format!("left for {entry}"),
    }
}

/// A failure has its subject, cause, remedy and code in its text.
fn flat(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}")
}
