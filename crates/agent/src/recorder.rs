//! Records and saved state through the `Store` port: two copies each, the newest whole one counts.

use serde::Serialize;
use serde::de::DeserializeOwned;
use twinroot_core::envelope;
use twinroot_core::records::{RecordChange, Records};
use twinroot_core::update::Saved;
use twinroot_ports::{Code, Failure, Outcome, Store};

/// Name of the records: floor, deny list, pin, pause, known releases, trusted time.
pub const RECORDS: &str = "records";
/// Name of the saved state.
pub const STATE: &str = "state";

/// What is known of one record on the disk.
#[derive(Debug)]
struct Slot {
    name: &'static str,
    sequence: u64,
}

impl Slot {
    fn load<T: DeserializeOwned>(
        store: &dyn Store,
        name: &'static str,
    ) -> Outcome<(Self, Option<T>)> {
        let mut copies = Vec::new();
        for copy in envelope::copies(name) {
            copies.push(store.read(&copy)?);
        }
        let opened = envelope::newest::<T>(&copies);
        let sequence = opened.as_ref().map_or(0, |o| o.sequence);
        Ok((Self { name, sequence }, opened.map(|o| o.value)))
    }

    /// Both copies get the new content, one after the other: a cut between them leaves a whole new
    /// and a whole old one, and damage to one file later loses nothing.
    fn save<T: Serialize>(&mut self, store: &dyn Store, value: &T) -> Outcome<()> {
        self.sequence += 1;
        let bytes = envelope::seal(self.sequence, value)?;
        for copy in envelope::copies(self.name) {
            store.write(&copy, &bytes)?;
        }
        Ok(())
    }
}

/// Keeps records and saved state.
#[derive(Debug)]
pub(crate) struct Recorder {
    records: Slot,
    state: Slot,
    damaged: bool,
}

impl Recorder {
    /// Reads both. Damaged records are an error only if there was something: a fresh machine has
    /// none, and then the stamp in the booted image is the floor.
    pub(crate) fn load(store: &dyn Store) -> Outcome<(Self, Records, Option<Saved>)> {
        let (records, found) = Slot::load::<Records>(store, RECORDS)?;
        let (state, saved) = Slot::load::<Saved>(store, STATE)?;
        let damaged = found.is_none() && store.read(&envelope::copies(RECORDS)[0])?.is_some();
        Ok((
            Self {
                records,
                state,
                damaged,
            },
            found.unwrap_or_default(),
            saved,
        ))
    }

    /// Both copies of the records were there and neither could be read.
    pub(crate) const fn damaged(&self) -> bool {
        self.damaged
    }

    pub(crate) fn save_state(&mut self, store: &dyn Store, saved: &Saved) -> Outcome<()> {
        self.state
            .save(store, saved)
            .map_err(|f| about("the saved state", f))
    }

    /// Applies a change and writes the result, unless it changes nothing.
    pub(crate) fn change(
        &mut self,
        store: &dyn Store,
        records: &Records,
        change: &RecordChange,
    ) -> Outcome<Records> {
        let changed = records.clone().with(change);
        if changed != *records {
            self.records
                .save(store, &changed)
                .map_err(|f| about("the records", f))?;
        }
        Ok(changed)
    }
}

fn about(what: &str, failure: Failure) -> Failure {
    match failure.code {
        Code::FileIo => Failure {
            subject: format!("{what} ({})", failure.subject),
            ..failure
        },
        _ => failure,
    }
}
