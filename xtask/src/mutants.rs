//! `./x mutants`: mistakes made in the source of the pure rooms, one at a time, to show that the tests see them.
//!
//! The crash matrix plants its faults at run time, in adapters and between the loop and its ports. A
//! threshold, an expiry or a bound lies inside a pure function, where nothing can come between; a switch
//! there would be a way to switch it off in what ships. So these are changed in a copy of the source, the
//! room's tests are built and run against it, and a test has to fail. A copy that does not compile proves
//! nothing and ends the run, as does a line of the list that no longer fits the source.

mod list;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{self, root, target_dir};
use crate::table::Table;
use list::{MUTANTS, Mutant};

/// Options of `./x mutants`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Only mistakes whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// Makes each mistake in turn; fails where no test saw one of them.
pub fn run(args: &Args) -> Result<()> {
    let copy = Copy::of_workspace()?;
    let mut table = Table::new(&["mistake", "in", "seen by"]);
    let mut survived = Vec::new();
    let wanted = MUTANTS.iter().filter(|m| m.name.contains(&args.only));
    let mut planted = 0;
    for mutant in wanted {
        planted += 1;
        let seen = copy.try_out(mutant)?;
        let by = match seen.first() {
            Some(first) if seen.len() == 1 => first.clone(),
            Some(first) => format!("{first} and {} more", seen.len() - 1),
            None => "NOBODY".into(),
        };
        println!("{}: {by}", mutant.name);
        table.row([mutant.name.into(), mutant.file.into(), by]);
        if seen.is_empty() {
            survived.push(mutant.name);
        }
    }
    print!("\n{}", table.markdown());
    println!("killed/planted: {}/{planted}", planted - survived.len());
    if planted == 0 {
        bail!("no mistake of the list contains {:?}", args.only);
    }
    if !survived.is_empty() {
        bail!("no test saw: {}", survived.join("; "));
    }
    Ok(())
}

/// A copy of the workspace's source, in which mistakes are made.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn of_workspace() -> Result<Self> {
        let copy = target_dir().join("mutants");
        if copy.exists() {
            std::fs::remove_dir_all(&copy).context("cannot clear the copy of the last run")?;
        }
        let listed = run::capture(
            std::process::Command::new("git")
                .args([
                    "ls-files",
                    "-z",
                    "--cached",
                    "--others",
                    "--exclude-standard",
                ])
                .current_dir(root()),
        )?;
        for file in listed.split('\0').filter(|file| !file.is_empty()) {
            let (from, to) = (root().join(file), copy.join(file));
            if !from.is_file() {
                continue; // deleted in this checkout
            }
            let folder = to.parent().context("a listed file has a folder")?;
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
        }
        Ok(Self { root: copy })
    }

    /// Names of the tests that fail with the mistake made.
    fn try_out(&self, mutant: &Mutant) -> Result<Vec<String>> {
        let path = self.root.join(mutant.file);
        let right = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        std::fs::write(&path, mutant.applied_to(&right)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let seen = self.failing_tests(mutant);
        std::fs::write(&path, right).with_context(|| format!("cannot write {}", path.display()))?;
        seen
    }

    fn failing_tests(&self, mutant: &Mutant) -> Result<Vec<String>> {
        let mut build = self.cargo(mutant);
        run::capture(build.arg("--no-run"))
            .with_context(|| format!("with the mistake '{}' nothing compiles", mutant.name))?;
        let output = self
            .cargo(mutant)
            .arg("--no-fail-fast")
            .output()
            .context("cannot start the tests")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failed: Vec<String> = failures(&text).map(str::to_owned).collect();
        if output.status.success() != failed.is_empty() {
            bail!(
                "with the mistake '{}' the tests ended with {} and named {} failures: {text}",
                mutant.name,
                output.status,
                failed.len()
            );
        }
        Ok(failed)
    }

    fn cargo(&self, mutant: &Mutant) -> std::process::Command {
        let mut command = run::cargo(["test", "--quiet", "--tests", "--package", mutant.package]);
        command
            .arg("--manifest-path")
            .arg(manifest(&self.root))
            .env("CARGO_TARGET_DIR", target_dir());
        command
    }
}

fn manifest(root: &Path) -> PathBuf {
    root.join("Cargo.toml")
}

/// The tests that the harness lists as failed: lines of four spaces and the path of a function. What failed
/// tests have printed stands there too, but is no such path.
fn failures(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?;
        let path = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
        (path && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_of_the_list_fits_the_source_exactly_once() {
        for mutant in MUTANTS {
            let text = std::fs::read_to_string(root().join(mutant.file)).unwrap();
            let changed = mutant.applied_to(&text).unwrap();
            assert_ne!(changed, text, "{}", mutant.name);
        }
    }

    #[test]
    fn a_mistake_that_no_longer_fits_is_named() {
        let mutant = &MUTANTS[0];
        let error = mutant.applied_to("nothing of the kind").unwrap_err();
        assert!(error.to_string().contains(mutant.name), "{error}");
    }

    #[test]
    fn failed_tests_are_read_from_what_the_harness_prints() {
        let text = "running 2 tests\n..\n\nfailures:\n\n---- a::b stdout ----\nthread 'a::b' panicked\n\
                    \n    left.starts(\"c\"))\n\nfailures:\n    a::b\n    c\n\ntest result: FAILED. 0 passed; 2 failed\n";
        assert_eq!(failures(text).collect::<Vec<_>>(), ["a::b", "c"]);
    }
}
