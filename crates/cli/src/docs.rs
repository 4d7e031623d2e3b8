//! Manual pages and completions, made from the command line's own definition.

use std::path::Path;

use clap::CommandFactory;
use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

use crate::args::Cli;
use crate::screen::Screen;

/// Writes `twinroot.1` and one page for each command into `dir`.
pub(crate) fn man(dir: &Path, screen: &Screen) -> Outcome<()> {
    let failed =
        |e: std::io::Error| Failure::new(Code::FileIo, dir.display().to_string(), e.to_string());
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    screen.say(&format!("manual pages are in {}", dir.display()));
    Ok(())
}

/// Prints the completions of a shell.
pub(crate) fn completions(shell: clap_complete::Shell, screen: &Screen) -> Outcome<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "twinroot", &mut text);
    screen.print(&String::from_utf8_lossy(&text))
}
