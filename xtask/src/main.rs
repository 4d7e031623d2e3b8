//! `./x`: tests, lints, demo, machine in files, bench.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{api_test, bench, ci, demo, image, kill, lint, machine, mutants, tests, vm};

#[derive(Debug, Parser)]
#[command(
    name = "x",
    bin_name = "./x",
    about = "One entry for people and CI",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show a release installed, updated, rolled back and refused on a machine in files
    Demo(demo::Args),
    /// Run every test that needs no virtual machine; ends with the counts
    Test(tests::Args),
    /// Run what CI runs: format, clippy, house rules, tests, licences, demo
    Ci(ci::Args),
    /// Check the house rules: layers, purity, size budget
    Lint,
    /// Measure speed, memory and bytes against other tools in the same run
    Bench(bench::Args),
    /// Validate the description of the local API, and fuzz the running agent by it
    ApiTest(api_test::Args),
    /// Kill updates at random moments and see that each ends well
    KillTest(kill::Args),
    /// Build images of the reference host: programs as they ship, then `twinroot-image`
    Image(image::Args),
    /// Make mistakes in the source of the pure rooms, one at a time, and see that a test fails for each
    Mutants(mutants::Args),
    /// Make or boot a machine that lives in a folder of files
    Machine(machine::Args),
    /// Boot the reference host in QEMU: scenarios, demonstration, a disk of your own
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => tests::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Lint => lint::run(),
        Task::Bench(args) => bench::run(&args),
        Task::ApiTest(args) => api_test::run(&args),
        Task::KillTest(args) => kill::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Machine(args) => machine::run(&args),
        Task::Vm(args) => vm::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("x: {error:#}");
            ExitCode::FAILURE
        }
    }
}
