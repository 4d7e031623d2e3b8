//! The scenarios: each a promise that a real machine keeps.

mod bad_block;
mod containers;
mod day_two;
mod degraded;
mod disks;
mod early_panic;
mod edits;
mod esp_trouble;
mod hang;
mod measured;
mod power_cuts;
mod secure_boot;
mod tampered;
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
    /// About how long it takes on an idle processor of the build host, so that the longest ones begin
    /// where several are played at once.
    pub minutes: u8,
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
        minutes: 3,
        play: update::play,
    },
    Scenario {
        number: 1,
        name: "what-ships-is-updated",
        promise: "the same with everything that ships",
        smoke: false,
        minutes: 8,
        play: update::play_shipped,
    },
    Scenario {
        number: 2,
        name: "early-panic-goes-back",
        promise: "a release that panics in the initramfs uses up its tries, and the machine is back on the \
                  release before without help, with the bad one denied",
        smoke: true,
        minutes: 3,
        play: early_panic::play,
    },
    Scenario {
        number: 3,
        name: "unhealthy-goes-back",
        promise: "a release whose workload fails, at once or after two minutes of probation, is left for the \
                  release before, and denied",
        smoke: true,
        minutes: 6,
        play: unhealthy::play,
    },
    Scenario {
        number: 4,
        name: "hang-goes-back",
        promise: "a release that hangs, in its service manager or with every processor taken, is ended by the \
                  watchdog and left for the release before",
        smoke: false,
        minutes: 10,
        play: hang::play,
    },
    Scenario {
        number: 5,
        name: "power-cuts-lose-nothing",
        promise: "cut at any moment of two updates and a rollback, with any unflushed write lost, the disk has a \
                  known-good entry that is whole; states that are really booted come to rest on the old or the new \
                  release by themselves, and go on from there",
        smoke: false,
        minutes: 35,
        play: power_cuts::play,
    },
    Scenario {
        number: 6,
        name: "tampered-is-refused",
        promise: "metadata, boot image and payload that were tampered with on the server are refused before \
                  anything is armed; put right, the same release arrives",
        smoke: false,
        minutes: 4,
        play: tampered::play,
    },
    Scenario {
        number: 6,
        name: "bad-block-is-left",
        promise: "a committed slot that goes bad is left after three starts without health; the other slot says \
                  what happened and repairs it",
        smoke: false,
        minutes: 6,
        play: bad_block::play,
    },
    Scenario {
        number: 6,
        name: "bad-block-alone-halts",
        promise: "where no other slot is proven, a slot that goes bad ends in a halt that names the cause",
        smoke: false,
        minutes: 3,
        play: bad_block::play_alone,
    },
    Scenario {
        number: 7,
        name: "esp-trouble-is-refused",
        promise: "an ESP that is full or read-only is refused with reason and remedy; put right, the update \
                  succeeds, past a name that a cut left without clusters, and files of others are untouched",
        smoke: false,
        minutes: 5,
        play: esp_trouble::play,
    },
    Scenario {
        number: 8,
        name: "secure-boot-refuses-unsigned",
        promise: "with Secure Boot a signed release arrives, an unsigned and a foreign one are refused by the \
                  agent, and the firmware starts none that was forced onto the ESP",
        smoke: false,
        minutes: 6,
        play: secure_boot::play,
    },
    Scenario {
        number: 9,
        name: "other-disks-are-left-alone",
        promise: "a foreign disk with the same labels is never used, an exact clone stops the start by name without \
                  spending a try, and a disk on NVMe works",
        smoke: false,
        minutes: 5,
        play: disks::play,
    },
    Scenario {
        number: 10,
        name: "measured-as-predicted",
        promise: "PCR 11 of the booted image equals the value that was predicted when it was built, and is in the history",
        smoke: false,
        minutes: 2,
        play: measured::play,
    },
    Scenario {
        number: 11,
        name: "both-unhealthy-stays-up",
        promise: "with both slots unhealthy the machine stops changing slots, stays up and says so, and so it does \
                  with a state partition that cannot be mounted",
        smoke: false,
        minutes: 7,
        play: degraded::play,
    },
    Scenario {
        number: 12,
        name: "edits-survive",
        promise: "edits of /etc and /var survive an update and a rollback, and defaults, users and units that a \
                  release brings take effect beside them",
        smoke: false,
        minutes: 5,
        play: edits::play,
    },
    Scenario {
        number: 13,
        name: "containers-run",
        promise: "containerd runs a container from an image without a registry, before an update and after it",
        smoke: false,
        minutes: 8,
        play: containers::play,
    },
    Scenario {
        number: 14,
        name: "day-two-is-as-described",
        promise: "what the operations page says of a running host holds: an inhibitor and the lock server hold the \
                  restart and are named, nonsense is refused at a reload, service and sockets can be stopped, and \
                  the journal explains its messages",
        smoke: false,
        minutes: 4,
        play: day_two::play,
    },
];
