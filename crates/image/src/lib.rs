//! Builds an image of the operating system: packages and overlays in, root image, hash tree, UKI and
//! disk out.
//!
//! Layer: a program of the build side, beside `publish` and never on a node. It knows the pure rooms
//! and `host`, whose provisioning it shares with the machine in files.
//!
//! It must never: read the clock into an output, name an archive host, take a missing tool, file or
//! reason for 'fine', or put anything into an image that neither a package nor an overlay with a
//! reason accounts for.

pub mod base;
pub mod boot;
pub mod build;
pub mod check;
pub mod content;
pub mod cpio;
pub mod diff;
pub mod disk;
pub mod export;
pub mod files;
pub mod initramfs;
pub mod install;
pub mod modules;
pub mod output;
pub mod pcr;
pub mod recipe;
pub mod sbom;
pub mod secure_boot;
pub mod slot;
pub mod span;
pub mod tool;
pub mod tree;

/// What a step of the build gives, or why it could not.
pub type Outcome<T> = Result<T, twinroot_core::error::Failure>;
