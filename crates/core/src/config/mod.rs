//! Configuration: from texts to truth in three types.
//!
//! A [`fragment::Fragment`] is what stands in one file: everything optional, unknown keys refused.
//! Fragments are laid over each other, and [`Settings`] is what comes out: nothing optional that
//! need not be, durations and sizes instead of texts, and for every value the file it came from.
//!
//! Files lie in `config.d` below `/usr/lib/twinroot`, `/run/twinroot` and `/etc/twinroot`. A later
//! layer wins over an earlier one, and within a layer a later name over an earlier one. A file
//! replaces the whole file of the same name in the layers before it, so that one that the image
//! ships can be switched off by an empty one.

mod fragment;
mod merge;
mod reboot;
mod settings;

use alloc::string::String;
use core::ops::Range;

pub use merge::{Origin, Origins, read};
pub use reboot::{Fleetlock, Reboot};
pub use settings::{
    Api, Health, Identity, Metrics, Polling, Report, Repository, Settings, Strategy, Trust, Update,
};

/// Where a file lies; later layers win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// `/usr/lib/twinroot/config.d`: part of the image, under dm-verity.
    Image,
    /// `/run/twinroot/config.d`: until the next reboot.
    Run,
    /// `/etc/twinroot/config.d`: what the node's operator decides.
    Etc,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it lies.
    pub layer: Layer,
    /// Its path, for messages; what follows the last `/` is its name.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The line, from 1, on which a span of a TOML error begins.
pub(crate) fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start).min(text.len());
    text.as_bytes()[..start]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests;
