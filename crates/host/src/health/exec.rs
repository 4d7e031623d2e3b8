//! The only place on a node that starts a process: checks of the kind `exec`.
//!
//! A check may hang, fork, flood its output or ignore signals. It gets a process group of its own
//! that is killed as a whole when it ends or its time is up, an environment of nothing but `PATH`,
//! and an output of which the tail is kept.

use std::io::{PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use twinroot_core::health::Outcome as Ended;

use super::Answer;

/// How much of the output is kept: its end, where programs say why they failed.
const TAIL: usize = 4096;

/// How long the output of a program that has ended is waited for. It matters only where something
/// left the process group and holds the pipe open.
const DRAIN: Duration = Duration::from_millis(200);

/// Runs `command` (absolute path and arguments) for at most `timeout`.
#[must_use]
pub fn run(command: &[String], timeout: Duration) -> (Ended, String) {
    let Some((program, arguments)) = command.split_first() else {
        return (Ended::NotRun, String::from("no program is named"));
    };
    match start(program, arguments) {
        Err(error) => (Ended::NotRun, format!("{program}: {error}")),
        Ok((child, output)) => judge(program, child, output, timeout),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one spawner of a node")]
fn start(program: &str, arguments: &[String]) -> std::io::Result<(Child, PipeReader)> {
    let (reader, writer) = std::io::pipe()?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((child, reader))
}

fn judge(program: &str, child: Child, output: PipeReader, timeout: Duration) -> Answer {
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (tail, drained) = collect(output);
    let ended = wait(child, timeout, || {
        if let Ok(group) = group {
            // ESRCH: the group has ended by itself.
            let _ = killpg(group, Signal::SIGKILL);
        }
    });
    let _ = drained.recv_timeout(DRAIN);
    let kept = tail
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone();
    let said = String::from_utf8_lossy(&kept);
    let said = said.trim();
    let separator = if said.is_empty() { "" } else { ": " };
    match ended {
        None => (
            Ended::Failed,
            format!("{program} took longer than {timeout:?}{separator}{said}"),
        ),
        Some(status) if status.success() => (Ended::Passed, format!("{program} ended well")),
        Some(status) => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("ended with {code}"),
                (None, Some(signal)) => format!("was ended by signal {signal}"),
                (None, None) => String::from("ended in an unknown way"),
            };
            (Ended::Failed, format!("{program} {how}{separator}{said}"))
        }
    }
}

/// Waits, then kills what is left of the group in any case. `None` where the time was up.
///
/// The program is reaped only after the kill: until then its number, which is the group's, cannot be
/// given to anybody else.
fn wait(mut child: Child, timeout: Duration, kill: impl Fn()) -> Option<ExitStatus> {
    let (send, ended) = channel();
    let (reap, killed) = channel::<()>();
    let (reaped, status) = channel();
    let id = i32::try_from(child.id()).map(Pid::from_raw).ok()?;
    // The thread outlives this call only if the kernel cannot kill the process (stuck in I/O).
    std::thread::spawn(move || {
        let exited = waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        let _ = send.send(exited.is_ok());
        let _ = killed.recv();
        let _ = reaped.send(child.wait().ok());
    });
    let in_time = ended.recv_timeout(timeout).unwrap_or(false);
    kill();
    drop(reap);
    if in_time {
        status.recv().ok().flatten()
    } else {
        None
    }
}

/// Reads the pipe on a thread of its own, so that a flood never blocks the program nor fills memory.
fn collect(mut output: PipeReader) -> (Arc<Mutex<Vec<u8>>>, std::sync::mpsc::Receiver<()>) {
    let tail = Arc::new(Mutex::new(Vec::new()));
    let (done, drained) = channel();
    let kept = Arc::clone(&tail);
    std::thread::spawn(move || {
        let mut piece = [0; TAIL];
        while let Ok(count @ 1..) = output.read(&mut piece) {
            let mut kept = kept
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            kept.extend_from_slice(&piece[..count]);
            let excess = kept.len().saturating_sub(TAIL);
            kept.drain(..excess);
        }
        let _ = done.send(());
    });
    (tail, drained)
}
