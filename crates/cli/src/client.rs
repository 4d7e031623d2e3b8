//! Speaks to the running agent over its sockets: one request a connection, HTTP/1.1 in its simplest
//! form. The other end is always our own server, so that a client library would bring more than it
//! saves; what is not understood is refused.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::{ActBody, Action, ErrorAnswer};
use twinroot_host::sockets::{CONTROL, READ};
use twinroot_ports::Outcome;

/// Longest answer that is read: a thousand lines of history have less than 1 MiB.
const ANSWER: u64 = 4 << 20;

/// Where the sockets of a machine's agent lie.
pub(crate) fn run_folder(machine: Option<&Path>) -> PathBuf {
    machine.map_or_else(|| PathBuf::from("/run/twinroot"), |dir| dir.join("run"))
}

/// A connection to the agent.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    stream: UnixStream,
}

impl Client {
    /// Connects to the agent's control socket; nothing where no agent runs.
    ///
    /// # Errors
    /// `not-permitted` where one runs and this user may not speak to it.
    pub(crate) fn of_agent(machine: Option<&Path>) -> Outcome<Option<Self>> {
        Self::connect(run_folder(machine).join(CONTROL))
    }

    /// The same to its read socket.
    ///
    /// # Errors
    /// As [`Client::of_agent`].
    pub(crate) fn to_look(machine: Option<&Path>) -> Outcome<Option<Self>> {
        Self::connect(run_folder(machine).join(READ))
    }

    /// An answer of the read socket as it came.
    ///
    /// # Errors
    /// Also where no agent runs, or its answer is no success.
    pub(crate) fn text(machine: Option<&Path>, path: &str) -> Outcome<Vec<u8>> {
        let away = || Failure::new(Code::NotNow, "the agent", "it does not run");
        Self::to_look(machine)?
            .ok_or_else(away)?
            .succeed("GET", path, "")
    }

    fn connect(socket: PathBuf) -> Outcome<Option<Self>> {
        let failed = |code, error: std::io::Error| {
            Failure::new(code, socket.display().to_string(), error.to_string())
        };
        match UnixStream::connect(&socket) {
            Ok(stream) => Ok(Some(Self { socket, stream })),
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
                ErrorKind::PermissionDenied => Err(failed(Code::NotPermitted, error)),
                _ => Err(failed(Code::FileIo, error)),
            },
        }
    }

    /// Waits no longer than that for an answer, or for its next part.
    pub(crate) fn within(self, time: Duration) -> Outcome<Self> {
        let failed = |e: std::io::Error| {
            Failure::new(
                Code::FileIo,
                self.socket.display().to_string(),
                e.to_string(),
            )
        };
        self.stream.set_read_timeout(Some(time)).map_err(failed)?;
        Ok(self)
    }

    /// Asks for something to be done.
    pub(crate) fn act<T: DeserializeOwned>(self, action: Action, body: &ActBody) -> Outcome<T> {
        let body = serde_json::to_string(body)
            .map_err(|e| Failure::new(Code::Internal, "the request", e.to_string()))?;
        self.ask("POST", &format!("/v1/{}", action.as_str()), &body)
    }

    /// Looks at something.
    pub(crate) fn look<T: DeserializeOwned>(self, path: &str) -> Outcome<T> {
        self.ask("GET", path, "")
    }

    fn ask<T: DeserializeOwned>(self, method: &str, path: &str, body: &str) -> Outcome<T> {
        let socket = self.socket.clone();
        let body = self.succeed(method, path, body)?;
        serde_json::from_slice(&body).map_err(|e| broken(&socket, e.to_string()))
    }

    /// The body of an answer that is a success; else the agent's own error.
    fn succeed(self, method: &str, path: &str, body: &str) -> Outcome<Vec<u8>> {
        let socket = self.socket.clone();
        let (status, body) = self.exchange(method, path, body)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let error = serde_json::from_slice::<ErrorAnswer>(&body);
        Err(error.map_or_else(
            |e| {
                broken(
                    &socket,
                    format!("{method} {path} gave status {status}: {e}"),
                )
            },
            |answer| answer.error,
        ))
    }

    /// One request, one answer: its status and body.
    fn exchange(mut self, method: &str, path: &str, body: &str) -> Outcome<(u16, Vec<u8>)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: twinroot\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let broken = |cause| broken(&self.socket, cause);
        let mut answer = Vec::new();
        self.stream
            .write_all(request.as_bytes())
            .map_err(|e| broken(e.to_string()))?;
        (&mut self.stream)
            .take(ANSWER)
            .read_to_end(&mut answer)
            .map_err(|e| broken(e.to_string()))?;
        let (status, body) = parts(&answer)
            .ok_or_else(|| broken(String::from("the answer is no HTTP with a length")))?;
        Ok((status, body.to_vec()))
    }
}

fn broken(socket: &Path, cause: String) -> Failure {
    Failure::new(Code::FileIo, socket.display().to_string(), cause)
        .with_remedy("look at the agent: `systemctl status twinroot-agent`")
}

/// Status and body of an answer with a `Content-Length`, which must be the whole rest.
fn parts(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let body = &answer[end + 4..];
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length
            .then(|| value.trim().parse::<usize>().ok())
            .flatten()
    })?;
    (length == body.len()).then_some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_and_a_cut_one_is_refused() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parts(answer), Some((200, &b"{}"[..])));
        assert_eq!(parts(&answer[..answer.len() - 1]), None);
        assert_eq!(parts(b"HTTP/1.1 200 OK\r\n\r\n{}"), None);
        assert_eq!(parts(b"SSH-2.0\r\n\r\n"), None);
    }
}
