//! `./x machine new|boot DIR`: a machine that lives in a folder of files, to try things out on.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::demo::hands::Hands;
use crate::programs::{Profile, Programs};
use crate::run;

/// Options of `./x machine`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a machine with release 1.0, and a repository beside it that it follows
    New {
        /// Folder to make it in
        dir: PathBuf,
    },
    /// Start it until a system is up, as firmware and loader would
    Boot {
        /// Folder of the machine
        dir: PathBuf,
        /// What goes wrong with the system that the loader chooses first
        #[arg(long, value_parser = ["kernel", "health", "hang"])]
        fail: Option<String>,
    },
}

/// Carries out the verb.
pub fn run(args: &Args) -> Result<()> {
    let programs = Programs::build(Profile::Dev)?;
    match &args.command {
        Verb::New { dir } => new(&programs, dir),
        Verb::Boot { dir, fail } => {
            let mut boot = programs.lab();
            boot.args(["machine", "boot"]).arg(dir);
            if let Some(fault) = fail {
                boot.args(["--fail", fault]);
            }
            run::quiet(&mut boot)
        }
    }
}

/// The repository lies in the machine's folder and is read as files: nothing has to be running.
fn new(programs: &Programs, dir: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let hands = Hands::new(programs, dir)?;
    hands.publish_new()?;
    hands.publish(&["sign", "all"])?;
    hands.publish(&["release"])?;
    hands.build("1.0", 1)?;
    hands.release("1.0")?;
    let dir = dir.canonicalize()?;
    let url = |part: &str| format!("file://{}/publisher/repo/{part}", dir.display());
    hands.machine_in(".", "1.0", &url("metadata"), &url("targets"))?;
    let (shown, program) = (dir.display(), programs.path("twinroot"));
    println!("\nstart it:       ./x machine boot {shown}");
    println!(
        "look at it:     {} --machine {shown} status",
        program.display()
    );
    println!("its publisher:  twinroot-publish -C {shown}/publisher --keys {shown}/keys …");
    Ok(())
}
