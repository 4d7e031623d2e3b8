//! What one host is and has of its own: its loader, and what it has changed of the image's `/etc`.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Schema;

answer! {
    /// `twinroot verify --drift`: what this node has changed in `/etc`, by path.
    DriftReport {
        /// One entry a path; none where everything is as the image has it.
        differences: Vec<Difference>,
    }
}

/// How something differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The image does not have it.
    Added,
    /// The image has it otherwise; a new default of a release does not take effect here.
    Changed,
    /// The image has it, and the node has taken it out.
    Removed,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Changed => "changed",
            Change::Removed => "removed",
        }
    }
}

part! {
    /// One local difference.
    Difference {
        /// Where, from the root.
        path: String,
        /// What was done.
        change: Change,
        /// In what it differs: `content`, `mode 644, not 600`, …
        detail: String,
    }
}

part! {
    /// The bootloader.
    LoaderStatus {
        /// Name and version, by its own word.
        name: String,
        /// Component and generation, as `systemd-boot,1`; empty where its file has none.
        revocation: Vec<String>,
    }
}
