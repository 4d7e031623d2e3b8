//! `twinroot-publish`: the publisher's program. See `docs/publisher.md`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
