//! As much of HTTP/1.1 as static files need: one request head, one byte range.

use std::io::{self, BufRead, Read};

/// Request heads are a few hundred bytes; 16 KiB is what common servers allow.
const MAX_HEAD: u64 = 16 * 1024;

/// One request, without a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Still percent-encoded, without the query.
    pub(super) path: String,
    /// The `Range` header, unless an `If-Range` makes it void (we hand out no validators).
    pub(super) range: Option<String>,
    pub(super) keep_alive: bool,
}

/// What a `Range` header asks of a file of a certain size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    /// First and last byte, both inside the file.
    Part(u64, u64),
    Unsatisfiable,
}

/// Reads one request head; `None` when the client has closed the connection.
pub(super) fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = reader.take(MAX_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no request line",
        ));
    };
    let mut request = Request {
        method: method.to_owned(),
        path: target
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .to_owned(),
        range: None,
        keep_alive: version == "HTTP/1.1",
    };
    let mut conditional = false;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the request head never ends",
            ));
        }
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.trim().to_owned()),
            "if-range" => conditional = true,
            "connection" => request.keep_alive &= !value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    if conditional {
        request.range = None;
    }
    Ok(Some(request))
}

/// RFC 9110 section 14: a single range of bytes is honoured; several, another unit or nonsense
/// are ignored, which the RFC allows; one beyond the end is unsatisfiable.
pub(super) fn wanted(range: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = range.and_then(|text| text.strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Wanted::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    match (first.trim().is_empty(), last.trim().is_empty()) {
        (true, _) => match number(last) {
            Ok(0) => Wanted::Unsatisfiable,
            Ok(tail) if size > 0 => Wanted::Part(size.saturating_sub(tail), size - 1),
            Ok(_) => Wanted::Unsatisfiable,
            Err(_) => Wanted::Whole,
        },
        (false, open) => match (
            number(first),
            if open { Ok(u64::MAX) } else { number(last) },
        ) {
            (Ok(first), Ok(last)) if first > last => Wanted::Whole,
            (Ok(first), Ok(_)) if first >= size => Wanted::Unsatisfiable,
            (Ok(first), Ok(last)) => Wanted::Part(first, last.min(size - 1)),
            _ => Wanted::Whole,
        },
    }
}

/// The file names in a request path, decoded; `None` for every path that could leave the root or
/// reach hidden (unfinished) files.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/')?.split('/').map(decode).collect()
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let pair = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    let harmless = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    harmless.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_rfc_9110() {
        let table = [
            (None, Wanted::Whole),
            (Some("bytes=0-0"), Wanted::Part(0, 0)),
            (Some("bytes=2-5"), Wanted::Part(2, 5)),
            (Some("bytes=2-"), Wanted::Part(2, 9)),
            (Some("bytes=2-99"), Wanted::Part(2, 9)),
            (Some("bytes=-3"), Wanted::Part(7, 9)),
            (Some("bytes=-30"), Wanted::Part(0, 9)),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=10-"), Wanted::Unsatisfiable),
            (Some("bytes=5-2"), Wanted::Whole),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("items=0-1"), Wanted::Whole),
            (Some("bytes=x-1"), Wanted::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(wanted(range, 10), expected, "{range:?}");
        }
    }

    #[test]
    fn no_path_leaves_the_root_or_reaches_unfinished_files() {
        for path in [
            "/../x",
            "/a/../b",
            "/%2e%2e/x",
            "/a//b",
            "/.x.new",
            "/a%2fb",
            "/a%5Cb",
            "/a%00",
            "x",
            "/%zz",
            "/%2",
        ] {
            assert_eq!(segments(path), None, "{path}");
        }
        assert_eq!(
            segments("/a/b%20c").as_deref(),
            Some(&["a".to_owned(), "b c".to_owned()][..])
        );
    }

    #[test]
    fn an_endless_request_head_is_given_up() {
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        assert!(read_request(&mut endless).is_err());
        let mut headers =
            io::BufReader::new(io::Cursor::new("GET / HTTP/1.1\r\n").chain(io::repeat(b'y')));
        assert!(read_request(&mut headers).is_err());
    }
}
