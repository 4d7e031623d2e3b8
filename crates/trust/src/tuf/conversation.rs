//! The words of the conversation between the workflow and whoever drives it.

use alloc::string::String;
use alloc::vec::Vec;

use super::VersionJump;
use super::files::TargetInfo;
use super::verify::Verified;
use crate::time::UnixTime;

/// Where trust starts.
#[derive(Debug, Clone)]
pub enum Anchor {
    /// The stored root itself, as plain clients hold it: `root.json` is replaced as the chain is
    /// followed, and is the anchor next time.
    Stored(Vec<u8>),
    /// A root that the running image carries. The store is not trusted: the chain is walked again
    /// from this root, through `root_history/N.root.json` where those files are good.
    Image(Vec<u8>),
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read a file of the metadata store and [`Workflow::answer`](super::Workflow::answer).
    Load {
        /// Relative to the store.
        file: String,
    },
    /// Get a file from the repository and [`Workflow::answer`](super::Workflow::answer).
    Fetch {
        /// Relative to the metadata URL and already quoted for one.
        path: String,
        /// The stream is to be cut after this many bytes and one more.
        max_length: u64,
        /// Which kind of document it is.
        what: What,
    },
    /// Make these bytes durable in the store, then call [`Workflow::next_action`](super::Workflow::next_action).
    Persist {
        /// Relative to the store.
        file: String,
        /// Exactly the bytes that were received.
        bytes: Vec<u8>,
    },
    /// Remove a file of the store if it is there, durably, then call [`Workflow::next_action`](super::Workflow::next_action).
    Forget {
        /// Relative to the store.
        file: String,
    },
    /// The goal is reached.
    Done(Outcome),
}

/// The kinds of documents that are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The root after the present one. "Not there" is the usual answer.
    NextRoot,
    /// The timestamp.
    Timestamp,
    /// The snapshot.
    Snapshot,
    /// A targets role, top-level or delegated.
    Targets,
}

/// What came of a load or fetch.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// There is no such file: for a fetch, the source said so in so many words (HTTP 404). Any
    /// other failure is no answer; end the transaction or ask another mirror.
    Missing,
}

/// How a goal was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All top-level roles are trusted and fresh.
    Refreshed(Refreshed),
    /// The target that was looked for.
    Found(Verified<TargetInfo>),
    /// No role that may list this target does.
    NotFound {
        /// The name that was looked for.
        target: String,
    },
    /// The role that was asked for is trusted.
    Trusts {
        /// Its name.
        role: String,
    },
}

/// What a refresh ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// Version of root.
    pub root: u64,
    /// Version of timestamp.
    pub timestamp: u64,
    /// Version of snapshot.
    pub snapshot: u64,
    /// Version of targets.
    pub targets: u64,
    /// When the first of these expires.
    pub expires: UnixTime,
    /// Root versions that were fetched and followed.
    pub roots_followed: u32,
    /// The walk ended at its bound although more root versions may exist; the next refresh goes on.
    pub walk_cut: bool,
    /// Version rises that look like a fast-forward attack: warn, do not refuse.
    pub jumps: Vec<VersionJump>,
}
