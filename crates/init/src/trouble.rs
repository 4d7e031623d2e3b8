//! What ends a start.

use std::fmt;
use std::path::Path;

use twinroot_core::error::Failure;

/// Why this start ends here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Something failed: a panic, so that the loader counts the start as failed.
    Failed(String),
    /// The other slot is to be started, once, as the attempt record says.
    OtherSlot(String),
    /// A restart would end the same way for ever, or would harm: stop here.
    Halt(String),
}

/// What everything here answers.
pub(crate) type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    /// `verb` on `subject` failed.
    pub(crate) fn failed(verb: &str, subject: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Trouble::Failed(format!("cannot {verb} {subject}: {cause}"))
    }

    /// The same, for use with `map_err`.
    pub(crate) fn on<E: fmt::Display>(verb: &str, path: &Path) -> impl FnOnce(E) -> Self + use<E> {
        let (verb, path) = (verb.to_owned(), path.display().to_string());
        move |cause| Trouble::failed(&verb, path, cause)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Failed(format!("{failure}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Trouble::Failed(text) | Trouble::OtherSlot(text) | Trouble::Halt(text)) = self;
        f.write_str(text)
    }
}
