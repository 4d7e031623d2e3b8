//! Health: what is checked, and what the results over time add up to.
//!
//! Nothing is checked here. [`definition`] reads what publisher and owner define, [`together`] lays it
//! side by side; [`journal`] keeps what each check said last; [`verdict`] turns results into a verdict.
//! Running a check is the Health port's work.

pub mod definition;
pub mod journal;
pub mod together;
pub mod verdict;

pub use definition::{Author, Check, Kind, read_checks};
pub use journal::{CheckState, Journal};
pub use together::{Defined, greenboot, together};
pub use verdict::{CheckResult, Judge, Outcome, RemoteLoss, Rules, Verdict};
