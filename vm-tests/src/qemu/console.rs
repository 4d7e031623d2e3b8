//! What the machine prints on its serial console, and when.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A line with the time since power-on at which it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Since power-on.
    pub at: Duration,
    /// Its text, without colours and other control sequences.
    pub text: String,
}

/// The console's log, read as it grows.
#[derive(Debug)]
pub struct Console {
    path: PathBuf,
    file: Option<File>,
    start: Instant,
    rest: Vec<u8>,
    lines: Vec<Line>,
    bytes: u64,
    echo: bool,
}

impl Console {
    /// Follows the log at `path`, which QEMU makes.
    #[must_use]
    pub fn follow(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            start: Instant::now(),
            rest: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            echo: false,
        }
    }

    /// Also shows each new line on standard output from now on.
    pub const fn echo(&mut self, on: bool) {
        self.echo = on;
    }

    /// Reads what has come since; gives the number of bytes so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn poll(&mut self) -> Result<u64> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let mut new = Vec::new();
            file.read_to_end(&mut new)
                .with_context(|| format!("cannot read {}", self.path.display()))?;
            self.bytes += new.len() as u64;
            self.rest.extend(new);
        }
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let text = plain(&String::from_utf8_lossy(&line));
            if self.echo && !text.is_empty() {
                println!("  | {text}");
            }
            let at = self.start.elapsed();
            self.lines.push(Line { at, text });
        }
        Ok(self.bytes)
    }

    /// Lines so far.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The line that has not ended yet: firmware that waits for a key ends none.
    #[must_use]
    pub fn unfinished(&self) -> String {
        plain(&String::from_utf8_lossy(&self.rest))
    }

    /// The last lines that say something, as evidence.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let unfinished = self.unfinished();
        let said: Vec<&str> = self
            .lines
            .iter()
            .map(|line| line.text.as_str())
            .chain([unfinished.as_str()])
            .filter(|text| !text.trim().is_empty())
            .collect();
        said[said.len().saturating_sub(count)..].join("\n")
    }
}

/// The text without escape sequences and control characters, which firmware and systemd print.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ECMA-48: CSI has parameters up to a letter; OSC (systemd sets a title and a colour) goes up to a bell
            // or to ESC \, of which the backslash is the next sequence's; any other is one character long.
            match chars.next() {
                Some('[') => while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
                Some(']') => {
                    while chars
                        .next_if(|c| !['\u{7}', '\u{1b}'].contains(c))
                        .is_some()
                    {}
                }
                _ => (),
            }
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_cursor_movements_are_taken_out_of_lines() {
        assert_eq!(
            plain("\u{1b}[2J\u{1b}[01;01H[  \u{1b}[0;32mOK\u{1b}[0m  ] up\r\n"),
            "[  OK  ] up"
        );
        assert_eq!(plain("a\u{1b}]104\u{7}b\u{1b}]0;title\u{1b}\\c"), "abc");
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("console.log");
        let mut console = Console::follow(&path);
        assert_eq!(console.poll().unwrap(), 0);
        std::fs::write(&path, "one\ntw").unwrap();
        assert_eq!(console.poll().unwrap(), 6);
        assert_eq!(console.lines().len(), 1);
        assert_eq!(console.unfinished(), "tw");
        assert_eq!(console.tail(2), "one\ntw");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        console.poll().unwrap();
        assert_eq!(console.lines()[1].text, "two");
    }
}
