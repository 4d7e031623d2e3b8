//! One function a command: arguments to library calls to a report.

mod keys;
mod releases;
mod rollouts;
mod setup;
mod sign;

pub(super) use keys::key;
pub(super) use releases::{add, check, promote, refresh, release, status};
pub(super) use rollouts::{pause, rollout, withdraw};
pub(super) use setup::init;
pub(super) use sign::{draft, sign};
