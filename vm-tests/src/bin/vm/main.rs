//! `twinroot-vm`: runs scenarios in machines that really boot. People and CI call it as `./x vm`.

mod play;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use vm_tests::host::{Deadline, target};
use vm_tests::image::Programs;
use vm_tests::qemu::{Machine, Spec};
use vm_tests::scenario::ALL;

#[derive(Debug, Parser)]
#[command(
    name = "twinroot-vm",
    bin_name = "./x vm",
    after_help = "With --development, `./x vm` boots the programs that the tests have built, which takes minutes less than \
                  the release builds that it boots otherwise.",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// List the scenarios and their promises
    List,
    /// Print the packages that scenarios need and that this machine lacks, one a line
    Lacking,
    /// Play scenarios
    Run {
        /// Names or numbers [default: all]
        names: Vec<String>,
        /// Only the few that run with every change
        #[arg(long, conflicts_with = "names")]
        smoke: bool,
        /// Machines at once; each takes a processor
        #[arg(long, default_value = "1")]
        jobs: usize,
        #[command(flatten)]
        programs: ProgramArgs,
    },
    /// Show a start, an update and a release that goes back, on the console of the reference host
    Demo {
        #[command(flatten)]
        programs: ProgramArgs,
    },
    /// Boot a disk image, show its console, and ask its command server who it is
    Boot {
        /// A raw disk image; it is not changed
        disk: PathBuf,
        /// Then run this by the guest's shell and print what it says; may be given several times, in their order
        #[arg(long, value_name = "COMMAND")]
        run: Vec<String>,
    },
}

/// Where the programs of the project lie; `./x vm` builds them and says so.
#[derive(Debug, clap::Args)]
struct ProgramArgs {
    /// Folder of twinroot-image and twinroot-publish
    #[arg(long, value_name = "FOLDER")]
    tools: PathBuf,
    /// Folder of the node's program and the guest's command server, as they ship
    #[arg(long, value_name = "FOLDER")]
    node: PathBuf,
    /// The static program of the initramfs
    #[arg(long, value_name = "FILE")]
    init: PathBuf,
    /// Budget of root images in place of the recipe's, for programs that are not release builds
    #[arg(long, value_name = "SIZE")]
    root_budget: Option<String>,
}

impl ProgramArgs {
    fn programs(&self) -> Programs {
        Programs {
            image: self.tools.join("twinroot-image"),
            publish: self.tools.join("twinroot-publish"),
            node: self.node.join("twinroot"),
            guest: self.node.join("twinroot-vm-guest"),
            init: self.init.clone(),
            root_budget: self.root_budget.clone(),
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Task::List => {
            list();
            Ok(())
        }
        Task::Lacking => {
            for package in play::missing() {
                println!("{package}");
            }
            Ok(())
        }
        Task::Run {
            names,
            smoke,
            jobs,
            programs,
        } => play::run(&names, smoke, jobs, &programs.programs()),
        Task::Demo { programs } => play::demo(&programs.programs()),
        Task::Boot { disk, run } => boot(&disk, &run),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for scenario in ALL {
        let smoke = if scenario.smoke { " (smoke)" } else { "" };
        println!("{:>2}  {}{smoke}", scenario.number, scenario.name);
        println!("    {}", scenario.promise);
    }
}

fn boot(disk: &Path, commands: &[String]) -> Result<()> {
    let mut machine = Machine::make(Spec::plain(&target().join("vm/boot"), disk))?;
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
    for command in commands {
        let said = running
            .channel
            .run(&["/bin/sh", "-c", command], Deadline::seconds(300))?;
        print!("# {command}\n{}{}", said.stdout, said.stderr);
        println!("({:.1} CPU-seconds)", running.cpu()?.as_secs_f64());
        if said.code != 0 {
            bail!("`{command}` ended with {} in the guest", said.code);
        }
    }
    Ok(())
}
