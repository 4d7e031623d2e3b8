//! `./x ci`: the same steps for people and for CI, in a fixed order, each with its time.

use anyhow::{Result, bail};

use crate::run::{self, Steps};
use crate::{demo, lint, mutants, tests};

/// Options of `./x ci`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave a step out that has run already
    #[arg(long, value_name = "STEP")]
    without: Vec<Step>,
}

/// Steps that `--without` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Step {
    /// All tests with their counts
    Test,
    /// Mistakes made in the source, each of which a test has to see
    Mutants,
    /// The demonstration
    Demo,
}

/// Runs the steps; the first failure ends the run.
pub fn run(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    let outcome = all(&mut steps, args);
    steps.print();
    outcome
}

fn all(steps: &mut Steps, args: &Args) -> Result<()> {
    steps.step("format", || {
        run::show(&mut run::cargo(["fmt", "--all", "--check"]))
    })?;
    steps.step("clippy", || {
        run::show(&mut run::cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    steps.step("house rules", lint::run)?;
    if args.without.contains(&Step::Test) {
        steps.skip("tests", "left out by --without test");
    } else {
        steps.step("tests", || tests::run(&tests::Args::default()))?;
    }
    if args.without.contains(&Step::Mutants) {
        steps.skip("mutants", "left out by --without mutants");
    } else {
        steps.step("mutants", || mutants::run(&mutants::Args::default()))?;
    }
    licences(steps)?;
    if args.without.contains(&Step::Demo) {
        steps.skip("demo", "left out by --without demo");
    } else {
        steps.step("demo", || demo::run(&demo::Args::default()))?;
    }
    Ok(())
}

/// `deny.toml`: licences, banned packages and sources. No advisories: they need a network that changes.
fn licences(steps: &mut Steps) -> Result<()> {
    if !run::have_cargo("deny") {
        steps.skip(
            "licences",
            "cargo-deny is not installed (cargo install --locked cargo-deny)",
        );
        return Ok(());
    }
    steps.step("licences", || {
        let check = ["deny", "check", "licenses", "bans", "sources"];
        if run::show(&mut run::cargo(check)).is_err() {
            bail!(
                "a dependency breaks deny.toml; either drop it or add an exception with its reason"
            );
        }
        Ok(())
    })
}
