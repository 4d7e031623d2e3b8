//! `./x vm`: builds the programs of a node and the scenario runner, and hands over to the runner.
//! What it says and decides is its own (`vm-tests`), since `xtask` links no room.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{image, run, tests};

/// Arguments of `./x vm`, passed on as they are.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// `list`, `demo`, `boot DISK`, or names of scenarios [default: all]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// What the runner knows by itself; anything else is names and options of `run`.
const COMMANDS: [&str; 7] = ["list", "run", "demo", "boot", "help", "--help", "-h"];
/// Commands that need the programs of a node.
const WITH_PROGRAMS: [&str; 2] = ["run", "demo"];

/// Builds the runner and runs it.
pub fn run(args: &Args) -> Result<()> {
    // With everything else: by itself each would have fewer features on in what they share, and that would be
    // compiled once more.
    let tools = tests::build_programs()?;
    let mut words = args.words.clone();
    let known = |word: &OsString| COMMANDS.iter().any(|command| word == command);
    if !words.first().is_some_and(known) {
        words.insert(0, "run".into());
    }
    let mut runner = Command::new(tools.join("twinroot-vm"));
    runner.args(&words);
    if WITH_PROGRAMS.iter().any(|command| words[0] == *command) {
        runner.arg("--tools").arg(&tools);
        // Minutes of building are saved where the runner could not boot what comes of it, and says so.
        let lacking = run::capture(Command::new(tools.join("twinroot-vm")).arg("lacking"))?;
        let (node, init) = match lacking.trim() {
            "" => build_for_images()?,
            _ => (PathBuf::new(), PathBuf::new()),
        };
        runner.arg("--node").arg(node).arg("--init").arg(init);
    }
    run::quiet(&mut runner)
}

/// The folder of the node's program, and the program of the initramfs, as they ship.
fn build_for_images() -> Result<(PathBuf, PathBuf)> {
    let programs = image::programs()?;
    let (_, node) = programs
        .first()
        .context("no program of the node was built")?;
    let folder = node
        .parent()
        .context("the node's program lies in a folder")?;
    Ok((folder.to_owned(), image::init()?))
}
