//! How windows and freezes are written: `sat,sun 02:00 3h`, `mon-fri 03:00 1h security`,
//! `2026-12-20/2027-01-06`, `2026-12-20/2027-01-06 except critical`.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twinroot_trust::manifest::Severity;
use twinroot_trust::time::Seconds;

use super::LONGEST;

/// Names of the days, Monday first.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(u16);

impl Minute {
    /// From hour and minute.
    #[must_use]
    pub const fn new(hour: u8, minute: u8) -> Option<Self> {
        if hour < 24 && minute < 60 {
            Some(Self(hour as u16 * 60 + minute as u16))
        } else {
            None
        }
    }

    pub(super) fn hour(self) -> i8 {
        i8::try_from(self.0 / 60).expect("a day has 24 hours")
    }

    pub(super) fn minute(self) -> i8 {
        i8::try_from(self.0 % 60).expect("an hour has 60 minutes")
    }
}

/// Some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekdays(u8);

impl Weekdays {
    pub(super) fn contains(self, day: Weekday) -> bool {
        let bit = DAYS.iter().position(|(_, d)| *d == day).unwrap_or(0);
        self.0 & (1 << bit) != 0
    }

    /// `daily`, names (`sat,sun`) and ranges (`mon-fri`, also over Sunday: `fri-mon`).
    fn parse(text: &str) -> Option<Self> {
        if text == "daily" {
            return Some(Self(0x7F));
        }
        let number = |name: &str| DAYS.iter().position(|(n, _)| *n == name);
        let mut days = 0u8;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (mut day, last) = (number(first)?, number(last)?);
            loop {
                days |= 1 << day;
                if day == last {
                    break;
                }
                day = (day + 1) % 7;
            }
        }
        Some(Self(days))
    }
}

impl fmt::Display for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0x7F {
            return f.write_str("daily");
        }
        let mut names = DAYS
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, (name, _))| *name);
        if let Some(first) = names.next() {
            f.write_str(first)?;
        }
        names.try_for_each(|name| write!(f, ",{name}"))
    }
}

/// A recurring time in which restarts are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Days on which it starts.
    pub days: Weekdays,
    /// When it starts, by the zone's clock.
    pub start: Minute,
    /// How long it lasts; it may run past midnight.
    pub length: Seconds,
    /// It is for releases of this severity or above.
    pub severity: Severity,
}

/// Days on which nothing restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freeze {
    /// The first day.
    pub first: Date,
    /// The last day, which is frozen too.
    pub last: Date,
    /// Releases of this severity or above are let through.
    pub except: Option<Severity>,
}

fn severity(word: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|s| s.as_str() == word)
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = "is no window: days (`daily`, `sat,sun`, `mon-fri`), a start (`02:00`), a length up to 7d (`3h`) and perhaps a severity are required";
        let refused = || alloc::format!("{text:?} {rule}");
        let mut words = text.split_whitespace();
        let mut word = || words.next().ok_or_else(refused);
        let days = Weekdays::parse(word()?).ok_or_else(refused)?;
        let start = minute(word()?).ok_or_else(refused)?;
        let length: Seconds = word()?.parse().map_err(|_| refused())?;
        let for_all = || Some(Severity::Routine);
        let severity = words
            .next()
            .map_or_else(for_all, severity)
            .ok_or_else(refused)?;
        let whole = words.next().is_none() && length > Seconds(0) && length <= LONGEST;
        if !whole {
            return Err(refused());
        }
        Ok(Self {
            days,
            start,
            length,
            severity,
        })
    }
}

fn minute(text: &str) -> Option<Minute> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    Minute::new(two(hour)?, two(minute)?)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute) = (self.start.hour(), self.start.minute());
        write!(f, "{} {hour:02}:{minute:02} {}", self.days, self.length)?;
        match self.severity {
            Severity::Routine => Ok(()),
            severe @ (Severity::Security | Severity::Critical) => {
                write!(f, " {}", severe.as_str())
            }
        }
    }
}

impl FromStr for Freeze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = "is no freeze: `FIRST/LAST` as dates (`2026-12-20/2027-01-06`) and perhaps `except critical` are required";
        let refused = || alloc::format!("{text:?} {rule}");
        let words: alloc::vec::Vec<&str> = text.split_whitespace().collect();
        let (days, except) = match words.as_slice() {
            [days] => (*days, None),
            [days, "except", word] => (*days, Some(severity(word).ok_or_else(refused)?)),
            _ => return Err(refused()),
        };
        let (first, last) = days.split_once('/').ok_or_else(refused)?;
        let date = |text: &str| text.parse::<Date>().map_err(|_| refused());
        let (first, last) = (date(first)?, date(last)?);
        if last < first {
            return Err(refused());
        }
        Ok(Self {
            first,
            last,
            except,
        })
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.last)?;
        match self.except {
            Some(severity) => write!(f, " except {}", severity.as_str()),
            None => Ok(()),
        }
    }
}

/// Both are written as text.
macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?.to_string();
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
as_text!(Window);
as_text!(Freeze);
