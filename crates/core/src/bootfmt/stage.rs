//! The stage mark: how far a start came, kept where the next system can read it.
//!
//! A trial that dies leaves no journal behind if it dies before `/var` is there. So the initramfs,
//! and later the agent, write each stage they reach into one preallocated file on the ESP, in place
//! (see [`super::twin`]). The survivor reads how far the other root came and puts it into the reason
//! of the denial.
//!
//! The content of one copy: two marks of 240 bytes, the newest first.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 32 | root hash; zero where there is no mark |
//! | 32 | 16 | the kernel's id of that boot |
//! | 48 | 1 | stage |
//! | 49 | 1 | length of the text |
//! | 50 | 190 | what failed there, UTF-8, zero padded |

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;

use super::twin;
pub use super::twin::{COPY, FILE, Write};
use crate::layout::Guid;

/// Its place on the ESP.
pub const PATH: &str = "twinroot/stage";

const MAGIC: &[u8; 8] = b"TWRSTG01";
const MARK: usize = 240;
const BOOT_AT: usize = 32;
const STAGE_AT: usize = 48;
const LENGTH_AT: usize = 49;
const TEXT_AT: usize = 50;
const TEXT_MAX: usize = MARK - TEXT_AT;

/// How far a start came. Later stages are larger; numbers are an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The kernel runs and has started the initramfs.
    Kernel = 1,
    /// Its drivers are loaded.
    Modules = 2,
    /// The disk it was booted from is found.
    Disk = 3,
    /// dm-verity covers the root.
    Verity = 4,
    /// The root file system is mounted.
    Root = 5,
    /// The state partition is mounted, `/etc` is in place.
    State = 6,
    /// Control went to the system's own service manager.
    SwitchRoot = 7,
    /// The service manager has mounted what is local and starts units.
    Userspace = 8,
    /// The agent runs.
    Agent = 9,
    /// Health was seen.
    Healthy = 10,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 10] = [
        Stage::Kernel,
        Stage::Modules,
        Stage::Disk,
        Stage::Verity,
        Stage::Root,
        Stage::State,
        Stage::SwitchRoot,
        Stage::Userspace,
        Stage::Agent,
        Stage::Healthy,
    ];

    /// The word used in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Kernel => "kernel",
            Stage::Modules => "modules",
            Stage::Disk => "disk",
            Stage::Verity => "verity",
            Stage::Root => "root",
            Stage::State => "state",
            Stage::SwitchRoot => "switch-root",
            Stage::Userspace => "userspace",
            Stage::Agent => "agent",
            Stage::Healthy => "healthy",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage as u8 == number)
    }
}

/// How far the last start of one root came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The root.
    pub root: Digest,
    /// The kernel's id of that boot.
    pub boot: [u8; 16],
    /// The furthest stage.
    pub stage: Stage,
    /// What failed on the way to the next one; empty where nobody could say.
    pub failed: String,
}

/// Marks of the last two roots that were started, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageRecord {
    marks: Vec<Mark>,
}

impl StageRecord {
    /// Reads the file, whatever is in it; damage reads as 'nothing is known'.
    #[must_use]
    pub fn read(file: &[u8]) -> Self {
        let marks = |bytes: &[u8; COPY]| {
            let content = &bytes[twin::CONTENT];
            content.chunks_exact(MARK).filter_map(decode).collect()
        };
        Self {
            marks: twin::newest(file, MAGIC).map_or_else(Vec::new, |(_, bytes)| marks(bytes)),
        }
    }

    /// The next copy to write into a file that holds `file` now.
    #[must_use]
    pub fn write(&self, file: &[u8]) -> Write {
        let mut bytes = [0; COPY];
        let content = &mut bytes[twin::CONTENT];
        for (mark, place) in self.marks.iter().zip(content.chunks_exact_mut(MARK)) {
            encode(mark, place);
        }
        twin::next(file, MAGIC, bytes)
    }

    /// Every mark, the newest first.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The mark of a root.
    #[must_use]
    pub fn of(&self, root: &Digest) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.root == *root)
    }

    /// A boot of `root` has come to `stage`. A boot that is known to have come further stays there.
    #[must_use]
    pub fn reached(self, root: &Digest, boot: [u8; 16], stage: Stage) -> Self {
        self.changed(root, boot, stage, "")
    }

    /// A boot of `root` failed after `stage`; `cause` is cut to what fits.
    #[must_use]
    pub fn failed(self, root: &Digest, boot: [u8; 16], stage: Stage, cause: &str) -> Self {
        self.changed(root, boot, stage, cause)
    }

    fn changed(mut self, root: &Digest, boot: [u8; 16], stage: Stage, cause: &str) -> Self {
        let before = self.of(root).filter(|mark| mark.boot == boot).cloned();
        let mark = Mark {
            root: *root,
            boot,
            stage: before.map_or(stage, |mark| mark.stage.max(stage)),
            failed: cut(cause).to_string(),
        };
        self.marks.retain(|other| other.root != *root);
        self.marks.insert(0, mark);
        // Two slots hold two roots: with a third one, the oldest was written over.
        self.marks.truncate(2);
        self
    }
}

/// The kernel's id of a boot, from its text form; zeros where that is none.
#[must_use]
pub fn boot_id(text: &str) -> [u8; 16] {
    text.trim()
        .parse::<Guid>()
        .map_or([0; 16], |id| *id.as_bytes())
}

/// The longest beginning that fits and ends between two characters.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(TEXT_MAX))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn encode(mark: &Mark, place: &mut [u8]) {
    let text = cut(&mark.failed).as_bytes();
    place[..BOOT_AT].copy_from_slice(mark.root.as_bytes());
    place[BOOT_AT..STAGE_AT].copy_from_slice(&mark.boot);
    place[STAGE_AT] = mark.stage as u8;
    place[LENGTH_AT] = text.len() as u8; // at most TEXT_MAX
    place[TEXT_AT..TEXT_AT + text.len()].copy_from_slice(text);
}

fn decode(place: &[u8]) -> Option<Mark> {
    let root: [u8; 32] = place[..BOOT_AT].try_into().ok()?;
    let text = place[TEXT_AT..].get(..usize::from(place[LENGTH_AT]))?;
    (root != [0; 32]).then_some(Mark {
        root: Digest::from_bytes(root),
        boot: place[BOOT_AT..STAGE_AT].try_into().ok()?,
        stage: Stage::from_number(place[STAGE_AT])?,
        failed: String::from_utf8_lossy(text).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn root(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn put(file: &mut [u8], record: &StageRecord) {
        let write = record.write(file);
        file[write.offset..write.offset + COPY].copy_from_slice(&write.bytes);
    }

    #[test]
    fn the_survivor_reads_how_far_the_other_root_came() {
        let mut file = vec![0; FILE];
        let trial = StageRecord::read(&file)
            .reached(&root(2), [7; 16], Stage::Disk)
            .failed(&root(2), [7; 16], Stage::Verity, "no such device");
        put(&mut file, &trial);
        let survivor = StageRecord::read(&file).reached(&root(1), [8; 16], Stage::Agent);
        put(&mut file, &survivor);
        let read = StageRecord::read(&file);
        let mark = read.of(&root(2)).unwrap();
        assert_eq!(
            (mark.stage, mark.failed.as_str()),
            (Stage::Verity, "no such device")
        );
        assert_eq!(read.of(&root(1)).unwrap().stage, Stage::Agent);
    }

    #[test]
    fn a_stage_never_goes_back_within_a_boot_and_starts_anew_with_the_next() {
        let at = |record: &StageRecord| record.of(&root(1)).unwrap().stage;
        let record = StageRecord::default().reached(&root(1), [1; 16], Stage::State);
        let record = record.reached(&root(1), [1; 16], Stage::Disk);
        assert_eq!(at(&record), Stage::State);
        let record = record.reached(&root(1), [2; 16], Stage::Disk);
        assert_eq!(at(&record), Stage::Disk);
    }

    #[test]
    fn every_stage_has_a_number_of_its_own_and_is_read_back() {
        for stage in Stage::ALL {
            let mut file = vec![0xFF; FILE];
            put(
                &mut file,
                &StageRecord::default().reached(&root(1), [0; 16], stage),
            );
            assert_eq!(StageRecord::read(&file).of(&root(1)).unwrap().stage, stage);
        }
    }

    #[test]
    fn a_long_cause_is_cut_between_two_characters() {
        let long = "ä".repeat(300);
        let record = StageRecord::default().failed(&root(1), [0; 16], Stage::Disk, &long);
        let mut file = vec![0; FILE];
        put(&mut file, &record);
        let kept = &StageRecord::read(&file)
            .of(&root(1))
            .unwrap()
            .failed
            .clone();
        assert!(long.starts_with(kept.as_str()) && kept.len() >= TEXT_MAX - 3);
    }

    proptest! {
        /// Whatever a torn write leaves of the older copy, the newest whole one is read.
        #[test]
        fn a_torn_write_loses_at_most_the_newest_mark(cut_at in 0..COPY) {
            let mut file = vec![0; FILE];
            put(&mut file, &StageRecord::default().reached(&root(1), [1; 16], Stage::Disk));
            let before = StageRecord::read(&file);
            let after = before.clone().reached(&root(1), [1; 16], Stage::Healthy);
            let write = after.write(&file);
            file[write.offset..write.offset + cut_at].copy_from_slice(&write.bytes[..cut_at]);
            let read = StageRecord::read(&file);
            prop_assert!(read == before || read == after);
        }
    }
}
