//! The attempt record: how a committed slot that goes bad weeks later is left.
//!
//! The loader does not count a blessed entry any more, so the initramfs counts its starts itself, in
//! one preallocated file on the ESP, until the agent has seen health. Two copies of 512 bytes (the
//! largest unit that a sector write can tear) are overwritten in place, the older one each time, so
//! that one whole record is always there.
//!
//! One copy, little endian:
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | magic `TWRATT01` |
//! | 8 | 8 | sequence, from 1; the higher of two whole copies counts |
//! | 16 | 80 | two counters of 40: root hash (32), starts without health (1), left (1), zero (6) |
//! | 96 | 32 | root hash that may be started instead; zero where there is none |
//! | 128 | 2 | length of its entry name |
//! | 130 | 255 | its entry name, ASCII, zero padded |
//! | 385 | 123 | zero |
//! | 508 | 4 | CRC-32 (ISO-HDLC) of bytes 0..508 |
//!
//! **Who writes what.** The initramfs only counts, and marks that it left a slot. The agent alone
//! names the root that may be started instead, and only one that is proven, not denied and not
//! below the floor; where it names none there is no way for the initramfs to go anywhere else.
//!
//! **A person who switches power.** A start that was cut by hand looks like a crash. So a start
//! counts for one root hash only; an orderly shutdown takes its start back
//! ([`AttemptRecord::take_back`]); and what three starts without health lead to is harmless: one
//! start, by one-shot, of another system that is known to be good. The default stays, nothing is
//! denied by the count alone, and when the agent sees health it starts again from nothing.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;

use super::entry::EntryName;
use super::twin;
pub use super::twin::{COPY, FILE, Write};

/// Starts without health after which a committed slot is left. As many as a trial gets by default:
/// one may be a hand on the power switch, two a flickering supply.
pub const STARTS_ALLOWED: u8 = 3;

/// Its place on the ESP.
pub const PATH: &str = "loader/twinroot.attempts";

const MAGIC: &[u8; 8] = b"TWRATT01";
const COUNTERS_AT: usize = 16;
const COUNTER: usize = 40;
const FALLBACK_AT: usize = 96;
const NAME_AT: usize = 130;
const NAME_MAX: usize = 255;

/// Starts of one root since health was last seen on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starts {
    /// The root that was started.
    pub root: Digest,
    /// How often.
    pub count: u8,
    /// It was left for the other slot.
    pub left: bool,
}

/// Where the initramfs may go instead, as the agent has allowed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Root hash of the system that is known to be good.
    pub root: Digest,
    /// File name of its boot entry.
    pub entry: EntryName,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttemptRecord {
    /// Rises by one with each write; 0 means 'never written'.
    pub sequence: u64,
    /// One counter a root, two at the most, since there are two slots.
    pub starts: Vec<Starts>,
    /// Where to go instead.
    pub allowed: Option<Allowed>,
}

impl AttemptRecord {
    /// Reads the file, whatever is in it: the newest whole copy, or the empty record where neither
    /// copy is whole (new, torn, short, all zeros or all ones). An empty record allows no other
    /// slot, so that damage can only keep the node where it is.
    #[must_use]
    pub fn read(file: &[u8]) -> Self {
        twin::newest(file, MAGIC)
            .map(|(sequence, bytes)| Self::decode(sequence, bytes))
            .unwrap_or_default()
    }

    /// The next copy to write into a file that holds `file` now. It overwrites the copy that is not
    /// whole, else the older one: the newest whole copy is never touched.
    #[must_use]
    pub fn write(&self, file: &[u8]) -> Write {
        twin::next(file, MAGIC, self.encode())
    }

    /// Starts without health of `root`.
    #[must_use]
    pub fn starts_of(&self, root: &Digest) -> u8 {
        self.starts
            .iter()
            .find(|starts| starts.root == *root)
            .map_or(0, |starts| starts.count)
    }

    /// The root that the initramfs has left because it went bad, if it has.
    #[must_use]
    pub fn abandoned(&self) -> Option<Digest> {
        self.starts
            .iter()
            .find(|starts| starts.left)
            .map(|starts| starts.root)
    }

    /// The agent has seen health on `root`: its count is gone. What is known of the other slot
    /// stays, so that the agent can repair it.
    #[must_use]
    pub fn healthy(mut self, root: &Digest) -> Self {
        self.starts.retain(|starts| starts.root != *root);
        self
    }

    /// The agent has repaired or replaced whatever was bad: no counts at all.
    #[must_use]
    pub fn cleared(mut self) -> Self {
        self.starts.clear();
        self
    }

    /// An orderly shutdown before health was seen: this start says nothing about the system.
    #[must_use]
    pub fn take_back(mut self, root: &Digest) -> Self {
        for starts in self.starts.iter_mut().filter(|starts| starts.root == *root) {
            starts.count = starts.count.saturating_sub(1);
        }
        self
    }

    /// The agent names where the initramfs may go instead.
    #[must_use]
    pub fn allowing(mut self, allowed: Option<Allowed>) -> Self {
        self.allowed = allowed;
        self
    }

    fn counted(mut self, root: &Digest) -> Self {
        if let Some(starts) = self.starts.iter_mut().find(|starts| starts.root == *root) {
            starts.count = starts.count.saturating_add(1);
            return self;
        }
        if self.starts.len() == 2 {
            // Two slots hold two roots, so a third root means that one was written over. The one
            // that may be started instead is still there; the other one is gone.
            let kept = self.allowed.as_ref().map(|allowed| allowed.root);
            let gone = self
                .starts
                .iter()
                .position(|s| Some(s.root) != kept)
                .unwrap_or(0);
            self.starts.remove(gone);
        }
        self.starts.push(Starts {
            root: *root,
            count: 1,
            left: false,
        });
        self
    }

    fn leaving(mut self, root: &Digest) -> Self {
        match self.starts.iter_mut().find(|starts| starts.root == *root) {
            Some(starts) => starts.left = true,
            None => {
                self = self.counted(root).leaving(root);
            }
        }
        self
    }

    fn encode(&self) -> [u8; COPY] {
        let mut bytes = [0; COPY];
        for (n, starts) in self.starts.iter().take(2).enumerate() {
            let at = COUNTERS_AT + n * COUNTER;
            bytes[at..at + 32].copy_from_slice(starts.root.as_bytes());
            bytes[at + 32] = starts.count;
            bytes[at + 33] = u8::from(starts.left);
        }
        if let Some(allowed) = &self.allowed {
            let name = allowed.entry.file_name().as_bytes();
            bytes[FALLBACK_AT..FALLBACK_AT + 32].copy_from_slice(allowed.root.as_bytes());
            bytes[FALLBACK_AT + 32] = name.len() as u8; // EntryName is at most 255 bytes
            bytes[NAME_AT..NAME_AT + name.len()].copy_from_slice(name);
        }
        bytes
    }

    fn decode(sequence: u64, bytes: &[u8; COPY]) -> Self {
        let starts = (0..2).filter_map(|n| {
            let at = COUNTERS_AT + n * COUNTER;
            let root = root_at(bytes, at)?;
            Some(Starts {
                root,
                count: bytes[at + 32],
                left: bytes[at + 33] == 1,
            })
        });
        Self {
            sequence,
            starts: starts.collect(),
            allowed: allowed(bytes),
        }
    }
}

/// A root hash, nothing where the field is empty.
fn root_at(bytes: &[u8; COPY], at: usize) -> Option<Digest> {
    let root: [u8; 32] = bytes[at..at + 32].try_into().ok()?;
    (root != [0; 32]).then(|| Digest::from_bytes(root))
}

fn allowed(bytes: &[u8; COPY]) -> Option<Allowed> {
    let length = usize::from(u16::from_le_bytes([bytes[128], bytes[129]]));
    let name = bytes
        .get(NAME_AT..NAME_AT + length)
        .filter(|_| length <= NAME_MAX)?;
    let entry = EntryName::parse(core::str::from_utf8(name).ok()?).ok()?;
    Some(Allowed {
        root: root_at(bytes, FALLBACK_AT)?,
        entry,
    })
}

/// What the initramfs sees when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start<'a> {
    /// The root hash on the signed command line.
    pub root: &'a Digest,
    /// A slot of the disk it was booted from holds that root.
    pub on_disk: bool,
    /// The loader counts this entry: a trial, which the loader ends by itself.
    pub counted: bool,
    /// A slot of that disk holds the root that may be started instead.
    pub allowed_on_disk: bool,
    /// The last start of this root came as far as its agent, or nobody knows: what fails is the workload,
    /// and a system that is up can report itself.
    pub came_up: bool,
}

/// What the initramfs does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// Goes on with this root.
    Start,
    /// Goes on, though the root has failed too often: there is nowhere better to go. A system that
    /// is up can report itself and be repaired; one that is halted cannot.
    StartDegraded,
    /// Asks the loader for this entry, once, and restarts.
    OtherSlotOnce {
        /// File name of the entry.
        entry: String,
    },
    /// Stops: there is nothing that can be started.
    Halt {
        /// Why, for the console.
        reason: String,
    },
}

/// Decides about a start. The record that comes with it is to be written, and flushed, before
/// anything else happens; nothing comes where nothing changes.
#[must_use]
pub fn decide(record: &AttemptRecord, start: &Start<'_>) -> (Next, Option<AttemptRecord>) {
    let elsewhere = record.allowed.as_ref().filter(|allowed| {
        let tired = record.starts_of(&allowed.root) >= STARTS_ALLOWED;
        start.allowed_on_disk && allowed.root != *start.root && !tired
    });
    let leave = |allowed: &Allowed| {
        let entry = allowed.entry.file_name().to_string();
        (
            Next::OtherSlotOnce { entry },
            Some(record.clone().leaving(start.root)),
        )
    };
    if start.counted {
        // The loader moves on by itself when the tries are used up, and a trial says nothing about
        // committed systems.
        return match start.on_disk {
            true => (Next::Start, None),
            false => halt(start.root),
        };
    }
    if !start.on_disk {
        return elsewhere.map_or_else(|| halt(start.root), leave);
    }
    if record.starts_of(start.root) < STARTS_ALLOWED {
        return (Next::Start, Some(record.clone().counted(start.root)));
    }
    match elsewhere {
        Some(allowed) => leave(allowed),
        None if start.came_up => (Next::StartDegraded, None),
        None => give_up(record, start.root),
    }
}

/// The root cannot be read as far as its agent, and there is no other: to start it again and again would end
/// the same way, unseen. One start is taken back, so that whoever switches the machine on again gets one.
fn give_up(record: &AttemptRecord, root: &Digest) -> (Next, Option<AttemptRecord>) {
    let reason = alloc::format!(
        "the root {root} was started {} times without coming up, and no other slot is known to be good",
        record.starts_of(root)
    );
    (Next::Halt { reason }, Some(record.clone().take_back(root)))
}

fn halt(root: &Digest) -> (Next, Option<AttemptRecord>) {
    let reason = alloc::format!("no slot of this disk holds the root {root}");
    (Next::Halt { reason }, None)
}

#[cfg(test)]
mod tests;
