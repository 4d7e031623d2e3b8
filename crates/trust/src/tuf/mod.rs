//! The client side of The Update Framework 1.0 (specification 1.0.34), without network or disk.
//!
//! [`Trusted`] is trust as a value: bytes and a time are applied to it and it either grows or
//! refuses. [`Workflow`] says in which order to ask whom for which bytes. [`Verified`] marks what
//! came out of a threshold of signatures or a signed digest, and is made in one function.

mod conversation;
mod delegation;
mod error;
mod files;
mod limits;
mod role;
mod search;
mod trusted;
mod verify;
mod workflow;

pub use conversation::{Action, Anchor, Answer, Outcome, Refreshed, What};
pub use delegation::{Delegation, Delegations, Pattern, Scope, check_target_name};
pub use error::TufError;
pub use files::{DocumentRef, Hashes, TargetInfo};
pub use limits::Limits;
pub use role::{Header, RoleKeys, Root, Snapshot, Targets, Timestamp, TopLevel, quoted_role};
pub use trusted::{Expiry, Freshness, Trusted, VersionJump};
pub use verify::{Envelope, TargetBytes, Verified, prove_target};
pub use workflow::Workflow;
