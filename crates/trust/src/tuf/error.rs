//! Why metadata or a target is refused. Variants bear the name of the attack they stop.

use alloc::string::String;

use crate::error::BadValue;
use crate::json::JsonError;
use crate::keys::KeyError;
use crate::time::UnixTime;

/// A refusal of the TUF client. Nothing that was trusted before changes by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the fields are named in the messages
pub enum TufError {
    #[error("{role} metadata is not strict JSON: {cause}; the repository or a mirror is broken")]
    NotJson { role: String, cause: JsonError },
    #[error("{role} metadata is malformed: {reason}; the repository must publish it again")]
    Malformed { role: String, reason: String },
    #[error(
        "{role} metadata follows TUF specification {version}, this client knows 1.x; update the client first"
    )]
    UnsupportedSpec { role: String, version: String },
    #[error("keys in {role} metadata are refused: {cause}; the repository must publish it again")]
    BadKeys { role: String, cause: KeyError },
    #[error(
        "{role} metadata (version {version}) is signed by {counted} of the {needed} keys it needs; wait for the missing signatures or try another mirror"
    )]
    ThresholdNotMet {
        role: String,
        version: String,
        counted: usize,
        needed: u64,
    },
    #[error(
        "root metadata version {offered} stands where version {expected} must; try another mirror"
    )]
    RootVersionSkipped { expected: u64, offered: u64 },
    #[error(
        "{role} metadata fell from version {known} to {offered}; someone replays old metadata, try another mirror"
    )]
    Rollback {
        role: String,
        known: u64,
        offered: u64,
    },
    #[error(
        "snapshot metadata no longer lists {role}; the repository must list every role it once listed"
    )]
    RoleDropped { role: String },
    #[error("snapshot metadata does not list {role}; the repository must publish a new snapshot")]
    RoleNotListed { role: String },
    #[error(
        "{role} metadata has version {offered}, but {pinned} is pinned; parts of two snapshots are mixed, try again or try another mirror"
    )]
    MixAndMatch {
        role: String,
        pinned: u64,
        offered: u64,
    },
    #[error(
        "{role} metadata expired at {expires} (now {now}); wait for the repository to be refreshed, or check the clock"
    )]
    Expired {
        role: String,
        expires: UnixTime,
        now: UnixTime,
    },
    #[error("{file} has {size} bytes or more, {limit} are allowed; try another mirror")]
    EndlessData { file: String, size: u64, limit: u64 },
    #[error("{file} has {size} bytes, {signed} are signed for; try another mirror")]
    WrongLength {
        file: String,
        size: u64,
        signed: u64,
    },
    #[error("{file} does not have the signed {algorithm} digest; try another mirror")]
    WrongDigest {
        file: String,
        algorithm: &'static str,
    },
    #[error(
        "{file} names no digest that this client can check (sha256 or sha512); the repository must publish it again"
    )]
    NoUsableDigest { file: String },
    #[error(
        "looking for {target} would visit more than {limit} delegated roles; the repository must delegate in fewer steps"
    )]
    TooManyDelegations { target: String, limit: u32 },
    #[error(
        "{role} metadata is not delegated to by {delegator}; look it up through the role that delegates to it"
    )]
    NotDelegated { role: String, delegator: String },
    #[error("{file} is needed, but the source does not have it; try another mirror")]
    Unavailable { file: String },
    #[error("{0}; ask for a name that stays below the directory it is written to")]
    UnsafeTargetName(BadValue),
    #[error("{role} metadata was offered before {before} was trusted; apply the roles in order")]
    OutOfOrder { role: String, before: &'static str },
}

impl TufError {
    /// The stable code of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } | Self::Malformed { .. } => "malformed-metadata",
            Self::UnsupportedSpec { .. } => "client-too-old",
            Self::BadKeys { cause, .. } => match cause {
                KeyError::Malformed { .. } => "malformed-metadata",
                KeyError::KeyIdMismatch { .. } => "keyid-mismatch",
                KeyError::DuplicateKey { .. } => "duplicate-key",
            },
            Self::ThresholdNotMet { .. } => "threshold-not-met",
            Self::RootVersionSkipped { .. } => "root-version-skipped",
            Self::Rollback { .. } => "metadata-rollback",
            Self::RoleDropped { .. } => "role-dropped",
            Self::RoleNotListed { .. } => "role-not-listed",
            Self::MixAndMatch { .. } => "mix-and-match",
            Self::Expired { .. } => "metadata-expired",
            Self::EndlessData { .. } => "endless-data",
            Self::WrongLength { .. } => "wrong-length",
            Self::WrongDigest { .. } => "wrong-digest",
            Self::NoUsableDigest { .. } => "no-usable-digest",
            Self::TooManyDelegations { .. } => "too-many-delegations",
            Self::NotDelegated { .. } => "not-delegated",
            Self::Unavailable { .. } => "metadata-unavailable",
            Self::UnsafeTargetName(_) => "unsafe-target-name",
            Self::OutOfOrder { .. } => "metadata-out-of-order",
        }
    }
}
