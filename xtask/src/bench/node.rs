//! A node on a machine in files, driven as a person would drive it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::publisher::{Publisher, Release, SALT, Server};
use super::usage::{self, Usage};
use crate::programs::Programs;
use crate::run;

/// What fits on a machine's ESP: 1 GiB, the default of real hosts (DESIGN section 8), so that two real boot
/// files find room.
const ESP: u64 = 1 << 30;

/// A machine in a folder of files.
#[derive(Debug)]
pub struct Node {
    programs: Programs,
    folder: PathBuf,
}

impl Node {
    /// Makes a machine that runs `first` and follows the server's repository, and commits `first`.
    pub fn install(
        programs: &Programs,
        folder: &Path,
        publisher: &Publisher,
        first: &Release,
        server: &Server,
    ) -> Result<Self> {
        let mut new = programs.lab();
        new.args(["machine", "new"]).arg(folder);
        new.args(["--salt", SALT, "--version", &first.version]);
        new.args(["--esp", &ESP.to_string()]);
        new.args([
            "--metadata-url",
            &server.metadata,
            "--targets-url",
            &server.targets,
        ]);
        new.arg("--image")
            .arg(&first.image)
            .arg("--uki")
            .arg(&first.uki);
        new.arg("--anchor").arg(publisher.anchor());
        run::capture(&mut new)?;
        let node = Self {
            programs: programs.clone(),
            folder: folder.to_owned(),
        };
        node.boot_into(&first.version)?;
        node.settle()?;
        Ok(node)
    }

    /// A `twinroot` command on this machine.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.programs.node();
        command
            .arg("--quiet")
            .arg("--machine")
            .arg(&self.folder)
            .args(words);
        command
    }

    /// Writes the newest release to the other slot and proves it; says what both cost, and what the
    /// first part did (`marked`). The signed metadata should be there already (`check`).
    pub fn stage(&self) -> Result<Usage> {
        let mut command = self.programs.node();
        command.arg("--machine").arg(&self.folder).arg("stage");
        usage::measure_until(&mut command, "proving")
    }

    /// Looks at the repository, so that what follows fetches payloads only.
    pub fn check(&self) -> Result<()> {
        run::capture(&mut self.command(&["check"])).map(drop)
    }

    /// Bytes that `twinroot plan` says it would fetch.
    pub fn planned(&self) -> Result<u64> {
        let plan: Value =
            serde_json::from_str(&run::capture(&mut self.command(&["plan", "--json"]))?)
                .context("plan printed no JSON")?;
        plan["fetch"]
            .as_u64()
            .context("the plan names no bytes to fetch")
    }

    /// The disk of the machine.
    pub fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    /// Updates to the newest release up to the request for a restart, and says what it cost.
    pub fn apply(&self) -> Result<Usage> {
        usage::measure(&mut self.command(&["apply"]))
    }

    /// Starts the machine; `version` must come up.
    pub fn boot_into(&self, version: &str) -> Result<()> {
        let booted = self.boot()?;
        if booted != version {
            bail!("{booted} came up, not {version}");
        }
        Ok(())
    }

    /// Starts the machine and says which version came up.
    pub fn boot(&self) -> Result<String> {
        let mut boot = self.programs.lab();
        boot.args(["machine", "boot", "--json"]).arg(&self.folder);
        let report: Value = serde_json::from_str(&run::capture(&mut boot)?)
            .context("the boot model printed no JSON")?;
        text(&report["booted"]["version"])
    }

    /// Lets the agent recover and judge health once: it commits what runs well.
    pub fn settle(&self) -> Result<()> {
        run::capture(&mut self.command(&["agent", "--once"])).map(drop)
    }

    /// `twinroot status` as JSON.
    pub fn status(&self) -> Result<Value> {
        serde_json::from_str(&run::capture(&mut self.command(&["status", "--json"]))?)
            .context("status printed no JSON")
    }

    /// The version that runs, and whether nothing is under way.
    pub fn running(&self) -> Result<(String, bool)> {
        let status = self.status()?;
        Ok((
            text(&status["booted"]["release"]["version"])?,
            status["phase"] == "idle",
        ))
    }

    /// True for files that a node is meant to write: its disk, its boot files, its records.
    pub fn is_own(&self, path: &Path) -> bool {
        ["disk.img", "esp"]
            .iter()
            .any(|name| path.starts_with(self.folder.join(name)))
    }
}

fn text(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("expected text, found {value}"))
}
