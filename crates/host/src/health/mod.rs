//! The `Health` port: runs checks once and says what they said. What follows from it, `core` decides.

pub mod exec;
mod metric;
mod probe;
pub mod units;

use std::path::{Path, PathBuf};
use std::time::Duration;

use twinroot_core::error::Code;
use twinroot_core::health::{Check, CheckResult, Kind, Outcome as Ended, read_checks};
use twinroot_ports::{Health, Outcome};

use crate::fail::io_failure;
use units::Units;

/// How a check ended, and the evidence.
pub(crate) type Answer = (Ended, String);

/// Runs checks on this machine.
#[derive(Debug)]
pub struct Runner {
    folders: Vec<PathBuf>,
    units: Box<dyn Units>,
}

impl Runner {
    /// Checks are defined in `folders`, a later one's file replacing an earlier one's of the same
    /// name; `units` answers for the service manager.
    #[must_use]
    pub fn new(folders: Vec<PathBuf>, units: Box<dyn Units>) -> Self {
        Self { folders, units }
    }

    fn run_one(&self, check: &Check) -> Answer {
        let timeout = Duration::from_secs(check.timeout.0);
        match &check.kind {
            Kind::Unit { unit } => self.units.state(unit),
            Kind::Http { url, status } => probe::http(url, *status, timeout),
            Kind::Kubelet { url } => probe::http(url, 200, timeout),
            Kind::Tcp { address } => probe::tcp(address, timeout),
            Kind::Exec { command } => exec::run(command, timeout),
            Kind::Containerd { socket } => (
                Ended::NotRun,
                format!(
                    "{socket}: containerd's health service cannot be asked by this version; use a unit check"
                ),
            ),
            Kind::Metric {
                url,
                metric,
                at_least,
                at_most,
            } => metric::bound(url, metric, *at_least, *at_most, timeout),
        }
    }
}

impl Health for Runner {
    fn run(&self, checks: &[Check]) -> Outcome<Vec<CheckResult>> {
        let result = |check: &Check| {
            let (outcome, detail) = self.run_one(check);
            CheckResult {
                check: check.name.clone(),
                outcome,
                detail,
            }
        };
        Ok(checks.iter().map(result).collect())
    }

    fn local_checks(&self) -> Outcome<Vec<Check>> {
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in &self.folders {
            for path in definitions(folder)? {
                files.retain(|other| other.file_name() != path.file_name());
                files.push(path);
            }
        }
        files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        let mut checks = Vec::new();
        for path in files {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| io_failure(Code::HealthCheckInvalid, &path, "read", &error))?;
            checks.extend(read_checks(&path.display().to_string(), &text)?);
        }
        Ok(checks)
    }
}

/// The `.toml` files of a folder; none where there is no folder. A dangling link is listed, so that
/// reading it fails: a missing required check must not count as passed.
fn definitions(folder: &Path) -> Outcome<Vec<PathBuf>> {
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
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
