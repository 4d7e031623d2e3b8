//! Answers go to standard output, everything else to standard error: one line for an error, lines
//! or a bar for progress.

use std::io::{IsTerminal, Write};

use serde::Serialize;
use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::ErrorAnswer;
use twinroot_ports::Outcome;

use crate::args::Global;

/// How this run of the program speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Answers and errors in JSON.
    pub(crate) json: bool,
    /// No progress.
    pub(crate) quiet: bool,
    /// How much to say on standard error.
    pub(crate) verbose: u8,
    /// Standard error is a terminal.
    pub(crate) terminal: bool,
}

impl Screen {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Prints an answer: its words, or itself as JSON.
    ///
    /// # Errors
    /// Where nobody reads it any more: an answer that did not arrive is not a success.
    pub(crate) fn answer<T: Serialize>(
        &self,
        answer: &T,
        words: impl FnOnce(&T) -> String,
    ) -> Outcome<()> {
        let text = if self.json {
            let mut text = serde_json::to_string_pretty(answer)
                .map_err(|e| Failure::new(Code::Internal, "the answer", e.to_string()))?;
            text.push('\n');
            text
        } else {
            words(answer)
        };
        self.print(&text)
    }

    /// Prints plain text.
    ///
    /// # Errors
    /// As [`Screen::answer`].
    pub(crate) fn print(&self, text: &str) -> Outcome<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|e| Failure::new(Code::FileIo, "standard output", e.to_string()))
    }

    /// Says something to a person who watches.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            // Nobody listening is no reason to stop an update.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Says what failed, in one line: subject, cause, remedy, code.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            let answer = ErrorAnswer::from(failure.clone());
            // An error type of plain text fields always has a JSON form.
            let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
            let _ = self.print(&format!("{text}\n"));
            return;
        }
        let line = one_line(&format!("{failure}"));
        let _ = writeln!(std::io::stderr(), "twinroot: {line}");
    }
}

/// What comes from elsewhere (a server's words, a file's name) must not break the line.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}
