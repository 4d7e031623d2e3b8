//! `./x test`: every test that needs no virtual machine, and honest counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::counts::{self, Counts};
use crate::run;

/// Where the counts of the last run are kept, for the closing line of CI.
pub const COUNTS_FILE: &str = "test-counts.txt";

/// Options of `./x test`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Only this package (as in `cargo test -p`); all of them by default
    #[arg(short, long)]
    package: Vec<String>,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// Runs the tests, prints the reasons of skips and closes with `N passed, N failed, N skipped`.
pub fn run(args: &Args) -> Result<()> {
    if args.package.is_empty() {
        build_programs()?;
    }
    let (mut counts, mut ok) = unit_and_integration(args)?;
    if args.filter.is_none() {
        let (doc_counts, doc_ok) = doc_tests(args)?;
        counts.add(doc_counts);
        ok &= doc_ok;
    }
    report(&counts)?;
    // A runner that could not even build its tests fails without any failed test in its figures.
    if !ok || counts.failed > 0 {
        bail!("{} test(s) failed; see above", counts.failed.max(1));
    }
    if counts.passed == 0 {
        bail!("no test ran: the filter or the package matches nothing");
    }
    Ok(())
}

/// Tests of `tests/` start the real programs, which Cargo does not build for another package's tests.
/// They would build them themselves; done first, the build does not count as the first test's time.
/// Gives the folder of the programs.
pub fn build_programs() -> Result<PathBuf> {
    run::show(&mut run::cargo(["build", "--workspace", "--bins"]))?;
    Ok(run::target_dir().join("debug"))
}

fn unit_and_integration(args: &Args) -> Result<(Counts, bool)> {
    let nextest = run::have_cargo("nextest");
    let mut command = if nextest {
        run::cargo([
            "nextest",
            "run",
            "--no-fail-fast",
            "--success-output",
            "immediate",
        ])
    } else {
        run::cargo(["test", "--no-fail-fast", "--lib", "--bins", "--tests"])
    };
    select(&mut command, args);
    if args.package.is_empty() {
        command.env("TWINROOT_TESTS_BUILT", "1");
    }
    if let Some(filter) = &args.filter {
        command.arg(filter);
    }
    if !nextest {
        // Without this libtest swallows what passing tests print, the SKIP lines among it.
        command.args(["--", "--show-output"]);
    }
    let (output, ok) = tee(&mut command)?;
    let counts = if nextest {
        counts::of_nextest(&output)
    } else {
        counts::of_cargo_test(&output)
    };
    Ok((counts, ok))
}

fn doc_tests(args: &Args) -> Result<(Counts, bool)> {
    let mut command = run::cargo(["test", "--doc", "--no-fail-fast"]);
    if args.package.is_empty() {
        command.arg("--workspace");
    } else {
        for package in args.package.iter().filter(|name| has_library(name)) {
            command.args(["-p", package]);
        }
        if command.get_args().all(|arg| arg != "-p") {
            return Ok((Counts::default(), true));
        }
    }
    let (output, ok) = tee(&mut command)?;
    Ok((counts::of_cargo_test(&output), ok))
}

/// `cargo test --doc -p` refuses a package without a library.
fn has_library(package: &str) -> bool {
    let folder = package.strip_prefix("twinroot-").unwrap_or(package);
    ["crates", ""].iter().any(|parent| {
        run::root()
            .join(parent)
            .join(folder)
            .join("src/lib.rs")
            .is_file()
    })
}

fn select(command: &mut Command, args: &Args) {
    if args.package.is_empty() {
        command.arg("--workspace");
    }
    for package in &args.package {
        command.args(["-p", package]);
    }
}

fn report(counts: &Counts) -> Result<()> {
    println!();
    for reason in &counts.reasons {
        println!("skipped here: {reason}");
    }
    let file = run::target_dir().join(COUNTS_FILE);
    std::fs::write(&file, format!("{counts}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{counts}");
    Ok(())
}

/// Runs the command, shows what it prints as it comes, and returns all of it with the verdict.
fn tee(command: &mut Command) -> Result<(String, bool)> {
    let line = run::line_of(command);
    println!("$ {line}");
    let mut child = command
        .env("CARGO_TERM_COLOR", "never")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let all = Mutex::new(String::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| copy(out, &all));
        scope.spawn(|| copy(err, &all));
    });
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{line}`"))?;
    Ok((
        all.into_inner()
            .expect("no reader panics while it holds the text"),
        status.success(),
    ))
}

fn copy(from: Option<impl Read>, all: &Mutex<String>) {
    let Some(from) = from else { return };
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    // Lossy on purpose: a test may print anything, and its text is only searched for figures.
    while reader
        .read_until(b'\n', &mut bytes)
        .is_ok_and(|read| read > 0)
    {
        let line = String::from_utf8_lossy(&bytes).into_owned();
        bytes.clear();
        let mut all = all
            .lock()
            .expect("no reader panics while it holds the text");
        if worth_showing(&line) {
            let mut out = std::io::stdout().lock();
            // A closed terminal must not end the tests.
            let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        }
        all.push_str(&line);
    }
}

/// Leaves out the frame that the test harness prints around each single test.
fn worth_showing(line: &str) -> bool {
    let text = line.trim();
    let frame = text.is_empty()
        || text.starts_with("stdout ───")
        || text == "running 1 test"
        || (text.starts_with("test ") && text.ends_with("... ok"))
        || (text.starts_with("test result: ok. 1 passed") && line.starts_with(' '));
    !frame
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn output_on_both_streams_is_kept_with_the_verdict() {
        let (text, ok) =
            tee(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 1"])).unwrap();
        assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
        assert!(!ok);
    }

    #[test]
    fn failures_and_skips_are_always_shown() {
        assert!(worth_showing("    SKIP no tool\n"));
        assert!(worth_showing("test a ... FAILED\n"));
        assert!(!worth_showing("    running 1 test\n"));
    }
}
