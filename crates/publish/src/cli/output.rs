//! Words for people, JSON for programs, one line with a stable code for refusals.

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
            true => println!("{:#}", self.json),
            false if self.words.is_empty() => {}
            false => println!("{}", self.words.trim_end()),
        }
        self.found
            .map_or(ExitCode::SUCCESS, |code| ExitCode::from(code.exit_code()))
    }
}

/// One line: the thing, the cause, the remedy, the code.
pub(crate) fn print_error(error: &Error, as_json: bool) -> ExitCode {
    let (code, remedy) = (error.code(), error.remedy());
    match as_json {
        true => println!(
            "{:#}",
            json!({ "error": { "code": code.as_str(), "message": error.to_string(), "remedy": remedy } })
        ),
        false => eprintln!("twinroot-publish: {error}; {remedy} [{code}]"),
    }
    ExitCode::from(code.exit_code())
}
