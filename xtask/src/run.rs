//! Running other programs: what was run is printed, what failed is named.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The workspace's folder: `xtask` lies directly below it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the xtask package lies in a folder of the workspace")
}

/// Cargo's target folder, wherever the caller has put it.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// `cargo`, run in the workspace, with the arguments given.
pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    // Cargo names itself to the programs it runs, so a pinned toolchain is kept.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// True where `tool` is an executable file in `PATH`.
pub fn have(tool: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}

/// True where `cargo <name> --version` works: a cargo plug-in is installed.
pub fn have_cargo(name: &str) -> bool {
    cargo([name, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Prints the command, runs it with inherited output, and fails when it fails.
pub fn show(command: &mut Command) -> Result<()> {
    println!("$ {}", line_of(command));
    quiet(command)
}

/// Runs the command with inherited output, and fails when it fails.
pub fn quiet(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs the command and gives its standard output; fails, with its standard error, when it fails.
pub fn capture(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{line}` printed something that is not UTF-8"))
}

/// The command as a person would type it.
pub fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Named steps in a fixed order: the first failure ends the run, and each step's time is printed.
#[derive(Debug, Default)]
pub struct Steps {
    done: Vec<(String, Outcome, Duration)>,
}

#[derive(Debug)]
enum Outcome {
    Passed,
    Skipped(String),
}

impl Steps {
    /// Runs one step; its error is passed on with the step's name.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        println!(
            "<== {name}: {} in {}",
            if outcome.is_ok() { "passed" } else { "FAILED" },
            seconds(took)
        );
        outcome.with_context(|| format!("step '{name}' failed after {}", seconds(took)))?;
        self.done.push((name.to_owned(), Outcome::Passed, took));
        Ok(())
    }

    /// Records a step that cannot run here, with the reason; it counts as skipped, never as passed.
    pub fn skip(&mut self, name: &str, reason: &str) {
        println!("\n==> {name}\nSKIP {reason}");
        self.done.push((
            name.to_owned(),
            Outcome::Skipped(reason.to_owned()),
            Duration::ZERO,
        ));
    }

    /// Prints what ran, what did not and why, and how long each step took.
    pub fn print(&self) {
        println!("\nsteps:");
        for (name, outcome, took) in &self.done {
            match outcome {
                Outcome::Passed => println!("  passed   {:>8}  {name}", seconds(*took)),
                Outcome::Skipped(reason) => println!("  skipped  {:>8}  {name}: {reason}", "-"),
            }
        }
        let total: Duration = self.done.iter().map(|(_, _, took)| *took).sum();
        println!("  total    {:>8}", seconds(total));
    }
}

/// A duration for people: tenths of a second.
pub fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_reported_missing() {
        assert!(have("sh"));
        assert!(!have("no-such-tool-anywhere"));
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = quiet(Command::new("sh").args(["-c", "exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("sh -c exit 3"), "{error}");
    }

    #[test]
    fn a_failing_step_ends_the_run_with_its_name() {
        let mut steps = Steps::default();
        let error = steps.step("clippy", || bail!("a warning")).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("step 'clippy' failed"),
            "{error:#}"
        );
    }
}
