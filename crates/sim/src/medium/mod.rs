//! The media of a machine, each with what it may lose when the power goes.

pub mod fat;
pub mod journal;
pub mod sectors;
pub mod variables;
