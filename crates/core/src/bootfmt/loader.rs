//! What systemd-boot does with the entries that it finds, as a pure model.
//!
//! The machine in files and the simulator boot by it, and recovery compares what it predicts with
//! what a real loader did. It follows `src/boot/` of systemd 252: entries whose tries are used up
//! last, then sort key, machine id, version (newest first), name; the counter is moved by a rename
//! before the image starts, and a rename that fails does not stop the start.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::entry::EntryName;

/// One entry, with what the loader reads out of its `.osrel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderEntry {
    /// File name.
    pub name: EntryName,
    /// `IMAGE_ID`, else `ID`; empty where there is none.
    pub sort_key: String,
    /// `IMAGE_VERSION`, else `VERSION_ID`; empty where there is none.
    pub version: String,
}

/// Known faults of bootloaders and firmware, switched on one by one in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// Counters are not moved at all (systemd 259, issue 40405).
    NoCounting,
    /// Entries without tries left are sorted like any other (issue 40192).
    BootsExhausted,
    /// Each start costs two tries.
    CountsTwice,
    /// A rename leaves the old name behind, so that one entry has two (torn FAT directory).
    DuplicateNames,
    /// The ESP refuses renames (issue 36170).
    ReadOnlyEsp,
    /// The one-shot variable is ignored, as where firmware lost it.
    ForgetsOneShot,
}

/// Everything that the choice depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderState {
    /// Entries in the directory, in any order.
    pub entries: Vec<LoaderEntry>,
    /// `LoaderEntryDefault`: the pin. A file name or a glob with `*` and `?`.
    pub default: Option<String>,
    /// `LoaderEntryOneShot`: holds for this start only.
    pub one_shot: Option<String>,
    /// Faults to reproduce.
    pub quirks: Vec<Quirk>,
}

/// What the loader did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// File name of the entry as it was found.
    pub entry: String,
    /// What it was renamed to before it started.
    pub renamed_to: Option<String>,
    /// The old name still exists beside the new one (only with [`Quirk::DuplicateNames`]).
    pub old_name_stays: bool,
    /// The one-shot request was used for this choice. It is gone after any start.
    pub by_one_shot: bool,
}

/// Chooses the entry and says what the loader renames. Nothing if there is no entry at all: the
/// loader then returns to the firmware.
#[must_use]
pub fn choose(state: &LoaderState) -> Option<Choice> {
    let sorted = menu(state);
    let one_shot = if state.has(Quirk::ForgetsOneShot) {
        None
    } else {
        state.one_shot.as_deref()
    };
    let find = |pattern: Option<&str>| {
        let pattern = pattern?;
        sorted
            .iter()
            .find(|entry| matches(pattern, entry.name.file_name()))
            .copied()
    };
    let requested = find(one_shot);
    let entry = requested
        .or_else(|| find(state.default.as_deref()))
        .or_else(|| sorted.first().copied())?;
    let renamed_to = rename(state, entry);
    Some(Choice {
        entry: entry.name.file_name().to_string(),
        old_name_stays: renamed_to.is_some() && state.has(Quirk::DuplicateNames),
        renamed_to,
        by_one_shot: requested.is_some(),
    })
}

/// The entries in menu order, the one that boots by itself first.
#[must_use]
pub fn menu(state: &LoaderState) -> Vec<&LoaderEntry> {
    let mut sorted: Vec<&LoaderEntry> = state.entries.iter().collect();
    let ignore_exhausted = state.has(Quirk::BootsExhausted);
    sorted.sort_by(|a, b| {
        let exhausted = |e: &LoaderEntry| !ignore_exhausted && e.name.is_exhausted();
        exhausted(a).cmp(&exhausted(b)).then_with(|| order(a, b))
    });
    sorted
}

/// The order among entries that are equally usable. UKIs carry no machine id, so that step of the
/// loader's comparison never decides.
fn order(a: &LoaderEntry, b: &LoaderEntry) -> Ordering {
    let keyed = a.sort_key.is_empty().cmp(&b.sort_key.is_empty());
    let by_key = || match a.sort_key.is_empty() {
        true => Ordering::Equal,
        false => a
            .sort_key
            .cmp(&b.sort_key)
            .then_with(|| newest_first(&a.version, &b.version)),
    };
    keyed
        .then_with(by_key)
        .then_with(|| newest_first(a.name.file_name(), b.name.file_name()))
        .then_with(|| by_tries(a, b))
}

fn newest_first(a: &str, b: &str) -> Ordering {
    twinroot_trust::version::compare(b, a)
}

/// More tries left first, then the one that was tried less; uncounted entries do not take part.
fn by_tries(a: &LoaderEntry, b: &LoaderEntry) -> Ordering {
    match (a.name.tries(), b.name.tries()) {
        (Some(a), Some(b)) => b.left.cmp(&a.left).then(a.done.cmp(&b.done)),
        _ => Ordering::Equal,
    }
}

/// The new name, if the loader counts this entry and the rename works.
fn rename(state: &LoaderState, entry: &LoaderEntry) -> Option<String> {
    if state.has(Quirk::NoCounting) || state.has(Quirk::ReadOnlyEsp) {
        return None;
    }
    let mut next = entry.name.count_down()?;
    if state.has(Quirk::CountsTwice) {
        next = next.count_down().unwrap_or(next);
    }
    // UEFI refuses a rename onto a name that exists; the loader starts the image all the same.
    let taken = state
        .entries
        .iter()
        .any(|other| other.name.file_name() == next.file_name());
    (!taken).then(|| next.file_name().to_string())
}

impl LoaderState {
    fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

/// Glob match without regard to case, with `*` and `?`, as the loader matches entry ids.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Position after the last `*`, and how far the name was when it was met: on a mismatch the star
    // takes one more character. Linear in memory, at worst quadratic in time on names of 255 bytes.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(c) if *c == b'?' || c.eq_ignore_ascii_case(&name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((after, met)) => {
                    star = Some((after, met + 1));
                    (p, n) = (after, met + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests;
