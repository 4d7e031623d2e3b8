//! `publish.toml`: what is decided once for a repository.

use serde::{Deserialize, Serialize};
use twinroot_trust::name::Name;
use twinroot_trust::time::Seconds;

use crate::error::{Error, Result};
use crate::files::{self, Files};
use crate::layout::{Layout, ROLLOUT_ROLE};

/// The schema that this version reads and writes.
const SCHEMA: u32 = 1;

/// The content of `publish.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Version of this file's form.
    pub schema: u32,
    /// The product that is published here.
    pub product: Name,
    /// The processor architecture of its images.
    pub architecture: Name,
    /// The variant of the product, where it has variants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Name>,
    /// Whether P-256 keys may sign. Nodes read such signatures only where the key policy in
    /// their image says so too; turning this on alone would lock them out.
    pub allow_p256: bool,
    /// How long each role is good for from the moment it is drafted.
    pub expiry: Expiry,
}

/// Periods after which clients refuse a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiry {
    /// A year: long enough for a yearly key ceremony, short enough that a lost quorum is noticed.
    pub root: Seconds,
    /// A year, for `targets` as for channels: releases stay installable for a node that was off
    /// for months; freshness is the timestamp's task.
    pub targets: Seconds,
    /// See `targets`.
    pub channels: Seconds,
    /// A year; a stopped rollout must not start again because its policy expired.
    pub rollout: Seconds,
    /// 30 days; signed by a key on a server with every publication and, when due, by `refresh`.
    pub snapshot: Seconds,
    /// 7 days, re-signed daily: bounds how long a mirror can hide news (freeze), and leaves six
    /// days to repair a failed job.
    pub timestamp: Seconds,
}

impl Default for Expiry {
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self {
            root: Seconds(365 * DAY),
            targets: Seconds(365 * DAY),
            channels: Seconds(365 * DAY),
            rollout: Seconds(365 * DAY),
            snapshot: Seconds(30 * DAY),
            timestamp: Seconds(7 * DAY),
        }
    }
}

impl Expiry {
    /// The period of a role.
    pub fn of(&self, role: &str) -> Seconds {
        match role {
            "root" => self.root,
            "targets" => self.targets,
            "snapshot" => self.snapshot,
            "timestamp" => self.timestamp,
            ROLLOUT_ROLE => self.rollout,
            _ => self.channels,
        }
    }
}

impl Settings {
    /// Settings with default periods.
    pub fn new(product: Name, architecture: Name) -> Self {
        Self {
            schema: SCHEMA,
            product,
            architecture,
            variant: None,
            allow_p256: false,
            expiry: Expiry::default(),
        }
    }

    /// Reads the settings of a repository.
    ///
    /// # Errors
    /// [`Error::RepositoryMissing`] when there are none, [`Error::Damaged`] when they are wrong.
    pub fn load(layout: &Layout) -> Result<Self> {
        let path = layout.settings();
        let Some(bytes) = files::read_if_there(&path)? else {
            return Err(Error::RepositoryMissing(layout.dir().to_owned()));
        };
        let damaged = |why: String| Error::damaged(path.display().to_string(), why);
        let text = String::from_utf8(bytes).map_err(|cause| damaged(cause.to_string()))?;
        let settings: Self = toml::from_str(&text).map_err(|cause| damaged(cause.to_string()))?;
        if settings.schema != SCHEMA {
            return Err(damaged(format!(
                "schema {}, this version reads {SCHEMA}",
                settings.schema
            )));
        }
        Ok(settings)
    }

    /// Writes the settings.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, layout: &Layout, files: &dyn Files) -> Result<()> {
        let text = toml::to_string(self).expect("settings hold names, numbers and durations only");
        files::write_durably(files, &layout.settings(), text.as_bytes())
    }
}
