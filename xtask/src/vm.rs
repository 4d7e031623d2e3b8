//! `./x vm`: builds the scenario runner and hands over to it. Everything that it says and decides is
//! its own (`vm-tests`), since `xtask` links no room.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::run;

/// Arguments of `./x vm`, passed on as they are.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What to do: see `./x vm help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Builds the runner and runs it.
pub fn run(args: &Args) -> Result<()> {
    run::quiet(&mut run::cargo([
        "build",
        "--quiet",
        "-p",
        "twinroot-vm-tests",
        "--bins",
    ]))?;
    run::quiet(Command::new(run::target_dir().join("debug/twinroot-vm")).args(&args.words))
}
