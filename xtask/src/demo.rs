//! `./x demo`: a release installed, updated, rolled back and refused, on a machine in files.

use anyhow::{Result, bail};

/// Options of `./x demo`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Keep the machine and the repository in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    keep: Option<std::path::PathBuf>,
}

/// Runs the demonstration; fails where a machine does not end where it should.
pub fn run(_args: &Args) -> Result<()> {
    bail!("the demonstration does not exist yet")
}
