//! `./x machine new|boot DIR`: a machine that lives in a folder of files.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Options of `./x machine`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a machine: a disk image with both slots, an ESP folder, a state folder
    New {
        /// Folder to make it in
        dir: PathBuf,
    },
    /// Start it once, as firmware and loader would
    Boot {
        /// Folder of the machine
        dir: PathBuf,
    },
}

/// Carries out the verb.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Verb::New { dir } | Verb::Boot { dir } => {
            bail!("no machine in files yet ({})", dir.display())
        }
    }
}
