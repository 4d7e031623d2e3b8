//! A repository for the measurements: keys, releases and a web server that counts.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::usage::{self, Usage};
use crate::programs::Programs;
use crate::run;

/// The salt of every image here. A product keeps one salt, so equal blocks have equal hashes.
pub const SALT: &str = "7477696e726f6f7462656e63687361740000000000000000000000000000005a";
/// The product that is published.
pub const PRODUCT: &str = "container-host";

/// The level that deltas are made with, whatever the full payload beside them.
pub const DELTA_LEVEL: &str = "22";

/// A repository in a folder, with one channel `stable` that one key signs.
#[derive(Debug)]
pub struct Publisher {
    programs: Programs,
    folder: PathBuf,
}

/// One published release.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its version.
    pub version: String,
    /// Its image.
    pub image: PathBuf,
    /// Its UKI.
    pub uki: PathBuf,
    /// Root hash of the image as the publisher computed it.
    pub root_hash: String,
    /// Size of the full payload in bytes, index included.
    pub payload_bytes: u64,
}

impl Publisher {
    /// Makes keys and an empty repository below `folder`.
    pub fn new(programs: &Programs, folder: &Path) -> Result<Self> {
        let publisher = Self {
            programs: programs.clone(),
            folder: folder.to_owned(),
        };
        let mut init = publisher.command();
        init.arg("init").arg(publisher.repository());
        init.args([
            "--product",
            PRODUCT,
            "--channel",
            "stable:1of1",
            "--role",
            "root:1of1",
        ]);
        init.args(["--role", "targets:1of1", "--create-keys", "--no-passphrase"]);
        run::capture(&mut init)?;
        publisher.sign_and_release()?;
        Ok(publisher)
    }

    /// A copy of the whole repository and its keys, which goes its own way from here.
    pub fn fork(&self, folder: &Path) -> Result<Self> {
        run::quiet(Command::new("cp").arg("-a").arg(&self.folder).arg(folder))?;
        Ok(Self {
            programs: self.programs.clone(),
            folder: folder.to_owned(),
        })
    }

    /// The published files.
    pub fn published(&self) -> PathBuf {
        self.repository().join("repo")
    }

    /// The first trusted root, which a node's image carries as its anchor.
    pub fn anchor(&self) -> PathBuf {
        self.published().join("metadata/1.root.json")
    }

    /// A repository that an earlier run has made in `folder`.
    pub fn reopen(programs: &Programs, folder: &Path) -> Self {
        Self {
            programs: programs.clone(),
            folder: folder.to_owned(),
        }
    }

    /// Publishes `image` as `version` and offers it to everybody at once; without deltas, so that what is
    /// measured is reuse.
    pub fn publish(&self, version: &str, image: &Path, level: u8) -> Result<Release> {
        self.publish_with(version, image, level, &["--delta-from", "0"])
            .map(|(release, _)| release)
    }

    /// The same with more words for `add`; also says what `add` cost.
    pub fn publish_with(
        &self,
        version: &str,
        image: &Path,
        level: u8,
        more: &[&str],
    ) -> Result<(Release, Usage)> {
        boot_file(&self.programs, version, image, &self.uki(version))?;
        self.add(version, image, level, more)
    }

    /// Publishes a small image with a real kernel and initramfs in its boot file, by delta where one pays.
    pub fn publish_boot(
        &self,
        version: &str,
        image: &Path,
        (kernel, initrd): (&Path, &Path),
    ) -> Result<Release> {
        let mut make = boot_file_command(&self.programs, version, image, &self.uki(version));
        make.arg("--kernel").arg(kernel).arg("--initrd").arg(initrd);
        run::capture(&mut make)?;
        // The image's bytes cannot be compressed; the boot file's delta is made as a publisher makes it.
        let words = ["--delta-from", "1", "--delta-level", DELTA_LEVEL];
        Ok(self.add(version, image, 1, &words)?.0)
    }

    /// `twinroot-publish add`, signed and offered to everybody.
    fn add(
        &self,
        version: &str,
        image: &Path,
        level: u8,
        more: &[&str],
    ) -> Result<(Release, Usage)> {
        let uki = self.uki(version);
        let mut add = self.command();
        add.args([
            "add",
            "--json",
            "--channel",
            "stable",
            "--version",
            version,
            "--salt",
            SALT,
        ]);
        add.args(["--level", &level.to_string(), "--health", "1s"]);
        add.arg("--root").arg(image).arg("--uki").arg(&uki);
        let line = run::line_of(&add);
        let usage = usage::measure(add.args(more))?;
        let added: Value = serde_json::from_str(&usage.stdout)
            .with_context(|| format!("`{line}` printed no JSON"))?;
        self.sign_and_release()?;
        run::capture(
            self.command()
                .args(["rollout", "--channel", "stable", "--offer", version]),
        )?;
        let text = |key: &str| added[key].as_str().map(str::to_owned);
        let release = Release {
            version: version.to_owned(),
            image: image.to_owned(),
            uki,
            root_hash: text("root_hash").context("`add` named no root hash")?,
            payload_bytes: added["payload_bytes"]
                .as_u64()
                .context("`add` named no payload size")?,
        };
        Ok((release, usage))
    }

    /// Where the UKI of a version lies.
    pub fn uki(&self, version: &str) -> PathBuf {
        self.folder.join(format!("{version}.efi"))
    }

    /// Starts a web server for the published files.
    pub fn serve(&self) -> Result<Server> {
        Server::start(&self.programs, &self.published())
    }

    fn sign_and_release(&self) -> Result<()> {
        run::capture(self.command().args(["sign", "all"]))?;
        run::capture(self.command().arg("release"))?;
        Ok(())
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("publisher")
    }

    fn command(&self) -> Command {
        let mut command = self.programs.publish();
        command
            .arg("-C")
            .arg(self.repository())
            .arg("--keys")
            .arg(self.folder.join("keys"));
        command
    }
}

/// Makes the UKI of an image, and gives the image's root hash.
pub fn boot_file(programs: &Programs, version: &str, image: &Path, uki: &Path) -> Result<String> {
    let mut make = boot_file_command(programs, version, image, uki);
    Ok(run::capture(&mut make)?.trim().to_owned())
}

fn boot_file_command(programs: &Programs, version: &str, image: &Path, uki: &Path) -> Command {
    let mut make = programs.lab();
    make.args([
        "uki",
        "--salt",
        SALT,
        "--product",
        PRODUCT,
        "--version",
        version,
    ]);
    make.arg("--image").arg(image).arg("--out").arg(uki);
    make
}

/// What a server has sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Answers.
    pub requests: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// Bytes of payload files among them.
    pub payload: u64,
    /// Payload files by their path below the targets URL, with bytes and requests.
    pub files: BTreeMap<String, (u64, u64)>,
}

/// A running web server; it ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Where the metadata is.
    pub metadata: String,
    /// Where targets and payloads are.
    pub targets: String,
}

impl Server {
    /// Serves a published folder on the loopback.
    pub fn start(programs: &Programs, published: &Path) -> Result<Self> {
        let mut command = programs.lab();
        command
            .arg("serve")
            .arg(published)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the web server")?;
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(
            child
                .stdout
                .take()
                .context("the web server has no output")?,
        );
        let urls = line_of_json(&mut stdout)?;
        let url = |key: &str| {
            urls[key]
                .as_str()
                .map(str::to_owned)
                .context("the web server named no URL")
        };
        Ok(Self {
            metadata: url("metadata")?,
            targets: url("targets")?,
            child,
            stdin,
            stdout,
        })
    }

    /// What was sent since the last call.
    pub fn sent(&mut self) -> Result<Sent> {
        let stdin = self.stdin.as_mut().context("the web server has no input")?;
        stdin
            .write_all(b"\n")
            .and_then(|()| stdin.flush())
            .context("the web server is gone")?;
        let counts = line_of_json(&mut self.stdout)?;
        let count = |key: &str| {
            counts[key]
                .as_u64()
                .context("the web server printed no counts")
        };
        Ok(Sent {
            requests: count("requests")?,
            bytes: count("bytes")?,
            payload: count("payload")?,
            files: files(&counts["files"])?,
        })
    }
}

/// The server's list of payload files. Its paths begin at the server's root, ours at the targets URL.
fn files(list: &Value) -> Result<BTreeMap<String, (u64, u64)>> {
    let list = list
        .as_object()
        .context("the web server printed no list of files")?;
    let file = |(path, sent): (&String, &Value)| {
        let at = path.find("payload/").unwrap_or(0);
        let (bytes, requests) = (sent["bytes"].as_u64()?, sent["requests"].as_u64()?);
        Some((path[at..].to_owned(), (bytes, requests)))
    };
    list.iter()
        .map(|entry| file(entry).context("the web server printed no counts of a file"))
        .collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.stdin = None;
        if let Err(error) = self.child.wait() {
            eprintln!("the web server cannot be waited for: {error}");
        }
    }
}

fn line_of_json(reader: &mut impl BufRead) -> Result<Value> {
    let mut line = String::new();
    if reader
        .read_line(&mut line)
        .context("cannot read from the web server")?
        == 0
    {
        bail!("the web server ended");
    }
    serde_json::from_str(&line).context("the web server printed no JSON")
}
