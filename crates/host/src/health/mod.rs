//! The `Health` port: runs checks once and says what they said. What follows from it, `core` decides.

mod containerd;
pub mod exec;
mod metric;
mod probe;
mod round;
pub mod units;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use twinroot_core::error::Code;
use twinroot_core::health::{
    Author, Check, CheckResult, Defined, Kind, Outcome as Ended, greenboot, read_checks, together,
};
use twinroot_ports::{Health, Outcome};

use crate::fail::io_failure;
use units::Units;

/// How a check ended, and the evidence.
pub(crate) type Answer = (Ended, String);

/// Where checks are defined.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    /// Definitions in TOML.
    pub definitions: Vec<(Author, PathBuf)>,
    /// Folders with greenboot's `required.d` and `wanted.d` in them.
    pub greenboot: Vec<(Author, PathBuf)>,
}

/// Runs checks on this machine.
#[derive(Debug)]
pub struct Runner {
    folders: Folders,
    units: Arc<dyn Units>,
}

impl Runner {
    /// Checks are defined in `folders`; `units` answers for the service manager.
    #[must_use]
    pub fn new(folders: Folders, units: Arc<dyn Units>) -> Self {
        Self { folders, units }
    }
}

fn run_one(check: &Check, units: &dyn Units) -> Answer {
    let timeout = Duration::from_secs(check.timeout.0);
    match &check.kind {
        Kind::Unit { unit } => units.state(unit),
        Kind::Http { url, status } => probe::http(url, *status, timeout),
        Kind::Kubelet { url } => probe::http(url, 200, timeout),
        Kind::Tcp { address } => probe::tcp(address, timeout),
        Kind::Exec { command } => exec::run(command, timeout),
        Kind::Containerd { socket } => containerd::serves(socket, timeout),
        Kind::Metric {
            url,
            metric,
            at_least,
            at_most,
        } => metric::bound(url, metric, *at_least, *at_most, timeout),
    }
}

impl Health for Runner {
    fn run(&self, checks: &[Check], alive: &dyn Fn()) -> Outcome<Vec<CheckResult>> {
        Ok(round::run(checks, alive, |check| {
            let (check, units) = (check.clone(), self.units.clone());
            Box::new(move || run_one(&check, &*units))
        }))
    }

    fn checks(&self) -> Outcome<Vec<Check>> {
        let mut defined = Vec::new();
        for (author, folder) in &self.folders.definitions {
            for path in files(folder, "toml")? {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| io_failure(Code::HealthCheckInvalid, &path, "read", &error))?;
                let path = path.display().to_string();
                let checks = read_checks(*author, &path, &text)?;
                defined.push(Defined { path, checks });
            }
        }
        for (author, folder) in &self.folders.greenboot {
            for (required, level) in [(true, "required.d"), (false, "wanted.d")] {
                for path in files(&folder.join(level), "sh")? {
                    let path = path.display().to_string();
                    let checks = vec![greenboot(*author, required, &path)];
                    defined.push(Defined { path, checks });
                }
            }
        }
        together(defined)
    }
}

/// The files of a folder that end so, by name; none where there is no folder. A dangling link is listed, so that
/// reading it fails: a missing required check must not count as passed.
fn files(folder: &Path, ending: &str) -> Outcome<Vec<PathBuf>> {
    let failed =
        |error: std::io::Error| io_failure(Code::HealthCheckInvalid, folder, "list", &error);
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in listed {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
