//! People who are logged in, and programs that hold a shutdown inhibitor.
//!
//! Read from the files that logind keeps in `/run/systemd`, as its own library does
//! (`sd-login(3)`): no bus is needed, and a bus that is away cannot open the gate.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use twinroot_core::error::Code;
use twinroot_ports::{GateAnswer, Outcome, RebootGate};

use crate::fail::io_failure;

/// Whom the owner wants to be heeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heeds {
    /// People who are logged in.
    pub users: bool,
    /// Block inhibitors of `shutdown` with one of these names.
    pub inhibitors: Vec<String>,
}

impl Heeds {
    /// Whether there is anybody to heed.
    #[must_use]
    pub const fn anybody(&self) -> bool {
        self.users || !self.inhibitors.is_empty()
    }
}

/// The gate.
#[derive(Debug)]
pub struct Logind {
    folder: PathBuf,
    heeds: Heeds,
}

impl Logind {
    /// Over logind's files in `folder`.
    #[must_use]
    pub fn new(folder: &Path, heeds: Heeds) -> Self {
        Self {
            folder: folder.to_owned(),
            heeds,
        }
    }

    /// Each file of a folder as its keys and values. Files come and go while they are read; a folder
    /// that is not there means that logind has nothing to tell, one that cannot be read holds.
    fn files(&self, folder: &str) -> Outcome<Vec<BTreeMap<String, String>>> {
        let folder = self.folder.join(folder);
        let failed = |error: std::io::Error| io_failure(Code::FileIo, &folder, "look into", &error);
        let listed = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(failed)?,
        };
        let mut files = Vec::new();
        for entry in listed {
            let path = entry.map_err(failed)?.path();
            // Beside each file lies a pipe by which logind notices that its owner has gone.
            if path.extension().is_some_and(|e| e == "ref") {
                continue;
            }
            match std::fs::read_to_string(&path) {
                Ok(text) => files.push(keys(&text)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(files)
    }

    fn inhibitor(&self) -> Outcome<Option<String>> {
        let is = |file: &BTreeMap<String, String>, key: &str, value: &str| {
            file.get(key).is_some_and(|v| v == value)
        };
        let heeded = |file: &&BTreeMap<String, String>| {
            let shutdown = file
                .get("WHAT")
                .is_some_and(|what| what.split(':').any(|w| w == "shutdown"));
            let named = self.heeds.inhibitors.iter().any(|who| is(file, "WHO", who));
            shutdown && named && is(file, "MODE", "block")
        };
        let files = self.files("inhibit")?;
        Ok(files.iter().find(heeded).map(|file| {
            let get = |key: &str| file.get(key).map_or("", String::as_str);
            format!("{} (inhibitor: {})", get("WHO"), get("WHY"))
        }))
    }

    fn user(&self) -> Outcome<Option<String>> {
        let logged_in = |file: &&BTreeMap<String, String>| {
            let get = |key: &str| file.get(key).map_or("", String::as_str);
            get("CLASS") == "user" && get("STATE") != "closing"
        };
        let files = self.files("sessions")?;
        Ok(files.iter().find(logged_in).map(|file| {
            let name = file.get("USER").or_else(|| file.get("UID"));
            format!(
                "{}, who is logged in",
                name.map_or("somebody", String::as_str)
            )
        }))
    }
}

/// `KEY=value` lines; a value may be quoted, with the escapes that C knows.
fn keys(text: &str) -> BTreeMap<String, String> {
    let plain = |value: &str| {
        let value = value.trim_matches('"');
        value.replace("\\x20", " ").replace("\\\"", "\"")
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), plain(value)))
        .collect()
}

impl RebootGate for Logind {
    fn ask(&self) -> Outcome<GateAnswer> {
        let mut holder = self.inhibitor()?;
        if holder.is_none() && self.heeds.users {
            holder = self.user()?;
        }
        Ok(holder.map_or(GateAnswer::Open, |by| GateAnswer::Held {
            by: by.chars().filter(|c| !c.is_control()).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(folder).unwrap();
        let mut file = std::fs::File::create(folder.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn gate(home: &Path, users: bool, inhibitors: &[&str]) -> Logind {
        let inhibitors = inhibitors.iter().map(ToString::to_string).collect();
        Logind::new(home, Heeds { users, inhibitors })
    }

    #[test]
    fn somebody_logged_in_holds_only_where_the_owner_wants_it() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(
            gate(home.path(), true, &[]).ask().unwrap(),
            GateAnswer::Open
        );
        let sessions = home.path().join("sessions");
        write(
            &sessions,
            "c1",
            "# private\nUID=0\nUSER=ana\nCLASS=user\nSTATE=online\n",
        );
        write(&sessions, "c2", "USER=gdm\nCLASS=greeter\nSTATE=active\n");
        let by = "ana, who is logged in".to_owned();
        assert_eq!(
            gate(home.path(), true, &[]).ask().unwrap(),
            GateAnswer::Held { by }
        );
        assert_eq!(
            gate(home.path(), false, &[]).ask().unwrap(),
            GateAnswer::Open
        );
        write(&sessions, "c1", "USER=ana\nCLASS=user\nSTATE=closing\n");
        assert_eq!(
            gate(home.path(), true, &[]).ask().unwrap(),
            GateAnswer::Open
        );
    }

    #[test]
    fn a_block_inhibitor_of_shutdown_with_a_heeded_name_holds_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("inhibit");
        write(&folder, "1", "WHAT=sleep\nWHO=backup\nWHY=x\nMODE=block\n");
        write(
            &folder,
            "2",
            "WHAT=shutdown\nWHO=kubelet\nWHY=x\nMODE=delay\n",
        );
        write(
            &folder,
            "3",
            "WHAT=shutdown:sleep\nWHO=other\nWHY=x\nMODE=block\n",
        );
        assert_eq!(
            gate(home.path(), false, &["backup"]).ask().unwrap(),
            GateAnswer::Open
        );
        write(
            &folder,
            "4",
            "WHAT=idle:shutdown\nWHO=backup\nWHY=\"nightly\\x20run\"\nMODE=block\n",
        );
        let by = "backup (inhibitor: nightly run)".to_owned();
        assert_eq!(
            gate(home.path(), false, &["backup"]).ask().unwrap(),
            GateAnswer::Held { by }
        );
    }

    #[test]
    fn files_that_cannot_be_read_do_not_open_the_gate() {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), "sessions", "no folder");
        let failure = gate(home.path(), true, &[]).ask().unwrap_err();
        assert_eq!(failure.code, Code::FileIo);
    }
}
