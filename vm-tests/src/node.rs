//! A node under test: a machine with a release on it and a repository that it follows.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use twinroot_publish::serve::Server;

use crate::channel::Output;
use crate::host::{Deadline, say};
use crate::image::{Built, Wanted};
use crate::lab::Lab;
use crate::look::{Enforced, in_words};
use crate::offline::RawDisk;
use crate::publisher::{Publisher, settings};
use crate::qemu::{Machine, Running, Spec};

/// From power-on or restart to a guest that answers. Idle, a start takes 20 s here; a build host whose two
/// cores serve six others was measured at 180 s.
pub const BOOT: u64 = 600;
/// A command of the guest that computes nothing.
const COMMAND: u64 = 120;
/// The same of a guest that may be gone or hang before it answers.
const GLANCE: u64 = 60;
/// From a guest that answers to a verdict on its health, and for fetching, writing and proving a slot:
/// emulated hashing does 5 to 7 MB/s.
pub const UPDATE: u64 = 900;

/// The node.
#[derive(Debug)]
pub struct Node {
    /// The machine that it is.
    pub machine: Machine,
    /// Where its releases come from.
    pub publisher: Publisher,
    /// The web server that shows them.
    pub server: Server,
    running: Option<Running>,
    passed: bool,
}

impl Node {
    /// Makes a machine with `first` on its disk, published as well, and switched off.
    ///
    /// # Errors
    /// When something cannot be built.
    pub fn install(lab: &Lab, first: &Built) -> Result<Self> {
        Self::install_on(lab, first, |_| {})
    }

    /// The same on a machine that differs from the plain one.
    ///
    /// # Errors
    /// When something cannot be built.
    pub fn install_on(lab: &Lab, first: &Built, differ: impl FnOnce(&mut Spec)) -> Result<Self> {
        let disk = lab.disk(first)?;
        let mut spec = Spec::plain(&lab.folder().join("machine"), &disk);
        differ(&mut spec);
        let publisher = lab.publisher(first.variant.as_deref())?;
        publisher.release(first, "5s")?;
        Self::of(Machine::make(spec)?, publisher)
    }

    /// A machine that is off, with a repository that it is to follow.
    ///
    /// # Errors
    /// When no web server can be had.
    pub fn of(machine: Machine, publisher: Publisher) -> Result<Self> {
        Ok(Self {
            server: publisher.serve()?,
            machine,
            publisher,
            running: None,
            passed: false,
        })
    }

    /// The plain test image, installed, started and committed.
    ///
    /// # Errors
    /// When it does not come up or finds itself unhealthy.
    pub fn started(lab: &mut Lab, version: &str) -> Result<(Self, Built)> {
        let first = lab.build(&Wanted::test(version))?;
        Ok((Self::first_start(lab, &first)?, first))
    }

    /// An image, installed, started and committed.
    ///
    /// # Errors
    /// As [`Node::started`].
    pub fn first_start(lab: &Lab, first: &Built) -> Result<Self> {
        Self::first_start_on(lab, first, |_| {})
    }

    /// The same on a machine that differs from the plain one.
    ///
    /// # Errors
    /// As [`Node::started`].
    pub fn first_start_on(
        lab: &Lab,
        first: &Built,
        differ: impl FnOnce(&mut Spec),
    ) -> Result<Self> {
        let mut node = Self::install_on(lab, first, differ)?;
        node.power_on()?;
        node.follow()?;
        node.wait_committed(&first.version)?;
        Ok(node)
    }

    /// The machine, which must be on.
    ///
    /// # Errors
    /// When it is off.
    pub fn on(&mut self) -> Result<&mut Running> {
        self.running.as_mut().context("the machine is off")
    }

    /// Switches it on and waits until the guest answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn power_on(&mut self) -> Result<()> {
        self.switch_on()?;
        self.wait_boot()
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn switch_on(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the machine is on already");
        self.running = Some(self.machine.power_on()?);
        Ok(())
    }

    /// Waits until the guest answers in a boot that has not been waited for yet.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_boot(&mut self) -> Result<()> {
        let begin = Instant::now();
        let running = self.on()?;
        let id = running.wait_boot(Deadline::seconds(BOOT))?;
        let cpu = running.cpu()?.as_secs_f64();
        say(&format!(
            "up in {:.0} s (boot {}, {cpu:.0} CPU-seconds since power-on)",
            begin.elapsed().as_secs_f64(),
            &id[..8]
        ));
        Ok(())
    }

    /// The same, and meanwhile looks at the memory of the agent; gives the most that it took, in KiB.
    ///
    /// # Errors
    /// As [`Node::wait_boot`].
    pub fn watch_agent_until_boot(&mut self) -> Result<u64> {
        let pid = self.good(&[
            "systemctl",
            "show",
            "-P",
            "MainPID",
            "twinroot-agent.service",
        ])?;
        let file = format!("/proc/{}/status", pid.trim());
        let running = self.on()?;
        let before = running.boot_id().map(str::to_owned);
        let (mut most, mut looks) = (0, 0);
        running.wait("the restart", Deadline::seconds(UPDATE), |machine| {
            looks += 1;
            // Once a second: to look costs the guest time that it should spend on the update.
            if looks % 10 != 0 {
                return Ok(None);
            }
            // One that is going down does not answer.
            match machine.channel.get(&file, Deadline::seconds(5)) {
                Ok(text) => {
                    most = most.max(high_water(&text));
                    Ok(None)
                }
                Err(_) => {
                    let here = machine.channel.hello()?;
                    Ok(here.filter(|id| Some(id) != before.as_ref()).map(drop))
                }
            }
        })?;
        self.wait_boot()?;
        Ok(most)
    }

    /// Waits until this release runs, however many starts that takes, and whatever else came up
    /// meanwhile.
    ///
    /// # Errors
    /// When it does not within four starts' time.
    pub fn wait_running(&mut self, built: &Built) -> Result<()> {
        let deadline = Deadline::seconds(4 * BOOT);
        loop {
            self.wait_boot()?;
            // One that hangs may answer once and never again.
            match self.enforced_within(GLANCE) {
                Ok(enforced) if enforced.root_hash == built.root_hash => return Ok(()),
                other => ensure!(
                    !deadline.is_over(),
                    "{} does not run after {} s: {other:?}",
                    built.version,
                    deadline.length().as_secs()
                ),
            }
        }
    }

    /// Points the node to its repository, and lets its agent see that.
    ///
    /// # Errors
    /// When the guest refuses.
    pub fn follow(&mut self) -> Result<()> {
        let text = settings(&self.server);
        self.put("/etc/twinroot/config.d/90-vm.toml", text.as_bytes())?;
        self.look_now()
    }

    /// Publishes a release, offers it, and has the node look now instead of within a minute.
    ///
    /// # Errors
    /// What the publisher's program says.
    pub fn publish(&mut self, built: &Built) -> Result<()> {
        self.publish_with(built, "5s")
    }

    /// The same with a probation that the publisher asks for.
    ///
    /// # Errors
    /// What the publisher's program says.
    pub fn publish_with(&mut self, built: &Built, probation: &str) -> Result<()> {
        self.publisher.release(built, probation)?;
        self.look_now()
    }

    /// Has the agent look at its repository: it does so when it starts.
    ///
    /// # Errors
    /// When the guest refuses.
    pub fn look_now(&mut self) -> Result<()> {
        self.good(&["systemctl", "restart", "twinroot-agent.service"])
            .map(drop)
    }

    /// A person goes back to the release before, and the node restarts.
    ///
    /// # Errors
    /// When the guest refuses.
    pub fn go_back(&mut self, reason: &str) -> Result<()> {
        self.good(&["twinroot", "rollback", "--reason", reason])
            .map(drop)
    }

    /// Runs a program in the guest, whatever its exit code.
    ///
    /// # Errors
    /// When the guest does not answer.
    pub fn run(&mut self, argv: &[&str]) -> Result<Output> {
        self.on()?.channel.run(argv, Deadline::seconds(COMMAND))
    }

    /// Runs a program in the guest that must succeed; gives its standard output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn good(&mut self, argv: &[&str]) -> Result<String> {
        let output = self.run(argv)?;
        ensure!(
            output.code == 0,
            "`{}` in the guest ended with {}: {}{}",
            argv.join(" "),
            output.code,
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }

    /// Runs a shell script in the guest that must succeed.
    ///
    /// # Errors
    /// As [`Node::good`].
    pub fn sh(&mut self, script: &str) -> Result<String> {
        self.good(&["sh", "-ec", script])
    }

    /// Writes a file in the guest.
    ///
    /// # Errors
    /// When the guest refuses.
    pub fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.on()?
            .channel
            .put(path, bytes, Deadline::seconds(COMMAND))
    }

    /// A JSON answer of the node's program.
    ///
    /// # Errors
    /// When it prints none.
    pub fn json(&mut self, args: &[&str]) -> Result<Value> {
        // Proving slots reads and hashes all of both.
        self.json_within(args, UPDATE)
    }

    fn json_within(&mut self, args: &[&str], seconds: u64) -> Result<Value> {
        let mut argv = vec!["twinroot", "--json"];
        argv.extend(args);
        let output = self.on()?.channel.run(&argv, Deadline::seconds(seconds))?;
        serde_json::from_str(&output.stdout).with_context(|| {
            format!(
                "`{}` in the guest printed no JSON: {}{}",
                argv.join(" "),
                output.stdout,
                output.stderr
            )
        })
    }

    /// What the node's program says of the node.
    ///
    /// # Errors
    /// When it prints no status.
    pub fn status(&mut self) -> Result<Value> {
        self.json(&["status"])
    }

    /// The same of a node that may restart at any moment: what was asked then is never answered.
    fn status_if_up(&mut self) -> Result<Value> {
        let here = self.on()?.channel.hello()?;
        ensure!(here.is_some(), "nobody answers");
        self.json_within(&["status"], GLANCE)
    }

    /// Waits until the status fits.
    ///
    /// # Errors
    /// When it does not in time; with the last status.
    pub fn wait_status(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Deadline::seconds(UPDATE);
        let mut shown = String::new();
        loop {
            // A node that is restarting does not answer, and one that is coming up has no status yet.
            let last = self.status_if_up();
            let now = in_words(&last);
            if now != shown {
                say(&now);
                shown = now;
            }
            match &last {
                Ok(status) if fits(status) => return last,
                _ if deadline.is_over() => {
                    let last = last.map_or_else(|error| format!("{error:#}"), |s| s.to_string());
                    bail!(
                        "{what} did not come within {UPDATE} s; the last status: {last}\n{}",
                        self.journal_tail()
                    )
                }
                _ => {
                    self.on()?
                        .wait("the next look", Deadline::seconds(60), settle())?;
                }
            }
        }
    }

    /// Waits until this version runs, is blessed, and nothing is under way.
    ///
    /// # Errors
    /// As [`Node::wait_status`].
    pub fn wait_committed(&mut self, version: &str) -> Result<Value> {
        self.wait_status(&format!("commit of {version}"), |status| {
            status["booted"]["release"]["version"] == version && is_kept(status)
        })
    }

    /// Waits until it is idle on what it runs, with this version denied by itself.
    ///
    /// # Errors
    /// As [`Node::wait_status`].
    pub fn wait_denied(&mut self, version: &str) -> Result<Value> {
        self.wait_status(&format!("denial of {version}"), |status| {
            let denied = status["denied"].as_array().into_iter().flatten();
            let named = |denied: &Value| {
                denied["release"]["version"] == version && denied["automatic"] == true
            };
            denied.into_iter().any(named) && status["phase"] == "idle"
        })
    }

    /// Kernel panics on the console since power-on.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn panics(&mut self) -> Result<usize> {
        let console = &mut self.on()?.console;
        console.poll()?;
        let panic = |line: &&crate::qemu::Line| line.text.contains("Kernel panic - not syncing");
        Ok(console.lines().iter().filter(panic).count())
    }

    /// What the guest's kernel enforces for `/`, by tools that are not ours.
    ///
    /// # Errors
    /// When the guest has no dm-verity root.
    pub fn enforced(&mut self) -> Result<Enforced> {
        self.enforced_within(COMMAND)
    }

    fn enforced_within(&mut self, seconds: u64) -> Result<Enforced> {
        let argv = ["sh", "-ec", Enforced::SCRIPT];
        let output = self.on()?.channel.run(&argv, Deadline::seconds(seconds))?;
        Enforced::parse(&output.stdout).with_context(|| output.stderr)
    }

    /// Fails unless the kernel enforces this release's root hash, over this slot.
    ///
    /// # Errors
    /// What is wrong.
    pub fn expect_enforced(&mut self, built: &Built, slot: &str) -> Result<()> {
        let enforced = self.enforced()?;
        let wanted = [format!("root-{slot}"), format!("root-{slot}-verity")];
        ensure!(
            enforced.version == built.version
                && enforced.root_hash == built.root_hash
                && wanted.iter().all(|name| enforced.partitions.contains(name)),
            "the kernel enforces {enforced:?}; {} with root hash {} over slot {slot} should run",
            built.version,
            built.root_hash
        );
        Ok(())
    }

    /// Switches the machine off in good order, and gives its disk.
    ///
    /// # Errors
    /// When it does not go off.
    pub fn power_off(&mut self) -> Result<RawDisk> {
        // The answer may be lost with the machine.
        drop(self.run(&["systemctl", "--no-block", "poweroff"]));
        let running = self.running.take().context("the machine is off")?;
        running.wait_off(Deadline::seconds(BOOT))?;
        RawDisk::of(&self.machine)
    }

    /// Cuts the power, and gives the disk.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn cut(&mut self) -> Result<RawDisk> {
        self.running.take().context("the machine is off")?.cut();
        RawDisk::of(&self.machine)
    }

    /// The last lines of the journal, as evidence; says so where there are none.
    pub fn journal_tail(&mut self) -> String {
        let argv = [
            "journalctl",
            "--no-pager",
            "-b",
            "-n",
            "60",
            "-o",
            "short-monotonic",
        ];
        match self.run(&argv) {
            Ok(output) => output.stdout,
            Err(error) => format!("(no journal: {error:#})"),
        }
    }

    /// The scenario has seen what it wanted: nothing needs to be kept.
    pub const fn passed(&mut self) {
        self.passed = true;
    }
}

impl Drop for Node {
    /// What tells of a failure is kept: the journal, beside the console's log.
    fn drop(&mut self) {
        let Some(running) = self.running.as_mut().filter(|_| !self.passed) else {
            return;
        };
        let argv = ["journalctl", "--no-pager", "-o", "short-monotonic"];
        // A guest that is gone or hangs has no journal to give.
        if let Ok(output) = running.channel.run(&argv, Deadline::seconds(30))
            && let Err(error) =
                std::fs::write(self.machine.folder().join("journal.log"), output.stdout)
        {
            eprintln!("vm: the journal is not kept: {error}");
        }
    }
}

/// Nothing is under way on a release that is blessed. One that is being left has no entry any more, and a
/// look past its agent in the last moments before the restart calls it idle.
pub(crate) fn is_kept(status: &Value) -> bool {
    let booted = &status["booted"];
    status["phase"] == "idle"
        && booted["entry"].is_string()
        && booted["tries"].is_null()
        && booted["denied"] != true
}

/// `VmHWM` of `/proc/PID/status`, in KiB; nothing of a process that has ended.
fn high_water(status: &[u8]) -> u64 {
    String::from_utf8_lossy(status)
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// One look later: gives something at the second look, a tenth of a second after the first.
fn settle() -> impl FnMut(&mut Running) -> Result<Option<()>> {
    let mut looks = 0;
    move |_| {
        looks += 1;
        Ok((looks > 10).then_some(()))
    }
}
