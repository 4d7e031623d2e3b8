//! What the demonstration does with its hands: runs the programs, shows what they say, damages files
//! in the way an attacker would, and keeps the table.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::publisher::{SALT, Sent, Server};
use crate::programs::Programs;
use crate::run;
use crate::table::Table;

/// Bytes of each image: enough for several segments, little enough for a demonstration.
const IMAGE: u64 = 16 << 20;

/// The demonstration's hands.
pub(crate) struct Hands {
    programs: Programs,
    dir: PathBuf,
    colours: bool,
    server: Option<Server>,
    table: Table,
}

impl Hands {
    pub(crate) fn new(programs: &Programs, dir: &Path) -> Result<Self> {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot use {}", dir.display()))?;
        Ok(Self {
            programs: programs.clone(),
            dir,
            colours: std::io::stdout().is_terminal(),
            server: None,
            table: Table::new(&["shown", "how it ended", "bytes sent"]),
        })
    }

    /// Begins a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        match self.colours {
            true => println!("\n\x1b[1;36m{title}\x1b[0m"),
            false => println!("\n== {title}"),
        }
    }

    /// Says something about what follows.
    pub(crate) fn say(&self, text: &str) {
        println!("   {text}");
    }

    /// Records what was shown, with what the server has sent since the last record.
    pub(crate) fn shown(&mut self, what: &str, end: &str) -> Result<Sent> {
        let sent = match &mut self.server {
            Some(server) => server.sent()?,
            None => bail!("nothing is served yet"),
        };
        let row = [what.to_owned(), end.to_owned(), sent.bytes.to_string()];
        self.table.row(row);
        Ok(sent)
    }

    /// The table at the end.
    pub(crate) fn table(&self) -> String {
        self.table.markdown()
    }

    /// Runs the publisher.
    pub(crate) fn publish(&self, args: &[&str]) -> Result<()> {
        let mut command = self.programs.publish();
        command.args(["-C", "publisher", "--keys", "keys"]);
        self.good(command.args(args)).map(drop)
    }

    /// Makes keys and the repository: two of three for the channel, for root and for targets.
    pub(crate) fn publish_new(&self) -> Result<()> {
        let mut command = self.programs.publish();
        command.args([
            "--keys",
            "keys",
            "init",
            "publisher",
            "--product",
            "container-host",
        ]);
        command.args([
            "--channel",
            "stable:2of3",
            "--create-keys",
            "--no-passphrase",
        ]);
        self.good(&mut command).map(drop)
    }

    /// Makes image and boot image of a version, as an image builder would deliver them. Half of each
    /// image's blocks are those of the image before, at other places.
    pub(crate) fn build(&self, version: &str, release: u64) -> Result<()> {
        let (image, uki) = (format!("{version}.img"), format!("{version}.efi"));
        let (size, release) = (IMAGE.to_string(), release.to_string());
        let mut seeded = self.programs.lab();
        seeded.args(["seeded", "--size", &size, "--release", &release]);
        run::capture(seeded.args(["--out", &image]).current_dir(&self.dir))?;
        let mut make = self.programs.lab();
        make.args(["uki", "--image", &image, "--salt", SALT]);
        make.args(["--version", version, "--out", &uki]);
        run::capture(make.current_dir(&self.dir)).map(drop)
    }

    /// Publishes a built version: two of three people sign the channel, one the rollout.
    pub(crate) fn release(&self, version: &str) -> Result<()> {
        let (image, uki) = (format!("{version}.img"), format!("{version}.efi"));
        self.publish(&[
            "add",
            "--channel",
            "stable",
            "--version",
            version,
            "--root",
            &image,
            "--uki",
            &uki,
            "--salt",
            SALT,
            "--level",
            "3",
            "--health",
            "1s",
        ])?;
        self.publish(&["sign", "channel-stable", "--key", "stable-1"])?;
        self.publish(&["sign", "channel-stable", "--key", "stable-3"])?;
        self.publish(&["release"])?;
        self.publish(&["rollout", "--channel", "stable", "--offer", version])
    }

    /// Serves what is published.
    pub(crate) fn serve(&mut self) -> Result<()> {
        let server = Server::start(&self.programs, &self.published())?;
        self.say(&format!("a web server shows it at {}", server.metadata));
        self.server = Some(server);
        Ok(())
    }

    /// Makes the machine with its first release.
    pub(crate) fn machine(&self, version: &str) -> Result<()> {
        let server = self.server.as_ref().context("nothing is served yet")?;
        self.machine_in("machine", version, &server.metadata, &server.targets)
    }

    /// Makes a machine with its first release in a folder, which looks for more at these URLs.
    pub(crate) fn machine_in(
        &self,
        folder: &str,
        version: &str,
        metadata: &str,
        targets: &str,
    ) -> Result<()> {
        let anchor = self.published().join("metadata/1.root.json");
        let (image, uki) = (format!("{version}.img"), format!("{version}.efi"));
        let mut new = self.programs.lab();
        new.args(["machine", "new", folder, "--image", &image, "--uki", &uki]);
        new.args(["--salt", SALT, "--version", version, "--metadata-url"]);
        new.args([metadata, "--targets-url", targets]);
        new.arg("--anchor").arg(anchor);
        self.good(&mut new).map(drop)
    }

    /// Starts the machine, with a fault of the system that the loader chooses first.
    pub(crate) fn boot(&self, fault: Option<&str>) -> Result<()> {
        let mut boot = self.programs.lab();
        boot.args(["machine", "boot", "machine"]);
        if let Some(fault) = fault {
            boot.args(["--fail", fault]);
        }
        self.good(&mut boot).map(drop)
    }

    /// Runs the node's program, which must succeed.
    pub(crate) fn node(&self, args: &[&str]) -> Result<String> {
        self.good(self.node_command().args(args))
    }

    /// Runs the node's program, which must refuse with this code.
    pub(crate) fn refused(&self, args: &[&str], code: &str) -> Result<()> {
        let mut command = self.node_command();
        let output = self.show(command.args(args))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            bail!("`{}` was not refused", run::line_of(&command));
        }
        if !said.contains(&format!("[{code}]")) {
            bail!("it was refused, but not with {code}");
        }
        Ok(())
    }

    /// The machine as the node's program sees it.
    pub(crate) fn status(&self) -> Result<Value> {
        let mut command = self.node_command();
        command.args(["status", "--json"]).current_dir(&self.dir);
        serde_json::from_str(&run::capture(&mut command)?).context("status printed no JSON")
    }

    /// Fails unless this version runs and is blessed.
    pub(crate) fn expect_running(&self, version: &str) -> Result<()> {
        let status = self.status()?;
        let running = &status["booted"]["release"]["version"];
        if running != version {
            bail!("{running} runs, and {version} should");
        }
        if !status["booted"]["tries"].is_null() {
            bail!("{version} runs, but is still on trial");
        }
        Ok(())
    }

    /// Payload files that are published now.
    pub(crate) fn payloads(&self) -> Result<BTreeSet<PathBuf>> {
        let folder = self.published().join("targets/payload");
        let listed = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        listed.map(|entry| Ok(entry?.path())).collect()
    }

    /// Damages the payload of the image that came after `before` was listed: the largest new file.
    pub(crate) fn damage_payload(&self, before: &BTreeSet<PathBuf>) -> Result<Damage> {
        let mut new: Vec<(u64, PathBuf)> = Vec::new();
        for path in self.payloads()?.difference(before) {
            new.push((path.metadata()?.len(), path.clone()));
        }
        let (_, path) = new
            .into_iter()
            .max()
            .context("no payload came with the release")?;
        self.damage(path)
    }

    /// Moves the expiry of the timestamp by years, as somebody would who wants a node to stay at an
    /// old state.
    pub(crate) fn damage_timestamp(&self) -> Result<Damage> {
        let path = self.published().join("metadata/timestamp.json");
        let before = std::fs::read(&path)?;
        let text = String::from_utf8(before.clone()).context("metadata is text")?;
        let at = text.find("\"expires\"").context("a timestamp expires")?;
        let year = text[at..].find("\"20").context("a date has a year")? + at + 1;
        let after = format!("{}2099{}", &text[..year], &text[year + 4..]);
        replace(&path, after.as_bytes())?;
        self.say("the expiry date of timestamp.json is moved to 2099");
        Ok(Damage { path, before })
    }

    /// Turns over one bit in the middle of a published file; gives what undoes it.
    fn damage(&self, path: PathBuf) -> Result<Damage> {
        let before = std::fs::read(&path).with_context(|| format!("no {}", path.display()))?;
        let mut after = before.clone();
        let middle = after.len() / 2;
        after[middle] ^= 1;
        replace(&path, &after)?;
        let shown = path.strip_prefix(&self.dir).unwrap_or(&path).display();
        self.say(&format!("one bit of {shown} is turned over"));
        Ok(Damage { path, before })
    }

    fn published(&self) -> PathBuf {
        self.dir.join("publisher/repo")
    }

    fn node_command(&self) -> Command {
        let mut command = self.programs.node();
        command.args(["--machine", "machine"]);
        command
    }

    fn good(&self, command: &mut Command) -> Result<String> {
        let output = self.show(command)?;
        if !output.status.success() {
            bail!("`{}` failed ({})", run::line_of(command), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it in the demonstration's folder and shows what it says.
    fn show(&self, command: &mut Command) -> Result<Output> {
        let line = run::line_of(command);
        match self.colours {
            true => println!("   \x1b[1m$ {line}\x1b[0m"),
            false => println!("   $ {line}"),
        }
        let output = command.current_dir(&self.dir).output();
        let output = output.with_context(|| format!("cannot start `{line}`"))?;
        for said in [&output.stderr, &output.stdout] {
            for line in String::from_utf8_lossy(said).lines() {
                println!("     {line}");
            }
        }
        Ok(output)
    }
}

/// A damaged file and what it was.
#[derive(Debug)]
pub(crate) struct Damage {
    path: PathBuf,
    before: Vec<u8>,
}

impl Damage {
    /// Puts it right again.
    pub(crate) fn undo(self) -> Result<()> {
        replace(&self.path, &self.before)
    }
}

/// Published files are read-only and may be linked elsewhere, so a new one takes the place.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = path.display();
    std::fs::remove_file(path).with_context(|| format!("cannot replace {shown}"))?;
    std::fs::write(path, bytes).with_context(|| format!("cannot write {shown}"))
}
