//! The project's own programs: built once, then run as a person would run them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

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

/// Builds a program by itself, as it ships; gives its path.
pub fn as_it_ships(package: &str, name: &str) -> Result<PathBuf> {
    let build = [
        "build",
        "--quiet",
        "--release",
        "-p",
        package,
        "--bin",
        name,
    ];
    run::quiet(&mut run::cargo(build))?;
    Ok(run::target_dir().join("release").join(name))
}

/// Built programs of one profile.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds the node's binary, the publisher's and the lab's.
    pub fn build(profile: Profile) -> Result<Self> {
        let folder = match profile {
            Profile::Dev => Self::build_at_once()?,
            Profile::Release => Self::build_each()?,
        };
        let programs = Self { folder };
        programs.all_there()?;
        Ok(programs)
    }

    /// With the features of the whole workspace, as the tests are built: whoever runs both compiles what they
    /// share once.
    fn build_at_once() -> Result<PathBuf> {
        let mut command = run::cargo(["build", "--quiet", "--workspace"]);
        for (_, name) in PROGRAMS {
            command.args(["--bin", name]);
        }
        run::quiet(&mut command)?;
        Ok(run::target_dir().join("debug"))
    }

    /// Each by itself, so that the node's carries no feature that only the publisher turns on.
    fn build_each() -> Result<PathBuf> {
        for (package, name) in PROGRAMS {
            as_it_ships(package, name)?;
        }
        Ok(run::target_dir().join("release"))
    }

    /// Takes the programs that lie in `folder`, or builds them.
    pub fn get(folder: Option<&Path>, profile: Profile) -> Result<Self> {
        let Some(folder) = folder else {
            return Self::build(profile);
        };
        // They are started from other folders than the one it was named in.
        let folder = folder.canonicalize().with_context(|| {
            format!(
                "there is no folder {} with programs in it",
                folder.display()
            )
        })?;
        let programs = Self { folder };
        programs.all_there()?;
        Ok(programs)
    }

    fn all_there(&self) -> Result<()> {
        for (_, name) in PROGRAMS {
            if !self.path(name).is_file() {
                bail!(
                    "there is no {}; build it with `cargo build --workspace --bins`",
                    self.path(name).display()
                );
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
