//! What the service manager says of a unit.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use twinroot_core::health::Outcome as Ended;
use zbus::blocking::connection::Builder;

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

/// systemd, over the system bus.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemdUnits;

/// How long an answer may take; a service manager that is busy for longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where systemd answers (org.freedesktop.systemd1(5)).
const SYSTEMD: &str = "org.freedesktop.systemd1";

impl SystemdUnits {
    /// `ActiveState` and, where the unit failed, why. A connection a call: checks run seconds apart,
    /// and a bus that restarted meanwhile must not make a healthy host look ill.
    fn ask(unit: &str) -> zbus::Result<(String, String)> {
        let bus = Builder::system()?.method_timeout(PATIENCE).build()?;
        let manager = "/org/freedesktop/systemd1";
        let interface = "org.freedesktop.systemd1.Manager";
        // LoadUnit and not GetUnit: the latter knows no unit that has not been started.
        let answer = bus.call_method(Some(SYSTEMD), manager, Some(interface), "LoadUnit", &unit)?;
        let path: zbus::zvariant::OwnedObjectPath = answer.body().deserialize()?;
        let property = |name: &str| -> zbus::Result<String> {
            let wanted = ("org.freedesktop.systemd1.Unit", name);
            let interface = Some("org.freedesktop.DBus.Properties");
            let answer = bus.call_method(Some(SYSTEMD), &path, interface, "Get", &wanted)?;
            let value: zbus::zvariant::OwnedValue = answer.body().deserialize()?;
            String::try_from(value).map_err(zbus::Error::from)
        };
        match property("LoadState")?.as_str() {
            "loaded" => Ok((property("ActiveState")?, property("SubState")?)),
            other => Ok((other.to_owned(), String::new())),
        }
    }
}

impl Units for SystemdUnits {
    fn state(&self, unit: &str) -> Answer {
        match Self::ask(unit) {
            Err(error) => (
                Ended::NotRun,
                format!("{unit}: the service manager cannot be asked: {error}"),
            ),
            Ok((state, _)) if state == "not-found" => {
                (Ended::Failed, format!("there is no unit {unit}"))
            }
            Ok((state, detail)) => {
                let (ended, text) = judge(unit, &state);
                match detail.as_str() {
                    "" => (ended, text),
                    detail => (ended, format!("{text} ({detail})")),
                }
            }
        }
    }
}
