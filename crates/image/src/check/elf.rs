//! Whether every program finds its interpreter and every library it needs within the image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{Dyn, ElfFile64, ProgramHeader};

use super::rules::{Entry, Finding, Kind};
use crate::Outcome;
use crate::files;

/// What an ELF file needs to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The interpreter's path.
    pub interpreter: Option<String>,
    /// Names of libraries.
    pub libraries: Vec<String>,
    /// Folders that the file itself says libraries are in.
    pub folders: Vec<String>,
}

/// Where the loader looks, the distribution's own folders (ld.so.conf.d of Debian).
const FOLDERS: [&str; 4] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib",
    "usr/lib64",
    "usr/local/lib",
];

/// What a file needs; `None` for what is no 64-bit ELF program or library.
#[must_use]
pub fn needs_of(bytes: &[u8]) -> Option<Needs> {
    let file = ElfFile64::<LE>::parse(bytes).ok()?;
    let mut needs = Needs::default();
    for header in file.elf_program_headers() {
        if let Ok(Some(path)) = header.interpreter(LE, bytes) {
            needs.interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    // A file without section headers still has its dynamic table in a segment; a kernel module has none.
    let table = file
        .elf_program_headers()
        .iter()
        .find_map(|header| header.dynamic(LE, bytes).ok()?)?;
    let value = |wanted: elf::DynamicTag| {
        table
            .iter()
            .find(|entry| entry.tag(LE) == wanted)
            .map(|entry| entry.d_val(LE))
    };
    let strings = strings(&file, bytes, value(elf::DT_STRTAB)?, value(elf::DT_STRSZ)?)?;
    let text = |offset: u64| {
        let from = strings.get(usize::try_from(offset).ok()?..)?;
        let end = from.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&from[..end]).into_owned())
    };
    for entry in table {
        let tag = entry.tag(LE);
        if tag == elf::DT_NEEDED {
            needs.libraries.push(text(entry.d_val(LE))?);
        } else if tag == elf::DT_RUNPATH || tag == elf::DT_RPATH {
            needs
                .folders
                .extend(text(entry.d_val(LE))?.split(':').map(str::to_owned));
        }
    }
    Some(needs)
}

/// Bytes of the string table, which is given by its address in memory.
fn strings<'a>(
    file: &ElfFile64<'_, LE>,
    bytes: &'a [u8],
    address: u64,
    size: u64,
) -> Option<&'a [u8]> {
    file.elf_program_headers().iter().find_map(|header| {
        let start = header.p_vaddr(LE);
        let within = header.p_type(LE) == elf::PT_LOAD
            && (start..start.checked_add(header.p_filesz(LE))?).contains(&address);
        let offset = within.then(|| header.p_offset(LE).checked_add(address - start))??;
        let from = usize::try_from(offset).ok()?;
        bytes.get(from..from.checked_add(usize::try_from(size).ok()?)?)
    })
}

/// Looks at every file; gives how many were programs or libraries, and what they lack.
pub(super) fn closure(root: &Path, entries: &[Entry]) -> Outcome<(usize, Vec<Finding>)> {
    let tree = Paths::new(entries);
    let mut findings = Vec::new();
    let mut count = 0;
    for entry in entries
        .iter()
        .filter(|entry| entry.kind == Kind::File && !entry.path.ends_with(".ko"))
    {
        let path = root.join(&entry.path);
        if !starts_as_elf(&path)? {
            continue;
        }
        let Some(needs) = needs_of(&files::read(&path)?) else {
            continue;
        };
        count += 1;
        findings.extend(tree.missing(&entry.path, &needs));
    }
    Ok((count, findings))
}

fn starts_as_elf(path: &Path) -> Outcome<bool> {
    use std::io::Read;
    let mut magic = [0; 4];
    let mut file =
        std::fs::File::open(path).map_err(|error| files::failed(path, "open", &error))?;
    match file.read(&mut magic) {
        Ok(4) => Ok(magic == *b"\x7fELF"),
        Ok(_) => Ok(false),
        Err(error) => Err(files::failed(path, "read", &error)),
    }
}

/// The image's paths, links followed within it.
struct Paths<'a> {
    files: BTreeSet<&'a str>,
    links: BTreeMap<&'a str, &'a str>,
}

impl<'a> Paths<'a> {
    fn new(entries: &'a [Entry]) -> Self {
        let mut paths = Self {
            files: BTreeSet::new(),
            links: BTreeMap::new(),
        };
        for entry in entries {
            match &entry.kind {
                Kind::Link(target) => {
                    paths.links.insert(&entry.path, target);
                }
                _ => {
                    paths.files.insert(&entry.path);
                }
            }
        }
        paths
    }

    /// Whether a path leads to something in the image.
    fn there(&self, path: &str) -> bool {
        // As many links as the kernel follows.
        let mut left = 40;
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    at.pop();
                    continue;
                }
                _ => at.push(name),
            }
            let here = at.join("/");
            if let Some(target) = self.links.get(here.as_str()) {
                left -= 1;
                if left == 0 {
                    return false;
                }
                at.pop();
                if target.starts_with('/') {
                    at.clear();
                }
                todo.extend(target.split('/').rev().map(str::to_owned));
            } else if !self.files.contains(here.as_str()) {
                return false;
            }
        }
        true
    }

    fn missing(&self, path: &str, needs: &Needs) -> Vec<Finding> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own = needs
            .folders
            .iter()
            .map(|name| name.replace("$ORIGIN", &format!("/{folder}")));
        // What a private library needs lies beside it, and the program that loads it has named the folder.
        let beside = needs.interpreter.is_none().then(|| folder.to_owned());
        let own = own.chain(beside);
        let folders: Vec<String> = own
            .chain(FOLDERS.iter().map(|name| (*name).to_owned()))
            .collect();
        let mut findings = Vec::new();
        let remedy = "add the package that has it, or prune what needs it";
        if let Some(interpreter) = needs
            .interpreter
            .as_deref()
            .filter(|interpreter| !self.there(interpreter))
        {
            findings.push(Finding::new(
                "interpreter",
                &format!("{path} needs {interpreter}"),
                remedy,
            ));
        }
        for library in &needs.libraries {
            let found = folders
                .iter()
                .any(|folder| self.there(&format!("{folder}/{library}")));
            if !found {
                findings.push(Finding::new(
                    "library",
                    &format!("{path} needs {library}"),
                    remedy,
                ));
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode: 0o755,
        }
    }

    fn toy() -> Vec<Entry> {
        vec![
            entry("lib64", Kind::Link("usr/lib64".into())),
            entry("usr", Kind::Folder),
            entry("usr/lib64", Kind::Folder),
            entry(
                "usr/lib64/ld.so.2",
                Kind::Link("../lib/x86_64-linux-gnu/ld.so.2".into()),
            ),
            entry("usr/lib", Kind::Folder),
            entry("usr/lib/x86_64-linux-gnu", Kind::Folder),
            entry("usr/lib/x86_64-linux-gnu/ld.so.2", Kind::File),
            entry("usr/lib/x86_64-linux-gnu/libc.so.6", Kind::File),
            entry(
                "usr/lib/x86_64-linux-gnu/libgone.so.1",
                Kind::Link("libgone.so.1.0".into()),
            ),
            entry("usr/lib/app", Kind::Folder),
            entry("usr/lib/app/libown.so", Kind::File),
        ]
    }

    #[test]
    fn a_library_or_interpreter_that_does_not_resolve_within_the_image_is_found() {
        let entries = toy();
        let paths = Paths::new(&entries);
        let needs = |interpreter: &str, libraries: &[&str]| Needs {
            interpreter: Some(interpreter.into()),
            libraries: libraries.iter().map(|name| (*name).to_owned()).collect(),
            folders: vec!["$ORIGIN".into()],
        };
        assert_eq!(
            paths.missing(
                "usr/lib/app/tool",
                &needs("/lib64/ld.so.2", &["libc.so.6", "libown.so"])
            ),
            []
        );
        let missing = paths.missing(
            "usr/bin/tool",
            &needs("/lib/ld-musl.so", &["libgone.so.1", "libown.so"]),
        );
        let rules: Vec<&str> = missing.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["interpreter", "library", "library"]);
    }

    #[test]
    fn what_a_real_program_needs_is_read_from_it() {
        // This test is one itself.
        let own = std::env::current_exe().unwrap();
        let needs = needs_of(&files::read(&own).unwrap()).unwrap();
        assert!(
            needs.libraries.iter().any(|name| name == "libc.so.6"),
            "{needs:?}"
        );
        assert!(needs.interpreter.unwrap().contains("ld-linux"));
        assert_eq!(needs_of(b"#!/bin/sh\n"), None);
    }
}
