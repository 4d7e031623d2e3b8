//! Health: what is checked, and what the results over time add up to.
//!
//! Nothing is checked here. [`definition`] reads what the product and the node define; [`verdict`]
//! turns results into a verdict. Running a check is the Health port's work.

pub mod definition;
pub mod verdict;

pub use definition::{Check, Kind, read_checks};
pub use verdict::{CheckResult, Judge, Outcome, Rules, Verdict};
