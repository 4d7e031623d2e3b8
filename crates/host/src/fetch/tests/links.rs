//! Servers that ignore ranges, and a limit to the rate.

use std::io::Write as _;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use twinroot_core::error::Code;
use twinroot_ports::Fault;
use twinroot_ports::contract::fetch::CONTENT;

use super::server::Server;
use twinroot_ports::Fetch as _;

use super::{
    HttpFetch, HttpOptions, Mirrors, Pace, Secret, Source, collect, fetch, fetch_with, good_server,
    patient,
};

/// Sends the whole file, whatever is asked.
fn rangeless() -> Server {
    Server::start(|_, stream| {
        let body = CONTENT[0].1;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body);
    })
}

#[test]
fn a_range_is_cut_out_of_the_whole_file_where_a_server_ignores_ranges() {
    let server = rangeless();
    let body = CONTENT[0].1;
    for range in [0..10, 37..4000, 0..body.len() as u64, 5..body.len() as u64] {
        let expected = &body[range.start as usize..range.end as usize];
        assert_eq!(
            collect(&fetch(&server), range.clone()).unwrap(),
            expected,
            "{range:?}"
        );
    }
}

#[test]
fn a_whole_file_that_is_too_short_for_the_range_is_refused_and_the_next_mirror_asked() {
    let stump = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789");
    assert_eq!(
        collect(&fetch(&stump), 5..50).unwrap_err().code,
        Code::WrongRange
    );
    let good = good_server();
    let mirrors = Mirrors::new(vec![
        Source::Http(fetch(&stump)),
        Source::Http(fetch(&good)),
    ])
    .unwrap();
    assert_eq!(collect(&mirrors, 5..50).unwrap(), &CONTENT[0].1[5..50]);
}

#[test]
fn a_whole_file_that_breaks_off_within_the_range_goes_on_at_the_next_mirror() {
    let body = CONTENT[0].1;
    let dying = Server::start(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body[..500]);
    });
    assert_eq!(
        collect(&fetch(&dying), 100..900).unwrap_err().code,
        Code::Truncated
    );
    let good = good_server();
    let mirrors = Mirrors::new(vec![
        Source::Http(fetch(&dying)),
        Source::Http(fetch(&good)),
    ])
    .unwrap();
    assert_eq!(collect(&mirrors, 100..900).unwrap(), &body[100..900]);
    assert_eq!(good.requests()[0].header("range").unwrap(), "bytes=500-899");
}

#[test]
fn a_refusal_of_the_receiver_is_told_even_while_a_range_is_cut_out() {
    use twinroot_ports::Fetch;
    let outcome =
        fetch(&rangeless()).range("payload", 5..50, &mut |_| Err(Fault::disk("no space")));
    assert_eq!(outcome.unwrap_err().code, Code::DiskIo);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of waiting")]
fn two_mirrors_together_keep_to_the_rate_limit() {
    let servers = [good_server(), good_server()];
    // The file four times at this rate takes four times this long at the least.
    let rate = 5 * CONTENT[0].1.len() as u64;
    let options = HttpOptions {
        pace: NonZeroU64::new(rate).map(|rate| Arc::new(Pace::new(rate))),
        ..patient()
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        for server in &servers {
            let fetch = fetch_with(server, options.clone());
            scope.spawn(move || {
                for _ in 0..2 {
                    collect(&fetch, 0..CONTENT[0].1.len() as u64).unwrap();
                }
            });
        }
    });
    assert!(
        start.elapsed() >= Duration::from_millis(800),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_network_without_ipv4_is_enough() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        println!("SKIP this machine has no IPv6");
        return;
    };
    let server = Server::on(listener, |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nsix");
    });
    assert!(
        server.url().starts_with("http://[::1]:"),
        "{}",
        server.url()
    );
    let source = fetch(&server);
    assert_eq!(
        source.metadata("timestamp.json", 10).unwrap().unwrap(),
        b"six"
    );
}

fn with_token(server: &Server) -> HttpFetch {
    let options = HttpOptions {
        bearer: Some(Secret::new(b"s3cret-token\n".to_vec())),
        ..patient()
    };
    fetch_with(server, options)
}

#[test]
fn a_token_goes_to_the_repository_and_to_nobody_it_sends_us_to() {
    let other = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother");
    let to = format!("{}/timestamp.json", other.url());
    let server = Server::start(move |_, stream| {
        let moved = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        let _ = stream.write_all(moved.as_bytes());
    });
    let source = with_token(&server);
    assert_eq!(
        source.metadata("timestamp.json", 10).unwrap().unwrap(),
        b"other"
    );
    let sent = |server: &Server| server.requests()[0].header("authorization");
    assert_eq!(sent(&server).as_deref(), Some("Bearer s3cret-token"));
    assert_eq!(sent(&other), None, "another port is another server");
}

#[test]
fn a_token_is_shown_by_no_debug_print_and_by_no_failure() {
    let server = Server::saying("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
    let source = with_token(&server);
    let refusal = source.metadata("timestamp.json", 10).unwrap_err();
    let shown = format!("{source:?} {refusal:?} {refusal}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let broken = HttpOptions {
        bearer: Some(Secret::new(b"two words".to_vec())),
        ..patient()
    };
    let url = server.url();
    let refusal = HttpFetch::new(&url, &url, broken).unwrap_err();
    assert_eq!(refusal.code, Code::ConfigValue);
    assert!(!refusal.to_string().contains("words"), "{refusal}");
}

/// A server of `body` that closes every connection after so many bytes of it.
fn cutting(body: &'static [u8], after: usize) -> Server {
    Server::start(move |request, stream| {
        let range = request.header("range").unwrap();
        let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let (wanted, total) = (&body[first..=last], body.len());
        let head = format!(
            "HTTP/1.1 206 Part\r\ncontent-range: bytes {first}-{last}/{total}\r\ncontent-length: {}\r\n\r\n",
            wanted.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&wanted[..after.min(wanted.len())]);
    })
}

fn alone(server: &Server) -> Mirrors {
    Mirrors::new(vec![Source::Http(fetch(server))]).unwrap()
}

#[test]
fn a_server_that_cuts_long_transfers_is_asked_again_from_the_byte_reached() {
    let body: &'static [u8] = vec![0x5a; 5 << 20].leak();
    let server = cutting(body, (1 << 20) + 7);
    let mirrors = alone(&server);
    assert_eq!(
        collect(&mirrors, 3..body.len() as u64).unwrap().len(),
        body.len() - 3
    );
    assert_eq!(
        mirrors.traffic().bytes,
        body.len() as u64 - 3,
        "no byte comes twice"
    );
    let asked: Vec<_> = server
        .requests()
        .iter()
        .map(|r| r.header("range").unwrap())
        .collect();
    assert_eq!(asked.len(), 5);
    assert_eq!(
        asked[1],
        format!("bytes={}-{}", 3 + (1 << 20) + 7, body.len() - 1)
    );
}

#[test]
fn a_server_that_breaks_off_again_and_again_is_given_up() {
    for (after, requests) in [(0, 1), (10, 3)] {
        let server = cutting(CONTENT[0].1, after);
        let refusal = collect(&alone(&server), 0..1000).unwrap_err();
        assert_eq!(refusal.code, Code::Truncated, "{refusal}");
        assert_eq!(server.requests().len(), requests, "after {after} bytes");
    }
}
