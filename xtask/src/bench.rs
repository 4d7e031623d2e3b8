//! `./x bench`: figures against other tools, measured in the same run.

pub mod publisher;
pub mod reference;
pub mod report;
pub mod usage;

use anyhow::{Result, bail};

/// Options of `./x bench`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Measures, prints the table and writes it as JSON.
pub fn run(_args: &Args) -> Result<()> {
    bail!("nothing to measure yet")
}
