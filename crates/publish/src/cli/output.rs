//! Words for people, JSON for programs, one line with a stable code for refusals.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};
use twinroot_core::error::Code;
use twinroot_publish::error::Error;

/// What a command has to say.
#[derive(Debug)]
pub(crate) struct Output {
    words: String,
    json: Value,
    /// A command that ran to its end and found fault (`check`).
    found: Option<Code>,
}

impl Output {
    pub(crate) fn new(words: impl Into<String>, json: &impl Serialize) -> Self {
        let json = serde_json::to_value(json).expect("our reports hold strings, numbers and lists");
        Self {
            words: words.into(),
            json,
            found: None,
        }
    }

    pub(crate) fn failing(mut self, code: Code) -> Self {
        self.found = Some(code);
        self
    }

    pub(crate) fn print(self, as_json: bool) -> ExitCode {
        match as_json {
            true => say(&format!("{:#}", self.json)),
            false if self.words.is_empty() => {}
            false => say(self.words.trim_end()),
        }
        self.found
            .map_or(ExitCode::SUCCESS, |code| ExitCode::from(code.exit_code()))
    }
}

/// A line on standard output. A reader that has seen enough (`| head`) is no failure of ours: what
/// was to be done is done.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let printed = writeln!(out, "{text}").and_then(|()| out.flush());
    if let Err(cause) = printed
        && cause.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("twinroot-publish: standard output: {cause}");
    }
}

/// One line: the thing, the cause, the remedy, the code.
pub(crate) fn print_error(error: &Error, as_json: bool) -> ExitCode {
    let (code, remedy) = (error.code(), error.remedy());
    match as_json {
        true => say(&format!(
            "{:#}",
            json!({ "error": { "code": code.as_str(), "message": error.to_string(), "remedy": remedy } })
        )),
        false => eprintln!("twinroot-publish: {error}; {remedy} [{code}]"),
    }
    ExitCode::from(code.exit_code())
}
