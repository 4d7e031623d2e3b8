//! `lab`: makes what a build farm would deliver, for the demo, the bench and trying things out.
//!
//! An image builder computes an image's root hash and puts it into the UKI. Where the two matter but
//! their content does not, this program stands in for it: a UKI that firmware could not start, and
//! images of seeded bytes. Never part of a product.

mod fleet;
mod machine;
mod seeded;
mod serve;
mod uki;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "lab",
    about = "Makes images and boot files for trying twinroot out"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a UKI whose command line carries the image's root hash
    Uki(uki::Args),
    /// Make an image of seeded bytes that no compressor can shrink
    Seeded(seeded::Args),
    /// Make or start a machine in files
    #[command(subcommand)]
    Machine(MachineVerb),
    /// Serve a published repository and count what is sent
    Serve(serve::Args),
    /// Simulate a fleet of nodes and print its figures beside their bars
    Fleet(fleet::Args),
    /// Write the pages of docs/ that are printed from the code
    Pages,
    /// Print the root hash of an image
    RootHash {
        /// The image
        image: PathBuf,
        /// Salt, as hex
        #[arg(long)]
        salt: String,
    },
}

#[derive(Debug, Subcommand)]
enum MachineVerb {
    /// Make one from its first release; it is off afterwards
    New(Box<machine::NewArgs>),
    /// Start it once, as firmware and loader would
    Boot(machine::BootArgs),
}

fn write_pages() -> anyhow::Result<()> {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, content) in twinroot_tests::pages::all() {
        std::fs::write(tests.join("..").join(path), content)?;
        println!("wrote {path}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Uki(args) => uki::make(&args),
        Verb::Seeded(args) => seeded::make(&args),
        Verb::Machine(MachineVerb::New(args)) => machine::new(&args),
        Verb::Machine(MachineVerb::Boot(args)) => machine::boot(&args),
        Verb::Serve(args) => serve::run(&args),
        Verb::Fleet(args) => fleet::run(&args),
        Verb::Pages => write_pages(),
        Verb::RootHash { image, salt } => {
            uki::root_hash(&image, &salt).map(|root| println!("{root}"))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
