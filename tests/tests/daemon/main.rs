//! The real daemon as a process on a machine in files, against a repository of ours on the loopback.
//! The test owns the machine's clocks: what takes a day there takes no time here.
// Shared within this test program only.
#![allow(clippy::unwrap_used, unreachable_pub, missing_debug_implementations)]

#[path = "../node/support.rs"]
#[allow(dead_code)]
mod node;

mod abuse;
mod api;
mod degraded;
mod fleetlock;
mod health;
mod manager;
mod observe;
mod reports;
mod service;
mod stories;
mod support;
mod upset;
