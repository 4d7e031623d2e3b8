//! What counts as an answer to a range request (RFC 9110 section 14.4). Resuming is where clients
//! corrupt files: a 200 taken for a 206, or a range that starts elsewhere.

use std::ops::Range;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};

/// Says why the answer is not the range that was asked for.
pub(super) fn check(
    status: StatusCode,
    headers: &HeaderMap,
    wanted: &Range<u64>,
) -> Result<(), String> {
    let asked = format!("bytes {}-{}", wanted.start, wanted.end - 1);
    if status == StatusCode::OK {
        return Err(format!(
            "asked for {asked}, the whole file came: the server ignores ranges"
        ));
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
        _ => Ok(()),
    }
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

    fn answer(status: u16, range: Option<&str>, length: Option<&str>) -> Result<(), String> {
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
    fn another_status_is_no_range() {
        for status in [200, 204, 301, 416, 500] {
            answer(status, Some("bytes 100-199/1000"), Some("100")).unwrap_err();
        }
    }
}
