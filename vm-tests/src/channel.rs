//! The host's end of the command channel into a guest.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::host::Deadline;
use twinroot_vm_guest::wire::{Answer, Ask, CHUNK, Request, Said};

/// How long one HELLO waits before the next: a guest that listens answers in well under a second,
/// even with an emulated processor on a loaded host.
const HELLO: Duration = Duration::from_secs(2);

/// What a program in the guest said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A connection, kept over the guest's restarts: the port takes one client, and a second one would
/// wait unseen.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    answers: Receiver<Answer>,
    next: u64,
}

impl Channel {
    /// Connects to QEMU's socket of the port.
    ///
    /// # Errors
    /// When the socket does not take the connection.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let (send, answers) = channel();
        // Ends with the connection.
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                // Anything else is what a boot that is gone was cut off in.
                if let Ok(answer) = serde_json::from_slice(&line)
                    && send.send(answer).is_err()
                {
                    return;
                }
                line.clear();
            }
        });
        Ok(Self {
            stream,
            answers,
            next: 1,
        })
    }

    /// Asks who is there; `None` where nobody answers in time.
    ///
    /// # Errors
    /// When QEMU has hung up.
    pub fn hello(&mut self) -> Result<Option<String>> {
        let id = self.send(Ask::Hello)?;
        match self.answer(id, HELLO)? {
            Some(Said::Here { boot_id }) => Ok(Some(boot_id)),
            Some(other) => bail!("HELLO was answered with {other:?}"),
            None => Ok(None),
        }
    }

    /// Runs a program in the guest to its end, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be started there, or has not ended by the deadline.
    pub fn run(&mut self, argv: &[&str], deadline: Deadline) -> Result<Output> {
        let line = argv.join(" ");
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        match self.ask(Ask::Run { argv }, deadline, &line)? {
            Said::Ended {
                code,
                stdout,
                stderr,
            } => Ok(Output {
                code,
                stdout: text(&stdout)?,
                stderr: text(&stderr)?,
            }),
            other => bail!("`{line}` in the guest: {other:?}"),
        }
    }

    /// The bytes of a file of the guest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&mut self, path: &str, deadline: Deadline) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let ask = Ask::Get {
                path: path.to_owned(),
                offset: all.len() as u64,
            };
            match self.ask(ask, deadline, path)? {
                Said::Bytes { bytes } => {
                    let bytes = STANDARD.decode(bytes).context("the guest sent no base64")?;
                    all.extend_from_slice(&bytes);
                    if bytes.len() < CHUNK {
                        return Ok(all);
                    }
                }
                other => bail!("reading {path} in the guest: {other:?}"),
            }
        }
    }

    /// Writes a file in the guest, folders included.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, path: &str, bytes: &[u8], deadline: Deadline) -> Result<()> {
        let mut offset = 0;
        loop {
            let end = bytes.len().min(offset + CHUNK);
            let ask = Ask::Put {
                path: path.to_owned(),
                offset: offset as u64,
                bytes: STANDARD.encode(&bytes[offset..end]),
            };
            match self.ask(ask, deadline, path)? {
                Said::Done => offset = end,
                other => bail!("writing {path} in the guest: {other:?}"),
            }
            if offset == bytes.len() {
                return Ok(());
            }
        }
    }

    /// Sets the guest's wall clock.
    ///
    /// # Errors
    /// When the guest refuses.
    pub fn set_clock(&mut self, seconds: i64, deadline: Deadline) -> Result<()> {
        match self.ask(Ask::SetClock { seconds }, deadline, "the clock")? {
            Said::Done => Ok(()),
            other => bail!("setting the guest's clock: {other:?}"),
        }
    }

    fn ask(&mut self, ask: Ask, deadline: Deadline, what: &str) -> Result<Said> {
        let id = self.send(ask)?;
        self.answer(id, deadline.left())?.ok_or_else(|| {
            anyhow!(
                "no answer from the guest within {} s: {what}",
                deadline.length().as_secs()
            )
        })
    }

    fn send(&mut self, ask: Ask) -> Result<u64> {
        let id = self.next;
        self.next += 1;
        // The newline before ends whatever an earlier write was cut off in.
        let mut line = vec![b'\n'];
        line.extend(serde_json::to_vec(&Request { id, ask })?);
        line.push(b'\n');
        // A guest that is down does not read; QEMU's buffer must not hold this thread for ever.
        self.stream.set_write_timeout(Some(HELLO))?;
        match self.stream.write_all(&line) {
            Ok(()) => Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(id),
            Err(error) => Err(error).context("the machine's command channel is closed"),
        }
    }

    fn answer(&mut self, id: u64, wait: Duration) -> Result<Option<Said>> {
        let end = std::time::Instant::now() + wait;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(answer) if answer.id == id => return Ok(Some(answer.said)),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the machine's command channel is closed: QEMU has ended")
                }
            }
        }
    }
}

fn text(base64: &str) -> Result<String> {
    let bytes = STANDARD
        .decode(base64)
        .context("the guest sent no base64")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
