//! Points in time and spans of time, in whole seconds. There is no clock here: time comes in.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::error::BadValue;

const DAY: i64 = 86_400;

/// Seconds since 1970-01-01T00:00:00Z. Text form: `YYYY-MM-DDTHH:MM:SSZ` and nothing else.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// This time plus a span; ends at the largest time instead of wrapping.
    #[must_use]
    pub fn plus(self, span: Seconds) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    /// The span from `earlier` to this time; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Seconds {
        Seconds(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// From calendar fields; nothing if they name no time in the years 1970 to 9999.
    pub(crate) fn from_civil(day: Day, hour: u8, minute: u8, second: u8) -> Option<Self> {
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        // A leap second (:60) is clamped to the second before it, the earlier and so the stricter
        // reading of an expiry. Our publisher never writes one.
        let clock = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second.min(59));
        Some(Self(i64::from(day.0) * DAY + clock))
    }
}

impl FromStr for UnixTime {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refused = || BadValue::new("time", text, "YYYY-MM-DDTHH:MM:SSZ is required");
        let clock = text
            .get(10..)
            .filter(|_| text.len() == 20)
            .ok_or_else(refused)?;
        let day: Day = text[..10].parse().map_err(|_| refused())?;
        let separators = [0, 3, 6, 9].map(|at| clock.as_bytes()[at]);
        if separators != *b"T::Z" {
            return Err(refused());
        }
        let field = |at: usize| two_digits(clock.as_bytes(), at).ok_or_else(refused);
        Self::from_civil(day, field(1)?, field(4)?, field(7)?).ok_or_else(refused)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = Day(i32::try_from(self.0.div_euclid(DAY)).unwrap_or(i32::MAX));
        let clock = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        let text = format!("{day}T{hour:02}:{minute:02}:{second:02}Z");
        formatter.pad(&text)
    }
}

/// A calendar day, counted from 1970-01-01. Text form: `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The first second that is not in this day any more.
    pub fn end(self) -> UnixTime {
        UnixTime((i64::from(self.0) + 1) * DAY)
    }

    /// The first second of this day.
    pub fn start(self) -> UnixTime {
        UnixTime(i64::from(self.0) * DAY)
    }

    /// From a calendar date; nothing if there is no such day in the years 1970 to 9999.
    pub(crate) fn from_civil(year: u16, month: u8, day: u8) -> Option<Self> {
        let last = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap(year) => 29,
            2 => 28,
            1..=12 => 31,
            _ => return None,
        };
        if !(1970..=9999).contains(&year) || !(1..=last).contains(&day) {
            return None;
        }
        // Years that begin in March put the leap day at the end: a month then starts after
        // (153 m + 2) / 5 days, m counted from March.
        let (year, month, day) = (i32::from(year), i32::from(month), i32::from(day));
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let leap_days = year / 4 - year / 100 + year / 400;
        // 719468 days lie between 0000-03-01 and 1970-01-01.
        Some(Self(
            year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468,
        ))
    }

    /// Year, month and day.
    fn civil(self) -> (i32, i32, i32) {
        // 146097 days make 400 years, after which the calendar repeats.
        let days = self.0.saturating_add(719_468);
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        (era * 400 + year + i32::from(month <= 2), month, day)
    }
}

fn leap(year: u16) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

impl FromStr for Day {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refused = || BadValue::new("date", text, "YYYY-MM-DD is required");
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Err(refused());
        }
        let field = |at: usize| two_digits(bytes, at).ok_or_else(refused);
        let year = u16::from(field(0)?) * 100 + u16::from(field(2)?);
        Self::from_civil(year, field(5)?, field(8)?).ok_or_else(refused)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        formatter.pad(&format!("{year:04}-{month:02}-{day:02}"))
    }
}

fn two_digits(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| {
        bytes
            .get(at)
            .filter(|byte| byte.is_ascii_digit())
            .map(|b| b - b'0')
    };
    Some(digit(at)? * 10 + digit(at + 1)?)
}

/// A span of time in whole seconds. Text form: a number and one of `s`, `m`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seconds(pub u64);

impl Seconds {
    /// The longest span that is read from text: 1000 days. Longer ones in a signed document are
    /// mistakes, and the bound keeps every sum of spans far from overflow.
    pub const MAX: Self = Self(1000 * DAY as u64);
}

impl FromStr for Seconds {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let refused = || {
            let rule = "a number and one of s, m, h, d is required, at most 1000d";
            BadValue::new("duration", text, rule)
        };
        let unit = match text.bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => DAY as u64,
            _ => return Err(refused()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        let number: u64 = digits.parse().map_err(|_| refused())?;
        let span = number.checked_mul(unit).map(Self).ok_or_else(refused)?;
        if span > Self::MAX {
            Err(refused())
        } else {
            Ok(span)
        }
    }
}

/// In the largest unit that holds it whole: `90s`, `5m`, `12h`, `30d`.
impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY as u64, 'd'), (3600, 'h'), (60, 'm')];
        let whole = units
            .into_iter()
            .find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (unit, letter) = whole.unwrap_or((1, 's'));
        formatter.pad(&format!("{}{letter}", self.0 / unit))
    }
}

impl serde::Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for UnixTime {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "UnixTime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "description": "Seconds since 1970-01-01T00:00:00Z" })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Seconds {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "A span such as 30m, 2h or 1d" })
    }
}
