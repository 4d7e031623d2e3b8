//! What every implementation of a port must keep, written once beside the traits: the adapters of
//! `host` and the simulator run the same functions. Each function panics with the promise that was
//! broken, like any test.

pub mod bootloader;
pub mod disk;
pub mod facts;
pub mod fetch;
pub mod gate;
pub mod store;
