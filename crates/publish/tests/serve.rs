//! The web server for trying out: ranges, refusals, counters, and faults on demand.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail by panicking, and its input files need not survive a crash"
)]

use std::io::{Read, Write};
use std::net::TcpStream;

use tempfile::TempDir;
use twinroot_publish::serve::Server;
use twinroot_publish::serve::faults::{Fault, Kind};

/// A directory with `a/file` of 1000 bytes, served.
fn served() -> (TempDir, Server, Vec<u8>) {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("a")).unwrap();
    let content: Vec<u8> = (0..1000u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(root.join("a/file"), &content).unwrap();
    std::fs::write(root.join("a/.file.new"), b"unfinished").unwrap();
    std::fs::write(dir.path().join("secret"), b"outside").unwrap();
    std::os::unix::fs::symlink(dir.path().join("secret"), root.join("link")).unwrap();
    let server = Server::start(&root, "127.0.0.1:0").unwrap();
    (dir, server, content)
}

struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// One request on a connection of its own.
fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Response {
    let mut stream = connect(server);
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    split(&all)
}

fn connect(server: &Server) -> TcpStream {
    let address = server.url();
    TcpStream::connect(address.trim_start_matches("http://").trim_end_matches('/')).unwrap()
}

fn split(all: &[u8]) -> Response {
    let end = all
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a whole head");
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response {
        status,
        head,
        body: all[end + 4..].to_vec(),
    }
}

#[test]
fn files_and_single_ranges_are_served_exactly() {
    let (_dir, server, content) = served();
    let whole = ask(&server, "GET", "/a/file", "");
    assert_eq!((whole.status, &whole.body), (200, &content));
    let part = ask(&server, "GET", "/a/file", "Range: bytes=10-19\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &content[10..20]));
    assert!(
        part.head.contains("Content-Range: bytes 10-19/1000"),
        "{}",
        part.head
    );
    let tail = ask(&server, "GET", "/a/file?x=1", "Range: bytes=990-\r\n");
    assert_eq!((tail.status, &tail.body[..]), (206, &content[990..]));
    let beyond = ask(&server, "GET", "/a/file", "Range: bytes=1000-\r\n");
    assert_eq!((beyond.status, beyond.body.len()), (416, 0));
    let conditional = ask(
        &server,
        "GET",
        "/a/file",
        "Range: bytes=10-19\r\nIf-Range: \"old\"\r\n",
    );
    assert_eq!((conditional.status, conditional.body.len()), (200, 1000));
    let head = ask(&server, "HEAD", "/a/file", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.head.contains("Content-Length: 1000"), "{}", head.head);
}

#[test]
fn nothing_outside_the_directory_and_nothing_unfinished_is_served() {
    let (_dir, server, _) = served();
    for path in [
        "/../secret",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/link",
        "/a",
        "/",
        "/a/.file.new",
        "/missing",
        "//a/file",
    ] {
        assert_eq!(ask(&server, "GET", path, "").status, 404, "{path}");
    }
    assert_eq!(ask(&server, "POST", "/a/file", "").status, 405);
}

#[test]
fn one_connection_carries_several_requests_and_all_are_counted() {
    let (_dir, server, content) = served();
    let mut stream = connect(&server);
    for _ in 0..3 {
        write!(
            stream,
            "GET /a/file HTTP/1.1\r\nHost: x\r\nRange: bytes=0-99\r\n\r\n"
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut body = [0; 100];
        stream.read_exact(&mut body).unwrap();
        assert_eq!(body, content[..100]);
    }
    // Closing and reading to the end makes sure that the last answer has been written down.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!((server.requests(), server.bytes_sent()), (3, 300));
    let log = server.log();
    assert_eq!(log.len(), 3);
    assert_eq!(
        (
            log[0].path.as_str(),
            log[0].status,
            log[0].range,
            log[0].bytes
        ),
        ("/a/file", 206, Some((0, 99)), 100)
    );
    server.forget();
    assert_eq!(
        (server.requests(), server.bytes_sent(), server.log().len()),
        (0, 0, 0)
    );
}

#[test]
fn faults_hit_what_they_name_as_often_as_they_say() {
    let (_dir, server, content) = served();
    server.set_faults(vec![Fault::times("a/file", 2, Kind::Status(503))]);
    let statuses: Vec<u16> = (0..3)
        .map(|_| ask(&server, "GET", "/a/file", "").status)
        .collect();
    assert_eq!(statuses, [503, 503, 200]);

    let fault = |kind| {
        server.set_faults(vec![Fault::always("a/file", kind)]);
        ask(&server, "GET", "/a/file", "Range: bytes=100-199\r\n")
    };
    let truncated = fault(Kind::Truncated(30));
    assert!(
        truncated.head.contains("Content-Length: 100"),
        "{}",
        truncated.head
    );
    assert_eq!(truncated.body, content[100..130]);
    let whole = fault(Kind::IgnoreRange);
    assert_eq!((whole.status, whole.body), (200, content.clone()));
    let early = fault(Kind::WrongRange);
    assert!(early.head.contains("bytes 99-198/1000"), "{}", early.head);
    assert_eq!(early.body, content[99..199]);
    let elsewhere = fault(Kind::Redirect("file:///etc/passwd".into()));
    assert_eq!(elsewhere.status, 302);
    assert!(
        elsewhere.head.contains("Location: file:///etc/passwd"),
        "{}",
        elsewhere.head
    );
    let corrupt = fault(Kind::Corrupt(150));
    let differing: Vec<usize> = (0..100)
        .filter(|at| corrupt.body[*at] != content[100 + at])
        .collect();
    assert_eq!(differing, [50]);
    let elsewhere = ask(&server, "GET", "/missing", "");
    assert_eq!(elsewhere.status, 404, "other paths are left alone");
}

#[test]
fn an_endless_answer_goes_on_until_the_client_leaves() {
    let (_dir, server, content) = served();
    server.set_faults(vec![Fault::always("a/file", Kind::Endless)]);
    let mut stream = connect(&server);
    write!(stream, "GET /a/file HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut much = vec![0; content.len() * 1000];
    stream
        .read_exact(&mut much)
        .expect("a thousand times the file is only the beginning");
    drop(stream);
    server.stop();
}

#[test]
fn a_slow_answer_keeps_to_its_rate() {
    let (_dir, server, content) = served();
    server.set_faults(vec![Fault::always("a/file", Kind::Slow(2000))]);
    #[allow(clippy::disallowed_methods, reason = "the rate is what is measured")]
    let begin = std::time::Instant::now();
    assert_eq!(ask(&server, "GET", "/a/file", "").body, content);
    assert!(
        begin.elapsed() >= std::time::Duration::from_millis(400),
        "{:?} for half a second's worth",
        begin.elapsed()
    );
}

#[test]
fn a_stopped_server_answers_nobody() {
    let (_dir, server, _) = served();
    let address = server.url();
    let idle = connect(&server);
    server.stop();
    drop(idle);
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    assert!(TcpStream::connect(address).is_err());
}
