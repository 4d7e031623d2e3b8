//! What goes over the local API beyond the answers of the command line: requests, events, lines of
//! history.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use crate::health::CheckState;
use crate::records::Left;
use crate::update::SavedRelease;

/// What can be asked for; each is `POST /v1/<word>` on the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Look for a release.
    Check,
    /// Write one to the other slot and prove it.
    Stage,
    /// Make the bootloader try the staged one.
    Activate,
    /// Restart into the activated one, or into the slot a rollback chose.
    Reboot,
    /// All of these.
    Apply,
    /// Return to the other slot.
    Rollback,
    /// Write a good release over a slot that went bad.
    Repair,
    /// Do nothing by itself.
    Pause,
    /// End a pause.
    Resume,
    /// Stay at a version.
    Pin,
    /// Do not restart for a while.
    Hold,
    /// Remember a release as bad.
    Deny,
    /// Forget that.
    Undeny,
}

impl Action {
    /// All.
    pub const ALL: [Self; 13] = [
        Self::Check,
        Self::Stage,
        Self::Activate,
        Self::Reboot,
        Self::Apply,
        Self::Rollback,
        Self::Repair,
        Self::Pause,
        Self::Resume,
        Self::Pin,
        Self::Hold,
        Self::Deny,
        Self::Undeny,
    ];

    /// The word in the path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Stage => "stage",
            Self::Activate => "activate",
            Self::Reboot => "reboot",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Repair => "repair",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Pin => "pin",
            Self::Hold => "hold",
            Self::Deny => "deny",
            Self::Undeny => "undeny",
        }
    }

    /// Keys of [`ActBody`] that it takes; any other is refused, so that nobody believes that a
    /// word had an effect which it had not.
    #[must_use]
    pub const fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Check
            | Self::Activate
            | Self::Reboot
            | Self::Repair
            | Self::Pause
            | Self::Resume => &[],
            Self::Stage => &["version", "force"],
            Self::Apply => &["version", "force", "no-reboot"],
            Self::Rollback => &["reason", "no-reboot"],
            Self::Pin => &["version", "clear"],
            Self::Hold => &["reason", "until", "clear"],
            Self::Deny => &["release", "reason", "until"],
            Self::Undeny => &["release"],
        }
    }
}

/// Body of a request. Releases are named by version or digest, never by path or URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ActBody {
    /// This version, not the newest acceptable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub version: Option<Version>,
    /// Against the node's memory or schedule; recorded.
    #[serde(skip_serializing_if = "is_false")]
    pub force: bool,
    /// Leave the restart to somebody else.
    #[serde(skip_serializing_if = "is_false")]
    pub no_reboot: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Version, root hash or digest of the boot image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// End of a hold or of a denial, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<i64>"))]
    pub until: Option<UnixTime>,
    /// Lift a pin or a hold.
    #[serde(skip_serializing_if = "is_false")]
    pub clear: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl ActBody {
    /// Keys that are set.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        [
            ("version", self.version.is_some()),
            ("force", self.force),
            ("no-reboot", self.no_reboot),
            ("reason", self.reason.is_some()),
            ("release", self.release.is_some()),
            ("until", self.until.is_some()),
            ("clear", self.clear),
        ]
        .into_iter()
        .filter_map(|(key, set)| set.then_some(key))
    }
}

/// One line of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct HistoryLine {
    /// Rises by one.
    pub number: u64,
    /// When, by the system clock.
    #[cfg_attr(feature = "schema", schemars(with = "i64"))]
    pub at: UnixTime,
    /// In which boot.
    pub boot: String,
    /// The version that ran.
    pub running: String,
    /// What ended: `staged`, `activated`, `committed`, `rolled-back`, `denied`, ….
    pub what: String,
    /// The release it was about.
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub release: Option<SavedRelease>,
    /// One sentence.
    pub detail: String,
    /// Bytes fetched in this run of the program until then.
    pub fetched: u64,
    /// Bytes written to a slot in this run of the program until then.
    pub written: u64,
    /// Who asked for it, as the control socket knows them; nothing where the node acted by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The health checks with their evidence, where the line is about a verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<CheckState>,
    /// What a trial that failed has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// PCR 11 (SHA-256 bank) of the TPM when a release was committed; nothing on a machine without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcr11: Option<Digest>,
}

/// What `GET /v1/events` sends, one JSON document an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The update entered a phase.
    Phase {
        /// Its name.
        phase: String,
    },
    /// A transfer went on.
    Progress {
        /// In a word.
        doing: String,
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
        /// Bytes fetched.
        fetched: u64,
    },
    /// A line of history.
    Note {
        /// What ended.
        what: String,
        /// The release it was about.
        version: Option<String>,
        /// One sentence.
        detail: String,
    },
    /// Health was judged.
    Health {
        /// What for: `trial`, `steady`, `before`.
        purpose: String,
        /// `good`, `pending` or `bad`.
        verdict: String,
        /// The check and its evidence, where it is bad.
        detail: Option<String>,
    },
}
