//! The scenarios: each a promise that a real machine keeps.

mod early_panic;
mod unhealthy;
mod update;

use anyhow::Result;

use crate::lab::Lab;

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its number in the list of promises.
    pub number: u8,
    /// Its name, as it is typed.
    pub name: &'static str,
    /// What holds if it passes.
    pub promise: &'static str,
    /// It is one of the few that run with every change.
    pub smoke: bool,
    /// Plays it; an error is a broken promise, unless it is an [`crate::qemu::InfraStall`].
    pub play: fn(&mut Lab) -> Result<()>,
}

/// All of them, in the order in which they run.
pub const ALL: &[Scenario] = &[
    Scenario {
        number: 1,
        name: "update-is-committed",
        promise: "a release published over HTTP is installed, started, found healthy and committed; boot \
                  entries, kernel, `twinroot verify` and history agree on it",
        smoke: true,
        play: update::play,
    },
    Scenario {
        number: 2,
        name: "early-panic-goes-back",
        promise: "a release that panics in the initramfs uses up its tries, and the machine is back on the \
                  release before without help, with the bad one denied",
        smoke: true,
        play: early_panic::play,
    },
    Scenario {
        number: 3,
        name: "unhealthy-goes-back",
        promise: "a release whose workload fails, at once or after two minutes of probation, is left for the \
                  release before, and denied",
        smoke: true,
        play: unhealthy::play,
    },
];
