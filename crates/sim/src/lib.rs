//! The simulated machine: media that lose what was not flushed, a boot model, and power that can go
//! before or after every effect.
//!
//! **Reason to exist.** "One known-good slot always boots, whatever is cut at whatever moment" is a
//! sentence that can only be believed if every moment was tried. This crate makes a whole machine
//! deterministic and cheap to copy, so that a history can be run once for each of its effects, die
//! there, and be judged by rules that look at the media and at nothing else.
//!
//! **Layer.** Beside `host`: above `ports`, `core`, `payload` and `trust`; below `agent` and the
//! programs. It implements the ports; who drives them is not its business ([`matrix::Driver`]).
//!
//! **Must never** read a clock, a file or the network, use randomness without a seed, or be part of a
//! program that runs on a node.

#![deny(missing_docs)]

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted faults are for builds with debug assertions only");

pub mod boot;
pub mod cut;
pub mod fleet;
pub mod matrix;
pub mod medium;
pub mod plant;
mod ports;
pub mod provision;
pub mod source;
pub mod survive;
pub mod toy;
pub mod watch;
pub mod world;
