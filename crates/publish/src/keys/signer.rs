//! The seam for signing: a key file, or a program that speaks to wherever the key lives.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;

use super::{PublicKey, SecretKey, unhex};
use crate::error::{Error, Result};

/// Whoever can put a signature under bytes.
pub trait Signer: fmt::Debug {
    /// The key it signs with, where it is known beforehand. An external program may not say; then
    /// the signature itself shows whose it is.
    fn public(&self) -> Option<&PublicKey>;

    /// Signs the canonical bytes of a document.
    ///
    /// # Errors
    /// [`Error::SignerFailed`] with what the signer said.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>>;

    /// How to name it in messages.
    fn describe(&self) -> String;
}

/// A key that was read from a file.
#[derive(Debug)]
pub struct KeySigner {
    name: String,
    public: PublicKey,
    secret: SecretKey,
}

impl KeySigner {
    /// A signer of that name.
    pub fn new(name: impl Into<String>, secret: SecretKey) -> Self {
        Self {
            name: name.into(),
            public: secret.public(),
            secret,
        }
    }
}

impl Signer for KeySigner {
    fn public(&self) -> Option<&PublicKey> {
        Some(&self.public)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        Ok(self.secret.sign(message))
    }

    fn describe(&self) -> String {
        format!("key {}", self.name)
    }
}

/// An external program: canonical bytes on its standard input, the signature in hex or base64 on
/// its standard output. It is run directly, not by a shell.
#[derive(Debug, Clone)]
pub struct CommandSigner {
    command: Vec<String>,
}

impl CommandSigner {
    /// A signer that runs this program with these arguments.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no program.
    pub fn new(command: Vec<String>) -> Result<Self> {
        if command.is_empty() {
            return Err(Error::argument("signer command", "it is empty"));
        }
        Ok(Self { command })
    }

    fn failed(&self, why: impl ToString) -> Error {
        Error::SignerFailed {
            command: self.command.join(" "),
            why: why.to_string(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the publisher's side talks to HSMs and vaults through their own programs; it never runs on a node"
    )]
    fn run(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|cause| self.failed(format!("cannot start: {cause}")))?;
        let mut input = child.stdin.take().expect("standard input is piped");
        // On a thread of its own: a signer that answers before it has read everything must not
        // block both sides. A closed pipe is the signer's affair; its signature is checked anyway.
        let answer = std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(message));
            child.wait_with_output()
        })
        .map_err(|cause| self.failed(cause))?;
        match answer.status.success() {
            true => Ok(answer.stdout),
            false => Err(self.failed(format!("ended with {}", answer.status))),
        }
    }
}

impl Signer for CommandSigner {
    fn public(&self) -> Option<&PublicKey> {
        None
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let output = self.run(message)?;
        let text = String::from_utf8_lossy(&output);
        let text: String = text.split_whitespace().collect();
        // Hex first: an ed25519 signature in hex is also valid base64, the reverse does not happen
        // (64 bytes of base64 that are all hex digits: chance (22/64)^86).
        unhex(&text)
            .or_else(|| base64::engine::general_purpose::STANDARD.decode(&text).ok())
            .filter(|signature| !signature.is_empty())
            .ok_or_else(|| self.failed("its output is neither hex nor base64"))
    }

    fn describe(&self) -> String {
        format!("command `{}`", self.command.join(" "))
    }
}
