//! EFI variables: durable when the write returns. The firmware keeps what it was given.

use std::collections::BTreeMap;

use twinroot_payload::io::Fault;

/// The variables that the loader and the Boot Loader Interface use, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Variables {
    durable: BTreeMap<String, Vec<u8>>,
    /// What the loader sets for this boot alone (`LoaderEntrySelected` and its like).
    volatile: BTreeMap<String, Vec<u8>>,
    /// Writes fail: full or write-protected store.
    pub read_only: bool,
    /// A power cut loses them all: an empty battery, or a virtual machine that is moved without them.
    pub forgetful: bool,
}

impl Variables {
    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.volatile.get(name).or_else(|| self.durable.get(name));
        found.map(Vec::as_slice)
    }

    /// A variable's value as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        String::from_utf8(self.get(name)?.to_vec()).ok()
    }

    /// Sets or, with `None`, deletes a durable variable.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Fault> {
        if self.read_only {
            return Err(Fault::disk(format!(
                "{name}: the variable store is write-protected"
            )));
        }
        match value {
            Some(value) => self
                .durable
                .insert(name.to_owned(), value.as_bytes().to_vec()),
            None => self.durable.remove(name),
        };
        Ok(())
    }

    /// Sets a variable of this boot alone.
    pub fn set_volatile(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self
                .volatile
                .insert(name.to_owned(), value.as_bytes().to_vec()),
            None => self.volatile.remove(name),
        };
    }

    /// The firmware starts: variables of the last boot are gone.
    pub fn restart(&mut self) {
        self.volatile.clear();
    }

    /// The power has gone.
    pub fn power_cut(&mut self) {
        self.restart();
        if self.forgetful {
            self.durable.clear();
        }
    }

    /// What survives.
    #[must_use]
    pub const fn durable(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.durable
    }
}
