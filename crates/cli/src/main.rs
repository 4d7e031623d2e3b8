//! `twinroot`: the node's one binary.
//!
//! Reason to exist: what a person types on a node, and the loop in the foreground. Layer: the top;
//! it puts adapters (`host`) and loop (`agent`) together. Must never: decide anything about an
//! update, write to a slot or an ESP by itself, or start another program.

mod archive;
mod args;
mod client;
mod commands;
mod docs;
mod journal;
mod machine;
mod observe;
mod print;
mod repo;
mod screen;
mod scrub;
mod signals;

use std::process::ExitCode;

use clap::Parser;
use twinroot_core::error::Category;

use args::{Cli, Verb};
use screen::Screen;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are answers; anything else is a request that was not understood.
        Err(error) => {
            // Nothing is left to do where even this cannot be printed.
            let _ = error.print();
            return match error.use_stderr() {
                true => ExitCode::from(Category::Input.exit_code()),
                false => ExitCode::SUCCESS,
            };
        }
    };
    let screen = Screen::new(&cli.global);
    let is_repo = matches!(cli.verb, Verb::Repo(_));
    match commands::run(&cli, &screen) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            screen.failure(&failure);
            // A plain TUF client knows success and refusal only (DESIGN section 14, 'Exit codes').
            ExitCode::from(if is_repo { 1 } else { failure.exit_code() })
        }
    }
}
