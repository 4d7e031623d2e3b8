//! One answer: the file or its part, honestly or with a planted fault.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::Counted;
use super::faults::{Fault, Kind, Pace};
use super::http::{self, Request, Wanted};

/// Bytes read and sent at a time; large enough that system calls do not count, small against any
/// memory budget.
const CHUNK: usize = 128 * 1024;

/// Status, honoured range, and whether the connection can go on.
pub(super) type Answered = (u16, Option<(u64, u64)>, bool);

/// A body to be sent, with what is said about it in the head.
struct Plan {
    status: u16,
    size: u64,
    /// First byte and length that really leave.
    start: u64,
    length: u64,
    /// First and last byte as announced.
    announced: Option<(u64, u64)>,
}

/// Answers one request.
pub(super) fn respond(
    request: &Request,
    root: &Path,
    fault: Option<&Fault>,
    out: &mut Counted<'_>,
) -> io::Result<Answered> {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return plain(out, 405, "Allow: GET, HEAD\r\n");
    }
    match fault.map(|fault| &fault.kind) {
        Some(Kind::Status(status)) => return plain(out, *status, ""),
        Some(Kind::Redirect(to)) => return plain(out, 302, &format!("Location: {to}\r\n")),
        Some(Kind::Endless) => return endless(out),
        _ => {}
    }
    let Some(mut file) = open(root, &request.path) else {
        return plain(out, 404, "");
    };
    let size = file.metadata()?.len();
    let range = match fault.map(|fault| &fault.kind) {
        Some(Kind::IgnoreRange) => None,
        _ => request.range.as_deref(),
    };
    let plan = match http::wanted(range, size) {
        Wanted::Unsatisfiable => {
            return plain(out, 416, &format!("Content-Range: bytes */{size}\r\n"));
        }
        Wanted::Whole => Plan {
            status: 200,
            size,
            start: 0,
            length: size,
            announced: None,
        },
        Wanted::Part(first, last) => Plan {
            status: 206,
            size,
            start: first,
            length: last - first + 1,
            announced: Some((first, last)),
        },
    };
    send(request, &mut file, plan, fault, out)
}

fn send(
    request: &Request,
    file: &mut File,
    mut plan: Plan,
    fault: Option<&Fault>,
    out: &mut Counted<'_>,
) -> io::Result<Answered> {
    let honoured = plan.announced;
    if let (Some(Kind::WrongRange), Some((first, last))) =
        (fault.map(|fault| &fault.kind), plan.announced)
    {
        // One byte early: what a proxy with an off-by-one does. Announced truthfully, so that a
        // client that compares can see it and one that does not writes garbage.
        let first = first.saturating_sub(1);
        plan.start = first;
        plan.announced = Some((first, last - u64::from(last > first)));
        plan.length = plan.announced.map_or(0, |(first, last)| last - first + 1);
    }
    out.head(&head(&plan, request.keep_alive))?;
    if request.method == "HEAD" {
        return Ok((plan.status, honoured, request.keep_alive));
    }
    let mut left = plan.length;
    let mut pace = Pace::new(fault);
    let cut = match fault.map(|fault| &fault.kind) {
        Some(Kind::Truncated(after)) => left.saturating_sub(*after),
        _ => 0,
    };
    file.seek(SeekFrom::Start(plan.start))?;
    let mut chunk = vec![0; CHUNK];
    while left > cut {
        let want = usize::try_from(left - cut)
            .unwrap_or(usize::MAX)
            .min(pace.chunk(CHUNK));
        let got = file.read(&mut chunk[..want])?;
        if got == 0 {
            return Ok((plan.status, honoured, false));
        }
        if let Some(Kind::Corrupt(at)) = fault.map(|fault| &fault.kind) {
            flip(&mut chunk[..got], plan.start + plan.length - left, *at);
        }
        out.body(&chunk[..got])?;
        left -= got as u64;
        pace.rest();
    }
    Ok((plan.status, honoured, request.keep_alive && cut == 0))
}

/// Flips one bit of the byte at offset `at` of the file, if it is in this piece.
fn flip(piece: &mut [u8], piece_start: u64, at: u64) {
    let inside = at
        .checked_sub(piece_start)
        .and_then(|offset| usize::try_from(offset).ok());
    if let Some(byte) = inside.and_then(|offset| piece.get_mut(offset)) {
        *byte ^= 1;
    }
}

fn head(plan: &Plan, keep_alive: bool) -> String {
    let range = plan.announced.map_or_else(String::new, |(first, last)| {
        format!("Content-Range: bytes {first}-{last}/{}\r\n", plan.size)
    });
    let connection = if keep_alive { "keep-alive" } else { "close" };
    format!(
        "HTTP/1.1 {} {}\r\nContent-Length: {}\r\n{range}Accept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\nConnection: {connection}\r\n\r\n",
        plan.status,
        reason(plan.status),
        plan.length,
    )
}

fn plain(out: &mut Counted<'_>, status: u16, extra: &str) -> io::Result<Answered> {
    let reason = reason(status);
    out.head(&format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n{extra}Connection: close\r\n\r\n"
    ))?;
    Ok((status, None, false))
}

/// Bytes without end and without a length, until the client has had enough.
fn endless(out: &mut Counted<'_>) -> io::Result<Answered> {
    out.head("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    let chunk = vec![b' '; CHUNK];
    loop {
        if out.body(&chunk).is_err() {
            return Ok((200, None, false));
        }
    }
}

/// Opens a regular file inside the root; a symlink that leads out of it is not followed.
fn open(root: &Path, path: &str) -> Option<File> {
    let mut full = root.to_path_buf();
    full.extend(http::segments(path)?);
    let real = full.canonicalize().ok()?;
    (real.starts_with(root) && real.is_file()).then(|| File::open(real).ok())?
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
