//! The `RebootGate` port over files: whoever puts a file into the gate folder holds the reboot.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use twinroot_core::error::Code;
use twinroot_ports::{GateAnswer, Outcome, RebootGate};

use crate::fail::io_failure;

/// Reasons are for one line of `why`.
const REASON_LIMIT: u64 = 200;

/// Files that hold the reboot while they exist.
#[derive(Debug, Clone)]
pub struct FileGate {
    folder: PathBuf,
    file: Option<PathBuf>,
}

impl FileGate {
    /// Any file in `folder` holds the reboot, and so does `file` itself.
    #[must_use]
    pub fn new(folder: &Path, file: Option<PathBuf>) -> Self {
        Self {
            folder: folder.to_owned(),
            file,
        }
    }
}

impl RebootGate for FileGate {
    fn ask(&self) -> Outcome<GateAnswer> {
        // A gate that cannot be looked at is not an open gate.
        let failed =
            |error: std::io::Error| io_failure(Code::FileIo, &self.folder, "look into", &error);
        let mut holders = Vec::new();
        match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            listed => {
                for entry in listed.map_err(failed)? {
                    holders.push(entry.map_err(failed)?.path());
                }
            }
        }
        if let Some(file) = &self.file
            && std::fs::symlink_metadata(file).is_ok()
        {
            holders.push(file.clone());
        }
        holders.sort();
        Ok(match holders.first() {
            None => GateAnswer::Open,
            Some(path) => GateAnswer::Held { by: reason(path) },
        })
    }
}

/// File name and first line. An unreadable or empty file holds all the same.
fn reason(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut line = String::new();
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
        && let Ok(file) = File::open(path)
    {
        // What is no text is left out of the reason.
        let _ = BufReader::new(file.take(REASON_LIMIT)).read_line(&mut line);
    }
    let line: String = line.trim().chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() {
        name
    } else {
        format!("{name}: {line}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use twinroot_ports::contract::gate::gate_contract;

    use super::*;

    #[test]
    fn it_keeps_the_contract_of_every_gate() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("gate.d").join("50-operator");
        gate_contract(
            &FileGate::new(&home.path().join("gate.d"), None),
            &mut |hold| match hold {
                Some(reason) => {
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    File::create(&path)
                        .unwrap()
                        .write_all(reason.as_bytes())
                        .unwrap();
                }
                None => std::fs::remove_file(&path).unwrap(),
            },
        );
    }

    #[test]
    fn a_gate_file_holds_however_little_it_says() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("hold");
        let gate = FileGate::new(&home.path().join("gate.d"), Some(file.clone()));
        assert_eq!(gate.ask().unwrap(), GateAnswer::Open);
        std::os::unix::fs::symlink("/nowhere", &file).unwrap();
        assert_eq!(gate.ask().unwrap(), GateAnswer::Held { by: "hold".into() });
    }

    #[test]
    fn a_gate_that_cannot_be_looked_at_is_not_open() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("gate.d");
        File::create(&file).unwrap();
        assert_eq!(
            FileGate::new(&file, None).ask().unwrap_err().code,
            Code::FileIo
        );
    }
}
