//! Whoever can sign from here: the key directory, and commands for keys that live elsewhere.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::keys::{CommandSigner, KeyDirectory, Signer};

/// Signers by key name.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    directory: Option<KeyDirectory>,
    commands: BTreeMap<String, CommandSigner>,
}

impl Ring {
    /// A ring with the keys of a directory.
    pub fn new(directory: Option<KeyDirectory>) -> Self {
        Self {
            directory,
            commands: BTreeMap::new(),
        }
    }

    /// Lets a command sign for the key of this name; it goes before a key file.
    pub fn add_command(&mut self, name: impl Into<String>, signer: CommandSigner) {
        self.commands.insert(name.into(), signer);
    }

    /// The signer for a key name; `None` when the key is not at hand.
    ///
    /// # Errors
    /// When the key file is there and cannot be opened: that must not look like a missing key.
    pub fn signer(&self, name: &str) -> Result<Option<Box<dyn Signer>>> {
        if let Some(command) = self.commands.get(name) {
            return Ok(Some(Box::new(command.clone())));
        }
        match &self.directory {
            Some(directory) if directory.has_secret(name) => {
                Ok(Some(Box::new(directory.signer(name)?)))
            }
            _ => Ok(None),
        }
    }

    /// Where key files are looked for, for messages.
    pub fn place(&self) -> std::path::PathBuf {
        self.directory
            .as_ref()
            .map_or_else(|| "no key directory".into(), |keys| keys.path().to_owned())
    }
}
