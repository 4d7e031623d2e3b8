//! Times, spans and sizes as people read them. Everything inside the crate is seconds and bytes;
//! this is the only place that turns them into words.

use alloc::format;
use alloc::string::String;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A moment, given in seconds since 1970 UTC, as `2026-11-23 10:00:00 UTC`.
#[must_use]
pub fn moment(unix: i64) -> String {
    let (year, month, day) = civil_date(unix.div_euclid(DAY as i64));
    let second = unix.rem_euclid(DAY as i64);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02} UTC")
}

/// Day number since 1970-01-01 to year, month and day of the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, in eras of 400
/// years, after which the calendar repeats (146 097 days).
fn civil_date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    // 719 468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(ERA);
    let day_of_era = shifted.rem_euclid(ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// A span in its two largest units: `1d 4h`, `5m`, `42s`.
#[must_use]
pub fn span(seconds: u64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else {
        return String::from("0s");
    };
    let (size, name) = units[first];
    let head = format!("{}{name}", seconds / size);
    match units.get(first + 1) {
        Some((next, name)) if seconds % size >= *next => {
            format!("{head} {}{name}", seconds % size / next)
        }
        _ => head,
    }
}

/// A size with one decimal in binary units: `382.4 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [
        (1u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, name)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*size);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_calendars_say() {
        // Reference values from `date -u -d @N`.
        for (unix, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_435_200, "2026-11-23 12:00:00 UTC"),
            (4_102_444_799, "2099-12-31 23:59:59 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(moment(unix), text);
        }
    }

    #[test]
    fn spans_and_sizes_read_as_people_write_them() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (300, "5m"),
            (3_660, "1h 1m"),
            (90_000, "1d 1h"),
            (86_430, "1d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (400_953_344, "382.3 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }
}
