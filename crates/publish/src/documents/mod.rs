//! TUF documents from the writer's side: what they hold, and their JSON.
//!
//! Nothing here is trusted: these types make and edit documents. Whether a document is good is
//! judged by the `trust` crate alone, before it is published (see `verdict`).

mod envelope;
mod fields;
mod roles;
mod targets;

pub use envelope::{Envelope, Signature};
pub use roles::{RoleKeys, Root, Snapshot, SnapshotEntry, Timestamp};
pub use targets::{Delegation, Delegations, TargetFile, Targets};

/// The TUF version whose rules we write by (TUF 1.0.34 section 4.3 asks for its number).
pub const SPEC_VERSION: &str = "1.0.34";

/// A kind of signed document.
pub trait Document: Sized {
    /// The content of `_type`.
    const TYPE: &'static str;

    /// The signed part.
    fn to_value(&self) -> twinroot_trust::json::Value;

    /// Reads the signed part; `Err` is a sentence.
    ///
    /// # Errors
    /// Which member is missing or of the wrong kind.
    fn from_value(value: &twinroot_trust::json::Value) -> Result<Self, String>;

    /// Version of the role.
    fn version(&self) -> u64;

    /// The moment from which clients refuse it.
    fn expires(&self) -> twinroot_trust::time::UnixTime;
}
