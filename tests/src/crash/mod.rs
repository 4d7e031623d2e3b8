//! The crash matrix with everything real in it: the loop of `agent`, repositories made and signed by
//! `publish`, the simulated machine of `sim`.

pub mod histories;
pub mod node;
pub mod releases;
