//! A machine that is on.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use super::console::Console;
use super::machine::dies_with_us;
use super::qmp::Qmp;
use crate::channel::Channel;
use crate::host::{Deadline, tool};

/// How often a condition is looked at: conditions here take seconds, and a look costs microseconds.
const LOOK: Duration = Duration::from_millis(100);
/// A machine that prints nothing and computes nothing for so long during its start stands still.
/// Three of 140 firmware starts did so when the recipe was measured, for 90 s and more.
const STALL: Duration = Duration::from_secs(60);
/// Processor time below which a machine computes nothing: an idle guest's timer takes 1 to 2 %.
const STALL_CPU: Duration = Duration::from_millis(600);

/// The machine stood still for reasons outside it: no line on its console, no processor time used.
#[derive(Debug)]
pub struct InfraStall(String);

impl std::fmt::Display for InfraStall {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "infra-stall: {}", self.0)
    }
}

impl std::error::Error for InfraStall {}

/// A machine that is on; it is off when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    tpm: Option<Child>,
    /// QEMU's control.
    pub qmp: Qmp,
    /// Commands to the guest.
    pub channel: Channel,
    /// What it prints.
    pub console: Console,
    boot_id: Option<String>,
    _sockets: TempDir,
}

impl Running {
    pub(super) fn start(
        words: &[String],
        console: &Path,
        sockets: TempDir,
        tpm: Option<Child>,
    ) -> Result<Self> {
        let qemu = tool("qemu-system-x86_64")
            .context("qemu-system-x86_64 is missing (package qemu-system-x86)")?;
        let said = console.with_extension("qemu.log");
        let errors = std::fs::File::create(&said)?;
        let mut command = dies_with_us(&qemu);
        command.args(words).stdin(Stdio::null());
        command.stdout(errors.try_clone()?).stderr(errors);
        std::fs::write(
            console.with_extension("command"),
            crate::host::line_of(&command),
        )?;
        let mut child = command.spawn().context("cannot start QEMU")?;
        let opened = connect(&mut child, &said, sockets.path());
        let (qmp, channel) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                end(&mut child);
                tpm.into_iter().for_each(|mut tpm| end(&mut tpm));
                return Err(error);
            }
        };
        Ok(Self {
            child,
            tpm,
            qmp,
            channel,
            console: Console::follow(console),
            boot_id: None,
            _sockets: sockets,
        })
    }

    /// Waits until `found` gives something, looking again and again.
    ///
    /// # Errors
    /// What `found` says; when the time is over; when QEMU has ended.
    pub fn wait<T>(
        &mut self,
        what: &str,
        deadline: Deadline,
        mut found: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        loop {
            self.console.poll()?;
            if let Some(found) = found(self)? {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("QEMU ended ({status}) while waiting for {what}");
            }
            if deadline.is_over() {
                bail!(
                    "{what} did not happen within {} s; the console's last lines:\n{}",
                    deadline.length().as_secs(),
                    self.console.tail(12)
                );
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Waits for a line of the console, from line number `from` on, that contains one of the texts.
    /// Gives the number of the line after it.
    ///
    /// # Errors
    /// As [`Running::wait`], and `infra-stall`.
    pub fn wait_line(&mut self, from: usize, texts: &[&str], deadline: Deadline) -> Result<usize> {
        let what = format!("'{}' on the console", texts.join("' or '"));
        let mut watch = Watch::new();
        self.wait(&what, deadline, |machine| {
            let fits = |text: &str| texts.iter().any(|wanted| text.contains(wanted));
            let lines = machine.console.lines();
            let ended = (from..lines.len()).find(|&at| fits(&lines[at].text));
            let at = ended.or_else(|| fits(&machine.console.unfinished()).then_some(lines.len()));
            watch.look(machine)?;
            Ok(at.map(|at| at + 1))
        })
    }

    /// Waits until the guest's command server answers in another boot than the last one that was
    /// waited for. Gives the boot's id.
    ///
    /// # Errors
    /// As [`Running::wait`], and `infra-stall`.
    pub fn wait_boot(&mut self, deadline: Deadline) -> Result<String> {
        let mut watch = Watch::new();
        let last = self.boot_id.clone();
        let id = self.wait("a new boot of the guest", deadline, |machine| {
            let here = machine.channel.hello()?;
            match &here {
                // Whoever answers does not stand still, and a service manager that hangs says nothing more.
                Some(_) => watch = Watch::new(),
                None => watch.look(machine)?,
            }
            Ok(here.filter(|id| Some(id) != last.as_ref()))
        })?;
        self.boot_id = Some(id.clone());
        Ok(id)
    }

    /// Id of the boot that was waited for last.
    #[must_use]
    pub fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }

    /// Cuts the power.
    pub fn cut(self) {
        drop(self);
    }

    /// Presses reset.
    ///
    /// # Errors
    /// QEMU's words.
    pub fn reset(&mut self) -> Result<()> {
        self.qmp.execute("system_reset", json!({})).map(drop)
    }

    /// Waits until the machine has switched itself off.
    ///
    /// # Errors
    /// When it has not by the deadline.
    pub fn wait_off(mut self, deadline: Deadline) -> Result<()> {
        while self.child.try_wait()?.is_none() {
            if deadline.is_over() {
                bail!(
                    "the machine is not off after {} s",
                    deadline.length().as_secs()
                );
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Processor time that QEMU has used so far.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn cpu(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("no {path}"))?;
        // Fields 14 and 15, counted after the name, which may hold spaces but ends with ')'.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        // USER_HZ is 100 on every architecture that Linux runs on here (getconf CLK_TCK).
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
        if let Some(tpm) = &mut self.tpm {
            end(tpm);
        }
        // What came last, for whoever reads the log afterwards; the file itself has it anyway.
        drop(self.console.poll());
    }
}

fn end(child: &mut Child) {
    // Fails only where it has ended already.
    drop(child.kill());
    drop(child.wait());
}

/// Connects to both sockets once QEMU has made them.
fn connect(child: &mut Child, said: &Path, sockets: &Path) -> Result<(Qmp, Channel)> {
    let deadline = Deadline::seconds(60);
    let (qmp, guest) = (sockets.join("qmp"), sockets.join("guest"));
    while !(qmp.exists() && guest.exists()) {
        if let Some(status) = child.try_wait()? {
            let said = std::fs::read_to_string(said).unwrap_or_default();
            bail!("QEMU ended at once ({status}): {}", said.trim());
        }
        if deadline.is_over() {
            bail!("QEMU made no sockets within 60 s");
        }
        std::thread::park_timeout(LOOK);
    }
    let channel = Channel::connect(&guest)?;
    Ok((Qmp::connect(&qmp)?, channel))
}

/// Sees a machine stand still.
struct Watch {
    since: Instant,
    bytes: u64,
    cpu: Duration,
}

impl Watch {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            bytes: u64::MAX,
            cpu: Duration::ZERO,
        }
    }

    fn look(&mut self, machine: &mut Running) -> Result<()> {
        let (bytes, cpu) = (machine.console.poll()?, machine.cpu()?);
        if bytes != self.bytes || cpu.saturating_sub(self.cpu) > STALL_CPU {
            *self = Self {
                since: Instant::now(),
                bytes,
                cpu,
            };
            return Ok(());
        }
        if self.since.elapsed() < STALL {
            return Ok(());
        }
        let state = machine.qmp.execute("query-status", json!({}))?;
        Err(InfraStall(format!(
            "no line on the console and {} ms of processor time in {} s (QEMU says {state}); \
             the last lines:\n{}",
            cpu.saturating_sub(self.cpu).as_millis(),
            STALL.as_secs(),
            machine.console.tail(5)
        ))
        .into())
    }
}
