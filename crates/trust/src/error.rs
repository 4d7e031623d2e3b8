//! The stable codes of every refusal this crate can give, and the error shared by small values.

use alloc::string::String;

/// A small value (digest, version, name, time) whose text breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {rule}")]
pub struct BadValue {
    /// What the text should have been.
    pub what: &'static str,
    /// The text, cut to [`SHOWN`] characters.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// How much of a bad value is repeated in messages: a SHA-256 in hex still fits whole.
pub const SHOWN: usize = 72;

impl BadValue {
    pub(crate) fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self {
            what,
            text: text.chars().take(SHOWN).collect(),
            rule,
        }
    }

    /// The stable code of this refusal.
    pub fn code(&self) -> &'static str {
        "malformed-value"
    }
}

/// Every code that a refusal of this crate can bear, sorted; the table of errors must know each.
/// A test asks every error for its code and compares.
pub const fn codes() -> &'static [&'static str] {
    &[
        "ambiguous-version",
        "channel-unknown",
        "client-too-old",
        "duplicate-key",
        "endless-data",
        "keyid-mismatch",
        "malformed-manifest",
        "malformed-metadata",
        "malformed-rollout",
        "malformed-value",
        "metadata-expired",
        "metadata-out-of-order",
        "metadata-rollback",
        "metadata-unavailable",
        "mix-and-match",
        "no-usable-digest",
        "not-delegated",
        "release-not-in-channel",
        "role-dropped",
        "role-not-listed",
        "rollout-hastened",
        "rollout-of-other-release",
        "rollout-widened",
        "root-version-skipped",
        "threshold-not-met",
        "too-many-delegations",
        "unsafe-target-name",
        "wrong-digest",
        "wrong-length",
        "wrong-software",
    ]
}
