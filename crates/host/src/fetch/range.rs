//! What counts as an answer to a range request (RFC 9110 section 14.4). Resuming is where clients
//! corrupt files: a 200 taken for a 206, or a range that starts elsewhere.

use std::ops::Range;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};

/// Bytes before a range that may be thrown away where a server ignores ranges and sends whole files: four
/// times the range, so that a payload that is read from front to back costs little, and 8 MiB, so that the
/// index and a first segment can always be had. More would be a download of its own for each segment.
const WASTE_FACTOR: u64 = 4;
const WASTE: u64 = 8 << 20;

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The range and nothing else.
    Range,
    /// The whole file, of which the range has to be cut out.
    WholeFile,
}

/// The part of a piece that lies within the range, the piece beginning at byte `at` of the file.
pub(super) fn overlap<'a>(at: u64, piece: &'a [u8], wanted: &Range<u64>) -> &'a [u8] {
    let length = piece.len() as u64;
    let clamp = |position: u64| position.saturating_sub(at).min(length);
    // Both are at most the length of the piece, which is a usize.
    let (from, to) = (clamp(wanted.start) as usize, clamp(wanted.end) as usize);
    &piece[from.min(to)..to]
}

/// Says what the answer is, or why it is of no use.
pub(super) fn check(
    status: StatusCode,
    headers: &HeaderMap,
    wanted: &Range<u64>,
) -> Result<Answer, String> {
    let asked = format!("bytes {}-{}", wanted.start, wanted.end - 1);
    if status == StatusCode::OK {
        return whole_file(headers, wanted).ok_or_else(|| {
            format!("asked for {asked}, the whole file came: the server ignores ranges")
        });
    }
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return Err(format!(
            "asked for {asked}, the server says that the file is shorter"
        ));
    }
    if status != StatusCode::PARTIAL_CONTENT {
        return Err(format!("asked for {asked}, status {status} came"));
    }
    let given = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let Some(given) = given else {
        return Err(format!(
            "asked for {asked}, the answer does not say which range it is"
        ));
    };
    if parse(given).as_ref() != Some(wanted) {
        return Err(format!("asked for {asked}, '{given}' came"));
    }
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length != wanted.end - wanted.start => {
            Err(format!("asked for {asked}, {length} bytes were announced"))
        }
        _ => Ok(Answer::Range),
    }
}

/// A whole file will do where it says that it reaches to the range's end and little lies before it.
fn whole_file(headers: &HeaderMap, wanted: &Range<u64>) -> Option<Answer> {
    let length = headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse::<u64>()
        .ok()?;
    let bearable = (wanted.end - wanted.start)
        .saturating_mul(WASTE_FACTOR)
        .saturating_add(WASTE);
    (length >= wanted.end && wanted.start <= bearable).then_some(Answer::WholeFile)
}

/// `bytes FIRST-LAST/TOTAL` or `…/*`, whose total must lie beyond the range.
fn parse(text: &str) -> Option<Range<u64>> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    if total != "*" && total.parse::<u64>().ok()? < end {
        return None;
    }
    Some(first.parse().ok()?..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, range: Option<&str>, length: Option<&str>) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(CONTENT_RANGE, range.parse().unwrap());
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
        }
        check(StatusCode::from_u16(status).unwrap(), &headers, &(100..200))
    }

    #[test]
    fn only_the_exact_range_is_taken() {
        answer(206, Some("bytes 100-199/1000"), Some("100")).unwrap();
        answer(206, Some("bytes 100-199/*"), None).unwrap();
        let lies = [
            "bytes 0-99/1000",
            "bytes 100-198/1000",
            "bytes 100-200/1000",
            "bytes 99-199/1000",
            "bytes 100-199/150",
            "bytes */1000",
            "100-199/1000",
            "bytes 100-199",
            "items 100-199/1000",
            "bytes -5-199/1000",
            "bytes 100-18446744073709551615/*",
        ];
        for lie in lies {
            answer(206, Some(lie), None).expect_err(lie);
        }
        answer(206, None, Some("100")).unwrap_err();
        answer(206, Some("bytes 100-199/1000"), Some("99")).unwrap_err();
    }

    #[test]
    fn a_whole_file_will_do_where_it_holds_the_range_and_little_before_it() {
        assert_eq!(answer(200, None, Some("200")), Ok(Answer::WholeFile));
        answer(200, None, Some("199")).unwrap_err();
        answer(200, None, None).unwrap_err();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "999999999".parse().unwrap());
        let far = 400 << 20..(400 << 20) + 4096;
        check(StatusCode::OK, &headers, &far).unwrap_err();
    }

    #[test]
    fn the_part_of_a_piece_within_the_range_is_found_at_either_edge() {
        let piece = b"abcdefgh";
        for (at, range, part) in [
            (0, 2..5, "cde"),
            (10, 2..5, ""),
            (0, 20..30, ""),
            (10, 12..30, "cdefgh"),
            (10, 0..12, "ab"),
            (10, 10..18, "abcdefgh"),
        ] {
            assert_eq!(
                overlap(at, piece, &range),
                part.as_bytes(),
                "{at} {range:?}"
            );
        }
    }

    #[test]
    fn another_status_is_no_range() {
        for status in [204, 301, 416, 500] {
            answer(status, Some("bytes 100-199/1000"), Some("100")).unwrap_err();
        }
    }
}
