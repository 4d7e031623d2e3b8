//! Spans and sizes as people read them. Everything inside the crate is seconds and bytes; this is
//! the only place that turns them into words.

use alloc::format;
use alloc::string::String;

use twinroot_trust::time::Seconds;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A span in its two largest units: `1d 4h`, `5m`, `42s`.
#[must_use]
pub fn span(span: Seconds) -> String {
    let seconds = span.0;
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

/// The end of a text: at most so many bytes, from a whole character on.
#[must_use]
pub fn tail(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let whole = (from..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[whole.unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(span(Seconds(seconds)), text);
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

    #[test]
    fn a_tail_begins_with_a_whole_character() {
        assert_eq!(tail("abc", 5), "abc");
        assert_eq!(tail("abc", 2), "bc");
        assert_eq!(tail("a\u{fc}b", 2), "b");
        assert_eq!(tail("a\u{fc}b", 3), "\u{fc}b");
    }
}
