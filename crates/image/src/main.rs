//! `twinroot-image`: the image builder's program. See `docs/image.md`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
