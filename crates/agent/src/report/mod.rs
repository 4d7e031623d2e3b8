//! What an update tells people and programs: status, why, check, plan, verify. Reads and computes;
//! never acts on slots or bootloader, and never decides: every word is made from the state, the
//! records and the facts that the loop holds.

mod check;
mod contents;
mod last;
mod plan;
mod status;
mod verify;
mod why;

pub use check::check;
pub use last::{LastLook, last_look, remember, remember_failure};
pub use plan::plan;
pub use status::status;
pub use verify::verify;
pub use why::why;

use twinroot_core::update::{Candidate, SavedRelease};
use twinroot_core::wire::ReleaseRef;

/// A release by its names, from what is written down.
fn saved(release: &SavedRelease) -> ReleaseRef {
    ReleaseRef {
        version: release.version.to_string(),
        // Known from the boot entry alone (a wiped `/var`): then its own digest stands in for the
        // manifest's, which nobody here has seen.
        manifest: (release.id != release.uki).then_some(release.id),
        root_hash: Some(release.root_hash),
    }
}

/// A release by its names, from its verified manifest.
fn candidate(release: &Candidate) -> ReleaseRef {
    saved(&release.saved())
}
