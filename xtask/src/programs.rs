//! The project's own programs: built once, then run as a person would run them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::run;

/// Which build of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build; for tests and the demo.
    Dev,
    /// What ships; for measurements.
    Release,
}

/// The programs and the packages they come from.
const PROGRAMS: [(&str, &str); 3] = [
    ("twinroot", "twinroot"),
    ("twinroot-publish", "twinroot-publish"),
    ("twinroot-tests", "lab"),
];

/// Built programs of one profile.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds the node's binary, the publisher's and the lab's, each by itself so that the node's carries
    /// no feature that only the publisher turns on.
    pub fn build(profile: Profile) -> Result<Self> {
        for (package, name) in PROGRAMS {
            let mut command = run::cargo(["build", "--quiet", "-p", package, "--bin", name]);
            if profile == Profile::Release {
                command.arg("--release");
            }
            run::quiet(&mut command)?;
        }
        let folder = run::target_dir().join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        });
        let programs = Self { folder };
        programs.all_there()?;
        Ok(programs)
    }

    /// Takes the programs that lie in `folder`, or builds them.
    pub fn get(folder: Option<&Path>, profile: Profile) -> Result<Self> {
        let Some(folder) = folder else {
            return Self::build(profile);
        };
        let programs = Self {
            folder: folder.to_owned(),
        };
        programs.all_there()?;
        Ok(programs)
    }

    fn all_there(&self) -> Result<()> {
        for (_, name) in PROGRAMS {
            if !self.path(name).is_file() {
                bail!("there is no {}", self.path(name).display());
            }
        }
        Ok(())
    }

    /// Where the program `name` lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of all of them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The node's binary.
    pub fn node(&self) -> Command {
        Command::new(self.path("twinroot"))
    }

    /// The stand-in for an image builder and a web server.
    pub fn lab(&self) -> Command {
        Command::new(self.path("lab"))
    }

    /// The publisher's binary.
    pub fn publish(&self) -> Command {
        Command::new(self.path("twinroot-publish"))
    }
}
