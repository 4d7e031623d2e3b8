//! The loop: an event comes in, `core` decides, the decision is written down, then carried out.
//!
//! Reason to exist: one place, and only one, acts on a machine. [`Agent`] holds the state, the
//! records and the ports; [`perform`] carries out effects and answers with events.
//!
//! Layer: above `ports`; below the programs. It knows no adapter: the real machine, the machine in
//! files and the simulator are driven by the same code.
//!
//! Must never: decide (that is `core::update`), read a clock or a file but through a port, or go on
//! with the effects of a step after one of them has failed.

mod agent;
pub mod api;
pub mod daemon;
pub mod history;
mod observe;
mod observer;
mod options;
pub mod perform;
mod recorder;
pub mod report;
pub mod reports;
pub mod request;

pub use agent::Agent;
pub use observer::{Observer, Progress, Quiet, Totals};
pub use options::Options;
pub use recorder::{RECORDS, STATE};
