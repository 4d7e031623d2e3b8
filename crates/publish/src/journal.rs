//! A line for every act of the publisher, with its reason, in `work/journal.jsonl`.
//!
//! Not trusted and not published: it answers "why did we withdraw that?" a year later.

use serde::{Deserialize, Serialize};
use twinroot_trust::time::UnixTime;

use crate::error::Result;
use crate::files;
use crate::repository::Repository;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub time: String,
    /// What, as the command's verb.
    pub act: String,
    /// On what: role, channel, version.
    pub subject: String,
    /// Why, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Repository {
    /// Adds a line.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    pub fn note(
        &self,
        act: &str,
        subject: &str,
        reason: Option<&str>,
        now: UnixTime,
    ) -> Result<()> {
        let entry = Entry {
            time: now.to_string(),
            act: act.into(),
            subject: subject.into(),
            reason: reason.map(str::to_owned),
        };
        let path = self.layout.dir().join("work/journal.jsonl");
        let mut text = files::read_if_there(&path)?.unwrap_or_default();
        text.extend(serde_json::to_vec(&entry).expect("an entry holds strings only"));
        text.push(b'\n');
        // Rewritten as a whole: appending could leave half a line after a crash, and a journal of
        // thousands of lines is still small.
        files::write_durably(&*self.files, &path, &text)
    }
}
