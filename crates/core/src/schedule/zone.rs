//! A time zone and its days.

use alloc::string::{String, ToString};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};
use twinroot_trust::time::UnixTime;

use super::text::Minute;
use crate::error::{Code, Failure};

/// An IANA time zone with its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    rules: TimeZone,
}

impl Zone {
    /// The zone without rules.
    #[must_use]
    pub const fn utc() -> Self {
        Self {
            rules: TimeZone::UTC,
        }
    }

    /// From the bytes of a TZif file (RFC 9636), as `/usr/share/zoneinfo` holds them.
    ///
    /// # Errors
    /// `config-value` where the bytes are no such file.
    pub fn from_tzif(name: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let rules = TimeZone::tzif(name, bytes).map_err(|error| {
            Failure::new(
                Code::ConfigValue,
                alloc::format!("reboot.zone, {name}"),
                error.to_string(),
            )
        })?;
        Ok(Self { rules })
    }

    /// Whether a text may name a zone: IANA names and nothing that could leave a directory.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let part = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-_".contains(&b);
            !part.is_empty() && part.len() <= 32 && part.bytes().all(plain)
        };
        text.len() <= 64 && text.split('/').all(part)
    }

    /// The zone's name, where it has one.
    #[must_use]
    pub fn name(&self) -> String {
        self.rules.iana_name().unwrap_or("UTC").to_string()
    }

    /// The day that a moment falls into. Times that no calendar has are as good as the first day.
    pub(super) fn day_of(&self, at: UnixTime) -> Date {
        let moment = Timestamp::from_second(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        moment.to_zoned(self.rules.clone()).date()
    }

    pub(super) fn day_after(&self, day: Date, days: i32) -> Option<Date> {
        day.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
    }

    /// The moment at which a clock in the zone shows this time on this day: the first where it does
    /// so twice, none where it never does.
    pub(super) fn at(&self, day: Date, minute: Minute) -> Option<UnixTime> {
        let time = day.at(minute.hour(), minute.minute(), 0, 0);
        let found = self.rules.to_ambiguous_timestamp(time);
        match found.offset() {
            AmbiguousOffset::Gap { .. } => None,
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                Some(UnixTime(found.earlier().ok()?.as_second()))
            }
        }
    }

    /// The first moment of a day; where it has no midnight, the first that it has.
    pub(super) fn begins(&self, day: Date) -> Option<UnixTime> {
        let midnight = self.rules.to_ambiguous_timestamp(day.at(0, 0, 0, 0));
        Some(UnixTime(midnight.compatible().ok()?.as_second()))
    }
}
