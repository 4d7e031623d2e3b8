//! What a start that died has left: its stage mark on the ESP, the end of its kernel log where the
//! firmware kept that over the restart (efi-pstore), and the end of its journal where that reached `/var`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use twinroot_core::bootfmt::stage::{Mark, Stage};
use twinroot_core::facts::{Remains, SystemObserved};
use twinroot_core::text::tail;
use twinroot_trust::digest::Digest;

use super::Volume;
use super::stage;
use crate::logbook::{self, BootId};

/// How much of a kernel log is looked at: what the kernel keeps of one by default (`kmsg_bytes`), with
/// some to spare.
const LOG: usize = 16 * 1024;
/// How much of each log is kept.
const KEPT: usize = 4 * 1024;

/// Where the kernel shows the logs that were kept, and where systemd-pstore(8) moves them.
const LOGS: [&str; 2] = ["/sys/fs/pstore", "/var/lib/systemd/pstore"];

/// Where to look.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Folders with kernel logs.
    logs: Vec<PathBuf>,
    /// The folder of the journal.
    journal: Option<PathBuf>,
    /// Ends of journals by boot: what a boot that is over has logged does not change any more.
    read: Mutex<BTreeMap<BootId, String>>,
}

impl Places {
    /// Those of a host.
    pub(super) fn of_host() -> Self {
        Self {
            logs: LOGS.map(PathBuf::from).to_vec(),
            journal: Some(PathBuf::from(logbook::FOLDER)),
            read: Mutex::default(),
        }
    }

    /// Of every root but the running one that did not come to health. What cannot be read has left
    /// nothing: this is for the reason of a denial, and no reason to refuse anything.
    pub(super) fn find(&self, volume: &Volume, system: &SystemObserved) -> Vec<Remains> {
        let Ok(record) = stage::read(volume) else {
            return Vec::new();
        };
        let died = record
            .marks()
            .iter()
            .filter(|mark| mark.root != system.root_hash && mark.stage < Stage::Healthy);
        died.map(|mark| Remains {
            root_hash: mark.root,
            stage: mark.stage,
            failed: mark.failed.clone(),
            console: console_of(&mark.root, &self.logs),
            journal: self.journal_of(mark),
        })
        .collect()
    }

    fn journal_of(&self, mark: &Mark) -> String {
        let Some(folder) = &self.journal else {
            return String::new();
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.entry(mark.boot)
            .or_insert_with(|| logbook::last_words(folder, mark.boot, KEPT))
            .clone()
    }
}

/// The end of the kept log of a start of `root`; empty where there is none.
fn console_of(root: &Digest, folders: &[PathBuf]) -> String {
    let name = root.to_string();
    let mut logs = folders.iter().filter_map(|folder| newest_log(folder));
    let log = logs.find(|text| text.contains(&name));
    log.map_or_else(String::new, |text| tail(&text, KEPT).to_owned())
}

/// The parts of the newest kept log of a folder and of the folders in it, in order.
fn newest_log(folder: &Path) -> Option<String> {
    let mut parts: Vec<(SystemTime, u32, String)> = Vec::new();
    collect(folder, 2, &mut parts);
    let newest = parts.iter().map(|(at, _, _)| *at).max()?;
    // Part 1 is the end of the log. The parts of one panic were written within moments.
    parts.retain(|(at, _, _)| {
        newest
            .duration_since(*at)
            .is_ok_and(|age| age.as_secs() < 60)
    });
    parts.sort_by_key(|(_, part, _)| std::cmp::Reverse(*part));
    let text: String = parts.into_iter().map(|(_, _, text)| text).collect();
    Some(tail(&text, LOG).to_owned())
}

fn collect(folder: &Path, depth: u32, parts: &mut Vec<(SystemTime, u32, String)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && depth > 0 {
            collect(&path, depth - 1, parts);
        }
        let named = entry.file_name().to_string_lossy().starts_with("dmesg-");
        if !meta.is_file() || !named || meta.len() > LOG as u64 {
            continue;
        }
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // "Panic#1 Part3" stands in the first line.
        let part = text
            .lines()
            .next()
            .and_then(|line| line.rsplit_once("Part")?.1.trim().parse().ok());
        let body = text.split_once('\n').map_or("", |(_, body)| body);
        parts.push((
            meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            part.unwrap_or(0),
            body.to_owned(),
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use twinroot_core::layout::Guid;
    use twinroot_core::slot::SlotName;
    use twinroot_ports::contract::facts::system_running;

    use super::*;

    #[test]
    fn the_kept_log_of_the_dead_root_is_put_together_from_its_parts() {
        let home = tempfile::tempdir().unwrap();
        let (dead, other) = (Digest::of(b"dead"), Digest::of(b"other"));
        let begins = format!("Panic#1 Part2\n[1.0] looking for the root {dead}\n");
        for (name, text) in [
            ("dmesg-efi_pstore-2", begins.as_str()),
            ("dmesg-efi_pstore-1", "Panic#1 Part1\n[2.0] it died here\n"),
            ("console-ramoops-0", "of another kind\n"),
        ] {
            let mut file = std::fs::File::create(home.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let folders = [home.path().to_owned(), home.path().join("none")];
        let kept = console_of(&dead, &folders);
        assert_eq!(
            kept,
            format!("[1.0] looking for the root {dead}\n[2.0] it died here\n")
        );
        assert_eq!(console_of(&other, &folders), "", "another root's log");
    }
    #[test]
    fn the_journal_of_the_boot_that_the_mark_names_is_read() {
        let home = tempfile::tempdir().unwrap();
        let volume = Volume::open(home.path(), None).unwrap();
        let mut died = system_running(SlotName::B, Digest::of(b"dead"));
        died.boot_id = Guid::from_bytes(logbook::tests::DEAD).to_string();
        stage::reached(&volume, &died, Stage::Agent).unwrap();
        let journal = logbook::tests::journal("compact");
        let places = Places {
            journal: Some(journal.path().to_owned()),
            ..Places::default()
        };
        let survivor = system_running(SlotName::A, Digest::of(b"good"));
        let left = places.find(&volume, &survivor);
        assert_eq!((left.len(), left[0].stage), (1, Stage::Agent));
        let journal = &left[0].journal;
        assert!(journal.contains("workload: dead line 40\n"), "{journal}");
        let sentence = left[0].sentence();
        assert!(
            sentence.contains("its journal ended with: ") && sentence.contains("dead line 40 / "),
            "{sentence}"
        );
        assert!(sentence.len() < 1024, "{sentence}");
        // The system that runs is not dead.
        assert!(places.find(&volume, &died).is_empty());
    }
}
