//! The command server inside a test machine's guest, and the words it shares with the host.
//!
//! Reason to exist: the scenarios look at the guest from outside `twinroot`, so they need a way in
//! that does not depend on it, on a network or on a shell. A package of its own, since it goes into the
//! `test` variant of the image and must be small to build. Layer: beside `vm-tests`, which alone
//! uses it. It must never be part of what ships: it gives whoever holds the port all of root's power.

pub mod wire;
