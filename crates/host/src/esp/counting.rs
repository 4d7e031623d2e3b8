//! Does this loader count? Evidence, since there are loaders that do not (systemd issues 40405,
//! 40192, 36170), and a trial under such a loader would never end by itself.
//!
//! Armed with N tries, an entry that runs must show fewer than N left. That is looked at in the boot
//! of the entry, before it is blessed; the answer is kept for as long as the loader says that it is
//! the same loader.

use serde::{Deserialize, Serialize};
use twinroot_core::error::{Code, Failure};
use twinroot_core::facts::{Counting, EntryObserved};
use twinroot_ports::{Outcome, Store};

/// Where the evidence is kept.
const RECORD: &str = "loader-counting.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Evidence {
    /// The loader it is about.
    loader: String,
    /// What was seen.
    counting: Counting,
}

/// Judges by the entry that was booted, if it is still counted, else by what was seen before.
///
/// # Errors
/// A store that cannot be read or written.
pub(super) fn judge(
    notes: &dyn Store,
    loader: &str,
    booted: Option<&EntryObserved>,
) -> Outcome<Counting> {
    let before = read(notes)?.filter(|evidence| evidence.loader == loader);
    let seen = booted
        .and_then(|entry| entry.tries)
        .map(|tries| match tries.done {
            // It runs, and no start of it was counted.
            0 => Counting::Broken,
            _ => Counting::Proven,
        });
    let Some(seen) = seen else {
        return Ok(before.map_or(Counting::Unproven, |evidence| evidence.counting));
    };
    let evidence = Evidence {
        loader: loader.to_owned(),
        counting: seen,
    };
    if before.as_ref() != Some(&evidence) {
        let bytes = serde_json::to_vec(&evidence)
            .map_err(|error| Failure::new(Code::Internal, RECORD, error.to_string()))?;
        notes.write(RECORD, &bytes)?;
    }
    Ok(seen)
}

/// A damaged record is no evidence.
fn read(notes: &dyn Store) -> Outcome<Option<Evidence>> {
    Ok(notes
        .read(RECORD)?
        .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}
