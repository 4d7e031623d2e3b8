//! `./x vm`: builds the programs of a node and the scenario runner, and hands over to the runner.
//! What it says and decides is its own (`vm-tests`), since `xtask` links no room.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{image, run, tests};

/// Arguments of `./x vm`, passed on as they are.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// `list`, `lacking`, `demo`, `boot DISK`, or names of scenarios [default: all]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Boots the programs that the tests have built, stripped, instead of release builds: what CI does, since a
/// release build takes minutes. Debug assertions are on in them.
const DEVELOPMENT: &str = "--development";

/// Budget of a root with development builds: the node's program is 5 MB larger, and the lean root fills its 80 MB.
const DEVELOPMENT_BUDGET: &str = "90MB";

/// What the runner knows by itself; anything else is names and options of `run`.
const COMMANDS: [&str; 8] = [
    "list", "lacking", "run", "demo", "boot", "help", "--help", "-h",
];
/// Commands that need the programs of a node.
const WITH_PROGRAMS: [&str; 2] = ["run", "demo"];

/// Builds the runner and runs it.
pub fn run(args: &Args) -> Result<()> {
    // With everything else: by itself each would have fewer features on in what they share, and that would be
    // compiled once more.
    let tools = tests::build_programs()?;
    let mut words = args.words.clone();
    let development = words.iter().any(|word| word == DEVELOPMENT);
    words.retain(|word| word != DEVELOPMENT);
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
            "" if development => (stripped(&tools)?, image::init()?),
            "" => build_for_images()?,
            _ => (PathBuf::new(), PathBuf::new()),
        };
        runner.arg("--node").arg(node).arg("--init").arg(init);
        if development {
            runner.args(["--root-budget", DEVELOPMENT_BUDGET]);
        }
    }
    run::quiet(&mut runner)
}

/// A folder with the programs of an image as the tests have built them, without what only a debugger reads.
fn stripped(built: &Path) -> Result<PathBuf> {
    let folder = run::target_dir().join("vm-development");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    for name in ["twinroot", "twinroot-vm-guest"] {
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(folder.join(name)).arg(built.join(name));
        run::quiet(&mut strip)?;
    }
    Ok(folder)
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
