//! A publisher for the scenarios: keys, releases and a web server that counts and can misbehave.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use twinroot_publish::serve::Server;

use crate::host::capture;
use crate::image::Built;

/// Where the guest sees the host's loopback (QEMU's user network).
const HOST: &str = "10.0.2.2";

/// What `rootfs/container-host.toml` builds.
const PRODUCT: &str = "container-host";

/// A repository in a folder, with one channel `stable` that one key signs.
#[derive(Debug, Clone)]
pub struct Publisher {
    program: PathBuf,
    folder: PathBuf,
}

impl Publisher {
    /// Makes keys and an empty repository below `folder`.
    ///
    /// # Errors
    /// What the publisher's program says.
    pub fn new(program: &Path, folder: &Path, variant: Option<&str>) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let publisher = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
        };
        let mut init = publisher.command();
        init.arg("init").arg(publisher.repository());
        init.args(["--product", PRODUCT, "--channel", "stable:1of1"]);
        if let Some(variant) = variant {
            init.args(["--variant", variant]);
        }
        init.args(["--role", "root:1of1", "--role", "targets:1of1"]);
        capture(init.args(["--create-keys", "--no-passphrase"]))?;
        publisher.sign()?;
        Ok(publisher)
    }

    /// A copy of one with all its keys, which goes its own way from here.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn fork(&self, folder: &Path) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        capture(Command::new("cp").arg("-a").arg(&self.folder).arg(folder))?;
        let fork = Self {
            program: self.program.clone(),
            folder: folder.to_owned(),
        };
        // It may have lain in the cache for longer than its timestamp is good for.
        capture(fork.command().arg("refresh"))?;
        Ok(fork)
    }

    /// One that was made before.
    #[must_use]
    pub fn at(program: &Path, folder: &Path) -> Self {
        Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
        }
    }

    /// The published files.
    #[must_use]
    pub fn published(&self) -> PathBuf {
        self.repository().join("repo")
    }

    /// The first trusted root, which an image carries as its anchor.
    #[must_use]
    pub fn anchor(&self) -> PathBuf {
        self.published().join("metadata/1.root.json")
    }

    /// Publishes a release and offers it to everybody at once.
    ///
    /// # Errors
    /// What the publisher's program says.
    pub fn release(&self, built: &Built, probation: &str) -> Result<()> {
        self.release_with(built, probation, &[])
    }

    /// The same with more options of `twinroot-publish add`.
    ///
    /// # Errors
    /// What the publisher's program says.
    pub fn release_with(&self, built: &Built, probation: &str, options: &[&str]) -> Result<()> {
        let mut add = self.command();
        add.args(["add", "--channel", "stable", "--version", &built.version]);
        // Level 3: the scenarios are about arriving, `./x bench` is about bytes.
        add.args(["--level", "3", "--health", probation, "--root"]);
        add.arg(&built.root).arg("--verity").arg(&built.tree);
        capture(add.arg("--uki").arg(&built.uki).args(options))?;
        self.sign()?;
        let offer = ["rollout", "--channel", "stable", "--offer", &built.version];
        capture(self.command().args(offer)).map(drop)
    }

    /// Serves what is published.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn serve(&self) -> Result<Server> {
        Server::start(&self.published(), "127.0.0.1:0").context("cannot start a web server")
    }

    fn sign(&self) -> Result<()> {
        capture(self.command().args(["sign", "all"]))?;
        capture(self.command().arg("release")).map(drop)
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("publisher")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-C").arg(self.repository());
        command.arg("--keys").arg(self.folder.join("keys"));
        command
    }
}

/// The node's settings for a repository that this server shows.
#[must_use]
pub fn settings(server: &Server) -> String {
    let seen = |url: String| url.replace("127.0.0.1", HOST);
    format!(
        "[repository]\nmetadata-url = \"{}\"\ntargets-url = \"{}\"\n",
        seen(server.metadata_url()),
        seen(server.targets_url())
    )
}
