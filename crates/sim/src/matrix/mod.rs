//! The crash matrix: every history, cut at every effect, with every loss that the media allow; then
//! recovery by the real loop, judged by the rules of DESIGN section 5; then cut once more.
//!
//! One run of a history records the machine after each effect, so each moment at which the power
//! could go costs a copy and no new run. What a cut may leave is enumerated ([`crate::survive`]),
//! equal disks are looked at once, and each is booted, recovered, judged, and must take the next
//! good release.

mod drive;
mod explore;
mod history;
mod judge;
mod report;

pub use drive::{Driver, RESTARTS_MAX, drive};
pub use explore::{Budget, explore, rules_broken, run_uncut};
pub use history::{History, NextGood, Step};
pub use judge::Baseline;
pub use report::{ASSUMPTIONS, Figures, Finding, foot, head, line};
