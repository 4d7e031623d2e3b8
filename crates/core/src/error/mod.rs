//! The one table of everything that can go wrong: stable code, category, retry verdict, exit code.
//!
//! A room below this one (`trust`, `payload`) has error enums of its own; their stable codes are
//! rows of this table, so that an operator, a dashboard and an auditor meet one vocabulary. The
//! state machine never sees an error object: it sees a [`Failure`], which is plain data.

mod table;

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use table::Code;

/// Who can do something about a failure. Each category has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// The person or program that made the request.
    Input,
    /// Whoever writes the node's configuration or its image.
    Configuration,
    /// Whoever runs the machine: locks, permissions, clock, damaged records.
    Environment,
    /// The publisher, or an attacker: signed metadata or signed content does not hold.
    Trust,
    /// Whoever runs the network, a mirror or the repository's web server.
    Network,
    /// Whoever can free, enlarge or replace a disk.
    Disk,
    /// Whoever looks after firmware, bootloader and EFI system partition.
    Boot,
    /// Whoever looks after the workload or the release that failed it.
    Health,
    /// The authors of twinroot.
    Internal,
}

impl Category {
    /// Every category, in the order of exit codes.
    pub const ALL: [Category; 9] = [
        Category::Input,
        Category::Configuration,
        Category::Environment,
        Category::Trust,
        Category::Network,
        Category::Disk,
        Category::Boot,
        Category::Health,
        Category::Internal,
    ];

    /// The process exit code. 0 is success; 1 is left to `twinroot repo`, which knows only 0 and 1;
    /// 2 is also what argument parsers use for a command line they refuse. Scripts rely on these
    /// numbers, so a number is never given a second meaning.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Category::Input => 2,
            Category::Configuration => 3,
            Category::Environment => 4,
            Category::Trust => 5,
            Category::Network => 6,
            Category::Disk => 7,
            Category::Boot => 8,
            Category::Health => 9,
            Category::Internal => 10,
        }
    }

    /// The word used in messages and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Category::Input => "input",
            Category::Configuration => "configuration",
            Category::Environment => "environment",
            Category::Trust => "trust",
            Category::Network => "network",
            Category::Disk => "disk",
            Category::Boot => "boot",
            Category::Health => "health",
            Category::Internal => "internal",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the same thing may be tried again, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// The same bytes will fail the same way for ever: this release or request is done with.
    Never,
    /// Transient: again after a growing pause.
    Backoff,
    /// Nothing changes before the repository does: at the next regular check.
    NextCheck,
    /// Only after a person has acted.
    Operator,
}

impl Code {
    /// Exit code of a program that ends with this failure (see [`Category::exit_code`]).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self.category().exit_code()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that is no code of the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a code of the error table")]
pub struct UnknownCode(pub String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownCode(String::from(text)))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An agent must be able to read the records of its successor (DESIGN section 6, 'Room to grow'),
/// so a code that this version does not know becomes [`Code::Unrecognised`] instead of making a
/// whole record unreadable.
impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(text.parse().unwrap_or(Code::Unrecognised))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Code {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // No list: a newer agent may know more codes, and readers must bear that.
        schemars::json_schema!({ "type": "string", "description": "A code of docs/errors.md" })
    }
}

/// Something that failed: what, on what, why, and what a person can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The stable code; it decides category, retry and exit code.
    pub code: Code,
    /// The thing it happened to: a path, slot, release, URL, entry or setting.
    pub subject: String,
    /// Why it failed, in lower case and without the subject.
    pub cause: String,
    /// What a person can do. Starts out as the code's own remedy.
    pub remedy: String,
}

impl Failure {
    /// A failure with the remedy that the table holds for its code.
    #[must_use]
    pub fn new(code: Code, subject: impl Into<String>, cause: impl Into<String>) -> Self {
        let remedy = String::from(code.remedy());
        Failure {
            code,
            subject: subject.into(),
            cause: cause.into(),
            remedy,
        }
    }

    /// Takes an error of a lower room by its stable code and its text. These texts end with what can
    /// be done about them, behind their last semicolon: that becomes the remedy, so that it is said
    /// once. A code that is missing from the table is a fault of ours: it becomes
    /// [`Code::Internal`], keeps its name in the cause, and is never taken for something harmless.
    #[must_use]
    pub fn from_code(code: &str, subject: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let (cause, remedy) = match text.rsplit_once("; ") {
            Some((cause, remedy)) => (String::from(cause), Some(remedy)),
            None => (text.clone(), None),
        };
        match code.parse::<Code>() {
            Ok(code) => {
                let failure = Failure::new(code, subject, cause);
                match remedy {
                    Some(remedy) => failure.with_remedy(remedy),
                    None => failure,
                }
            }
            Err(_) => Failure::new(
                Code::Internal,
                subject,
                format!("{cause} (unlisted code {code})"),
            ),
        }
    }

    /// Replaces the table's remedy by one that fits the case better.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The category of its code.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.code.category()
    }

    /// The retry verdict of its code.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.code.retry()
    }

    /// The exit code of a program that ends with this failure.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        self.code.exit_code()
    }
}

/// One line: `subject: cause; remedy [code]`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; {} [{}]",
            self.subject, self.cause, self.remedy, self.code
        )
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests;
