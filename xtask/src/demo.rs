//! `./x demo`: a release installed, updated, rolled back and refused, on a machine in files. Every
//! step is a program of the project run as a person would run it, over a web server on the loopback;
//! every claim is checked, and the run fails where one does not hold.

pub(crate) mod hands;
mod story;

use anyhow::Result;

use crate::programs::{Profile, Programs};
use hands::Hands;

/// Options of `./x demo`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Keep the machine and the repository in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    keep: Option<std::path::PathBuf>,
    /// Take the programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<std::path::PathBuf>,
}

/// Runs the demonstration; fails where a machine does not end where it should.
pub fn run(args: &Args) -> Result<()> {
    let programs = Programs::get(args.programs.as_deref(), Profile::Dev)?;
    match &args.keep {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            story::tell(&mut Hands::new(&programs, dir)?)
        }
        None => {
            // Below the target folder: the machine's files stay beside what built them.
            let parent = crate::run::target_dir();
            let dir = tempfile::TempDir::with_prefix_in("demo-", parent)?;
            story::tell(&mut Hands::new(&programs, dir.path())?)
        }
    }
}
