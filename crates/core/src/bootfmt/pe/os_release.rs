//! The `os-release` format, as far as boot entries need it.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

/// Keys and values of an `os-release` file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsRelease {
    values: BTreeMap<String, String>,
}

impl OsRelease {
    /// Reads the text. Lines that are no assignment are skipped, as os-release(5) asks; a later
    /// assignment of the same key wins.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        let values = pairs
            .map(|(key, value)| (key.to_string(), unquote(value)))
            .collect();
        Self { values }
    }

    /// The value of a key; nothing where it is missing or empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// What systemd-boot sorts by first: `IMAGE_ID`, else `ID`.
    #[must_use]
    pub fn sort_key(&self) -> &str {
        self.get("IMAGE_ID")
            .or_else(|| self.get("ID"))
            .unwrap_or("")
    }

    /// The version that systemd-boot sorts by: `IMAGE_VERSION`, else `VERSION_ID`, else `BUILD_ID`.
    #[must_use]
    pub fn version(&self) -> &str {
        ["IMAGE_VERSION", "VERSION_ID", "BUILD_ID"]
            .into_iter()
            .find_map(|key| self.get(key))
            .unwrap_or("")
    }

    /// What the boot menu shows.
    #[must_use]
    pub fn title(&self) -> &str {
        self.get("PRETTY_NAME")
            .or_else(|| self.get("ID"))
            .unwrap_or("")
    }
}

/// Shell quoting as far as the format allows it: one pair of quotes, backslash escapes in double
/// quotes.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let inside = |quote: char| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
            .map(str::to_string)
    };
    if let Some(plain) = inside('\'') {
        return plain;
    }
    let Some(escaped) = inside('"') else {
        return value.to_string();
    };
    let mut text = String::new();
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}
