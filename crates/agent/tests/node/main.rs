//! The loop on the simulated machine.
#![allow(clippy::unwrap_used)]

mod any_order;
mod common;
mod judged;
mod spine;
