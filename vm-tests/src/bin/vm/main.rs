//! `twinroot-vm`: runs scenarios in machines that really boot. People and CI call it as `./x vm`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use vm_tests::host::Deadline;
use vm_tests::qemu::{Machine, Spec};

#[derive(Debug, Parser)]
#[command(
    name = "twinroot-vm",
    bin_name = "./x vm",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Boot a disk image, show its console, and ask its command server who it is
    Boot {
        /// A raw disk image; it is not changed
        disk: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Task::Boot { disk } => boot(&disk),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn boot(disk: &std::path::Path) -> Result<()> {
    let folder = vm_tests::host::target().join("vm/boot");
    let mut machine = Machine::make(Spec::plain(&folder, disk))?;
    let mut running = machine.power_on()?;
    running.console.echo(true);
    let id = running.wait_boot(Deadline::seconds(600))?;
    let uname = running
        .channel
        .run(&["uname", "-a"], Deadline::seconds(30))?;
    println!(
        "the guest answers: boot {id}, {} ({:.1} CPU-seconds)",
        uname.stdout.trim(),
        running.cpu()?.as_secs_f64()
    );
    Ok(())
}
