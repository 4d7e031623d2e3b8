//! What the service manager says of a unit.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use twinroot_core::health::Outcome as Ended;

use super::Answer;

/// Answers for the service manager.
pub trait Units: Debug + Send + Sync {
    /// Whether the unit is active.
    fn state(&self, unit: &str) -> (Ended, String);
}

/// The machine in files: a JSON file from unit to active state, in systemd's words.
#[derive(Debug, Clone)]
pub struct FilesUnits {
    path: PathBuf,
}

impl FilesUnits {
    /// States are in `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }
}

impl Units for FilesUnits {
    fn state(&self, unit: &str) -> Answer {
        let read = std::fs::read(&self.path).map_err(|error| error.to_string());
        let states = read.and_then(|bytes| {
            serde_json::from_slice::<BTreeMap<String, String>>(&bytes)
                .map_err(|error| error.to_string())
        });
        match states {
            Err(cause) => (Ended::NotRun, format!("{}: {cause}", self.path.display())),
            Ok(states) => match states.get(unit) {
                None => (Ended::Failed, format!("there is no unit {unit}")),
                Some(state) => judge(unit, state),
            },
        }
    }
}

fn judge(unit: &str, state: &str) -> Answer {
    let ended = match state {
        "active" => Ended::Passed,
        "failed" => Ended::FailedForGood,
        _ => Ended::Failed,
    };
    (ended, format!("{unit} is {state}"))
}

/// A machine whose service manager cannot be asked yet: every unit check says so and none passes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUnits;

impl Units for NoUnits {
    fn state(&self, unit: &str) -> Answer {
        (
            Ended::NotRun,
            format!("{unit}: this version cannot ask the service manager"),
        )
    }
}
