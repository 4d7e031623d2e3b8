//! A running agent, looked at from outside.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long the agent may take to answer or to come to rest: seconds on an idle machine, more on this one.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at it while it is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// For so long nothing may wake for it to be at rest: a client library's pool lets an idle connection go
/// after ten seconds.
const REST: Duration = Duration::from_secs(15);

/// An agent on a machine in files; it ends with this value.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    run: PathBuf,
}

/// Its memory in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident.
    pub resident: u64,
    /// Resident and backed by no file.
    pub anonymous: u64,
}

impl Agent {
    /// Starts it by that command.
    pub fn start(mut command: Command, machine: &Path) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the agent")?;
        Ok(Self {
            child,
            run: machine.join("run"),
        })
    }

    /// Waits until it has looked at the repository once.
    pub fn ready(&self) -> Result<()> {
        self.until("it has looked once", || {
            let figures = self.ask("read.sock", "GET", "/metrics").unwrap_or_default();
            let line = figures
                .lines()
                .find_map(|l| l.strip_prefix("twinroot_checks_total "));
            Ok(line.is_some_and(|count| count != "0"))
        })
    }

    /// Has it look now.
    pub fn check(&self) -> Result<()> {
        let answer = self.ask("control.sock", "POST", "/v1/check")?;
        if !answer.starts_with("HTTP/1.1 200") {
            bail!("the agent did not check: {answer}");
        }
        Ok(())
    }

    /// Waits until nothing of it wakes any more.
    pub fn settle(&self) -> Result<()> {
        let mut last = (self.wakeups()?, Instant::now());
        self.until("it has come to rest", || {
            let now = self.wakeups()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
            Ok(last.1.elapsed() > REST)
        })
    }

    /// How often any of its threads has slept so far, which is how often one was woken.
    pub fn wakeups(&self) -> Result<u64> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut sum = 0;
        for task in
            std::fs::read_dir(&tasks).with_context(|| format!("{tasks}: the agent is gone"))?
        {
            let path = task
                .context("a thread cannot be listed")?
                .path()
                .join("status");
            // A thread that ends meanwhile has woken for the last time.
            let Ok(status) = std::fs::read_to_string(path) else {
                continue;
            };
            sum += number(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(sum)
    }

    /// Its memory now.
    pub fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.child.id());
        let status =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(Memory {
            resident: number(&status, "VmRSS:")? << 10,
            anonymous: number(&status, "RssAnon:")? << 10,
        })
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        while !holds()? {
            if begin.elapsed() > PATIENCE {
                bail!("the agent: {what}: not within {PATIENCE:?}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn ask(&self, socket: &str, method: &str, path: &str) -> Result<String> {
        let socket = self.run.join(socket);
        let mut stream = UnixStream::connect(&socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .context("the agent does not listen")?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("the agent does not answer")?;
        Ok(answer)
    }
}

/// The number of a line of a `status` file of `/proc`.
fn number(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let digits = line.and_then(|rest| rest.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("the kernel says nothing of {name}"))
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
