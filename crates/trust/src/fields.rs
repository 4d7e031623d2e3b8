//! Reads a TOML document member by member, so that what nobody asked for is noticed.
//!
//! `deny_unknown_fields` of serde would refuse unknown keys too, but it cannot skip `x-…` keys,
//! name the whole place of a key, or bound numbers.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::str::FromStr;

use toml::value::{Datetime, Offset};
use toml::{Table, Value};

use crate::error::BadValue;
use crate::time::{Day, UnixTime};

/// Why a document is not understood; `place` is the whole path of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The text is not TOML.
    #[error("it is not valid TOML: {0}")]
    Syntax(String),
    /// A key that must be there is not.
    #[error("`{place}` is missing")]
    Missing {
        /// The key.
        place: String,
    },
    /// A key holds a value of another kind.
    #[error("`{place}` must be {expected}")]
    WrongKind {
        /// The key.
        place: String,
        /// What it must hold.
        expected: &'static str,
    },
    /// A number or a list is outside its bounds.
    #[error("`{place}` must be from {least} to {most}")]
    OutOfBounds {
        /// The key.
        place: String,
        /// The smallest allowed number.
        least: u64,
        /// The largest allowed number.
        most: u64,
    },
    /// A text breaks the rule of its kind.
    #[error("`{place}`: {cause}")]
    Bad {
        /// The key.
        place: String,
        /// The broken rule.
        cause: BadValue,
    },
    /// Values contradict each other.
    #[error("`{place}`: {rule}")]
    Contradiction {
        /// The key.
        place: String,
        /// What must hold.
        rule: &'static str,
    },
    /// A key, a kind or a format that this program does not know and may not skip.
    #[error("`{place}` is not known here")]
    Unknown {
        /// The key, with its value where the value is what is unknown.
        place: String,
    },
}

/// One table of a document, emptied key by key.
#[derive(Debug)]
pub(crate) struct Fields {
    place: String,
    table: Table,
}

impl Fields {
    /// The top table of a document.
    pub(crate) fn document(bytes: &[u8]) -> Result<Self, FieldError> {
        let text = core::str::from_utf8(bytes).map_err(|error| {
            FieldError::Syntax(format!("byte {} is not UTF-8", error.valid_up_to()))
        })?;
        // A byte order mark would be skipped by the TOML reader; we publish none and take none.
        if text.starts_with('\u{feff}') {
            return Err(FieldError::Syntax(
                "it starts with a byte order mark".into(),
            ));
        }
        let table = text
            .parse::<Table>()
            .map_err(|error| FieldError::Syntax(error.message().to_string()))?;
        Ok(Self {
            place: String::new(),
            table,
        })
    }

    pub(crate) fn place_of(&self, key: &str) -> String {
        if self.place.is_empty() {
            key.into()
        } else {
            format!("{}.{key}", self.place)
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.table
            .keys()
            .filter(|key| !optional(key))
            .cloned()
            .collect()
    }

    /// Refuses whatever was not taken. Keys that start with `x-` are marked as optional by their
    /// author and skipped.
    pub(crate) fn finish(self) -> Result<(), FieldError> {
        match self.table.keys().find(|key| !optional(key)) {
            Some(key) => Err(FieldError::Unknown {
                place: self.place_of(key),
            }),
            None => Ok(()),
        }
    }

    fn take(&mut self, key: &str) -> Result<Value, FieldError> {
        self.table.remove(key).ok_or_else(|| FieldError::Missing {
            place: self.place_of(key),
        })
    }

    fn wrong_kind(&self, key: &str, expected: &'static str) -> FieldError {
        FieldError::WrongKind {
            place: self.place_of(key),
            expected,
        }
    }

    /// Reads the key with `read` if it is there.
    pub(crate) fn optional<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Self, &str) -> Result<T, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        if self.has(key) {
            read(self, key).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn text(&mut self, key: &str, longest: usize) -> Result<String, FieldError> {
        match self.take(key)? {
            Value::String(text) if text.len() <= longest => {
                if text.chars().any(|c| c.is_control() && c != '\n') {
                    return Err(self.wrong_kind(key, "text without control characters"));
                }
                Ok(text)
            }
            Value::String(_) => Err(FieldError::OutOfBounds {
                place: format!("length of {}", self.place_of(key)),
                least: 0,
                most: longest as u64,
            }),
            _ => Err(self.wrong_kind(key, "text")),
        }
    }

    pub(crate) fn parsed<T: FromStr<Err = BadValue>>(
        &mut self,
        key: &str,
    ) -> Result<T, FieldError> {
        match self.take(key)? {
            Value::String(text) => text.parse().map_err(|cause| FieldError::Bad {
                place: self.place_of(key),
                cause,
            }),
            _ => Err(self.wrong_kind(key, "text")),
        }
    }

    pub(crate) fn number(
        &mut self,
        key: &str,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, FieldError> {
        let value = self.take(key)?;
        self.bounded(key, &value, bounds)
    }

    fn bounded(
        &self,
        key: &str,
        value: &Value,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, FieldError> {
        let Value::Integer(number) = value else {
            return Err(self.wrong_kind(key, "a whole number"));
        };
        u64::try_from(*number)
            .ok()
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| FieldError::OutOfBounds {
                place: self.place_of(key),
                least: *bounds.start(),
                most: *bounds.end(),
            })
    }

    pub(crate) fn truth(&mut self, key: &str) -> Result<bool, FieldError> {
        match self.take(key)? {
            Value::Boolean(truth) => Ok(truth),
            _ => Err(self.wrong_kind(key, "true or false")),
        }
    }

    pub(crate) fn time(&mut self, key: &str) -> Result<UnixTime, FieldError> {
        let expected = "a time like 2026-11-23T10:00:00Z";
        let value = self.take(key)?;
        let Value::Datetime(Datetime {
            date: Some(date),
            time: Some(time),
            offset: Some(Offset::Z),
        }) = value
        else {
            return Err(self.wrong_kind(key, expected));
        };
        let second = time.second.filter(|_| time.nanosecond.unwrap_or(0) == 0);
        Day::from_civil(date.year, date.month, date.day)
            .zip(second)
            .and_then(|(day, second)| UnixTime::from_civil(day, time.hour, time.minute, second))
            .ok_or_else(|| self.wrong_kind(key, expected))
    }

    pub(crate) fn day(&mut self, key: &str) -> Result<Day, FieldError> {
        let expected = "a date like 2028-11-23";
        match self.take(key)? {
            Value::Datetime(Datetime {
                date: Some(date),
                time: None,
                offset: None,
            }) => Day::from_civil(date.year, date.month, date.day)
                .ok_or_else(|| self.wrong_kind(key, expected)),
            _ => Err(self.wrong_kind(key, expected)),
        }
    }

    pub(crate) fn table(&mut self, key: &str) -> Result<Self, FieldError> {
        match self.take(key)? {
            Value::Table(table) => Ok(Self {
                place: self.place_of(key),
                table,
            }),
            _ => Err(self.wrong_kind(key, "a table")),
        }
    }

    /// A list with at most `most` items.
    fn list(&mut self, key: &str, most: usize) -> Result<Vec<Value>, FieldError> {
        match self.take(key)? {
            Value::Array(items) if items.len() <= most => Ok(items),
            Value::Array(_) => Err(FieldError::OutOfBounds {
                place: format!("number of {}", self.place_of(key)),
                least: 0,
                most: most as u64,
            }),
            _ => Err(self.wrong_kind(key, "a list")),
        }
    }

    pub(crate) fn tables(&mut self, key: &str, most: usize) -> Result<Vec<Self>, FieldError> {
        let items = self.list(key, most)?;
        let numbered = items.into_iter().enumerate();
        numbered
            .map(|(at, item)| match item {
                Value::Table(table) => Ok(Self {
                    place: format!("{}[{at}]", self.place_of(key)),
                    table,
                }),
                _ => Err(self.wrong_kind(key, "a list of tables")),
            })
            .collect()
    }

    pub(crate) fn numbers(
        &mut self,
        key: &str,
        most: usize,
        bounds: RangeInclusive<u64>,
    ) -> Result<Vec<u64>, FieldError> {
        let items = self.list(key, most)?;
        items
            .iter()
            .map(|item| self.bounded(key, item, bounds.clone()))
            .collect()
    }

    pub(crate) fn parsed_list<T: FromStr<Err = BadValue>>(
        &mut self,
        key: &str,
        most: usize,
    ) -> Result<Vec<T>, FieldError> {
        let items = self.list(key, most)?;
        let read = |item: Value| match item {
            Value::String(text) => text.parse().map_err(|cause| FieldError::Bad {
                place: self.place_of(key),
                cause,
            }),
            _ => Err(self.wrong_kind(key, "a list of texts")),
        };
        items.into_iter().map(read).collect()
    }
}

fn optional(key: &str) -> bool {
    key.starts_with("x-")
}

/// `text` as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    Value::String(text.into()).to_string()
}
