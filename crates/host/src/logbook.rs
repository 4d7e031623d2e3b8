//! The end of what an earlier boot has logged, read from the files of systemd's journal.
//!
//! The format is systemd.io/JOURNAL_FILE_FORMAT. No library reads it without systemd's own, which is C and
//! would map damaged files into this process; what is needed of it is little: the entries of a file in
//! order, the boot that each belongs to, and their texts. Every number of a file is taken for a lie until
//! it was compared with the file's length, and what cannot be read has left nothing: this is for the
//! reason of a denial, and no reason to refuse anything.

mod file;

use std::path::{Path, PathBuf};

pub(crate) use file::BootId;
use file::{Fields, File};
use twinroot_core::text::tail;

/// Where the journal is kept over a restart.
pub(crate) const FOLDER: &str = "/var/log/journal";
/// Files that are looked at, newest first: a boot that failed is among the last ones.
const FILES: usize = 16;
/// Boots of a file that are looked at, newest first: as many as the tries of a release, and some in between.
const BOOTS: usize = 16;
/// Entries that are read from the end: texts of a few words fill 4 KiB with a hundred, and a restart in good order
/// logs some two hundred.
const LAST: usize = 400;
/// `TWINROOT_WHAT=` of the entry with which the agent ends a trial. Behind it stands the restart that it asked for,
/// which says nothing of the reason.
const OVER: &[u8] = b"trial-failed";

/// The last `most` bytes of what a boot has logged; empty where no journal of it is there.
pub(crate) fn last_words(folder: &Path, boot: BootId, most: usize) -> String {
    let files = newest(folder);
    let of_boot = |file| runs(file).into_iter().filter(|run| run.boot == boot);
    let mut runs: Vec<Run<'_>> = files.iter().flat_map(of_boot).collect();
    // By time and not by file: a boot may go on from one file into the next.
    runs.sort_by_key(|run| std::cmp::Reverse(run.at));
    words(&runs, most)
}

/// The entries of one boot that follow each other in one file.
struct Run<'a> {
    file: &'a File,
    boot: BootId,
    /// Numbers of the first and the last of them.
    first: u64,
    last: u64,
    /// Time of the last.
    at: u64,
}

/// The newest files of the system's own journal, of this machine and of any that it was before.
fn newest(folder: &Path) -> Vec<File> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for machine in folders {
        let listed = std::fs::read_dir(machine.path()).into_iter().flatten();
        paths.extend(listed.flatten().map(|entry| entry.path()));
    }
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == "system.journal" || name.starts_with("system@")
    });
    let mut files: Vec<File> = paths.iter().filter_map(|path| File::open(path)).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.written()));
    files.truncate(FILES);
    files
}

/// The boots of a file, the newest first.
fn runs(file: &File) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut behind = file.entries();
    while let Some(last) = behind.checked_sub(1) {
        let Some(entry) = file.entry(last) else { break };
        // Entries stand in the order in which they were written, so that those of a boot follow
        // each other and their beginning is found by halving.
        let (mut low, mut first) = (0, last);
        while low < first {
            let middle = low + (first - low) / 2;
            match file.entry(middle) {
                Some(other) if other.boot == entry.boot => first = middle,
                _ => low = middle + 1,
            }
        }
        runs.push(Run {
            file,
            boot: entry.boot,
            first,
            last,
            at: entry.at,
        });
        if runs.len() > BOOTS {
            break;
        }
        behind = first;
    }
    runs
}

/// The end of what these runs say, the newest first.
fn words(runs: &[Run<'_>], most: usize) -> String {
    let entries = runs.iter().flat_map(|run| {
        let numbers = (run.first..=run.last).rev();
        numbers.map(|number| run.file.fields(number))
    });
    let last: Vec<Fields> = entries.take(LAST).collect();
    end_of(&last, most)
}

/// The last `most` bytes of these entries, the newest first, up to where the agent has ended the trial.
fn end_of(last: &[Fields], most: usize) -> String {
    let over = last.iter().position(|entry| entry.what == OVER);
    let said = &last[over.unwrap_or(0)..];
    let lines: Vec<String> = said.iter().rev().filter_map(line).collect();
    tail(&lines.concat(), most).to_owned()
}

/// `WHO: MESSAGE`, as `journalctl -o cat` and a name; nothing where there is no message.
fn line(fields: &Fields) -> Option<String> {
    let message = String::from_utf8_lossy(&fields.message);
    let message = message.trim_end();
    if message.is_empty() {
        return None;
    }
    let who = String::from_utf8_lossy(&fields.who);
    Some(format!("{who}: {message}\n"))
}

#[cfg(test)]
pub(crate) mod tests;
