//! One entry for people and CI: `./x` hands over to this program.
//!
//! Reason to exist: whoever works on twinroot types one short command and gets the same checks, the
//! same demo and the same measurements as CI. Layer: program, on top of everything. It drives the built
//! programs from outside, as a person would. Must never: decide anything about an update, be needed at
//! run time, or report a check as passed that did not run.

pub mod api_test;
pub mod bench;
pub mod ci;
pub mod counts;
pub mod demo;
pub mod image;
pub mod kill;
pub mod lint;
pub mod machine;
pub mod mutants;
pub mod programs;
pub mod run;
pub mod table;
pub mod tests;
pub mod vm;
