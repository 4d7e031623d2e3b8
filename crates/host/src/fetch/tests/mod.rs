mod links;
mod server;
mod tls;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use twinroot_core::error::{Code, Failure};
use twinroot_ports::contract::fetch::{CONTENT, fetch_contract};
use twinroot_ports::{Fault, Fetch};

use super::*;
use server::Server;

/// Patient, so that a busy machine changes no verdict.
fn patient() -> HttpOptions {
    HttpOptions {
        idle_timeout: Duration::from_secs(20),
        ..HttpOptions::default()
    }
}

/// Gives up on silence in a moment.
fn hasty() -> HttpOptions {
    HttpOptions {
        idle_timeout: Duration::from_millis(400),
        ..HttpOptions::default()
    }
}

/// Demands a throughput, over a small window.
fn demanding() -> HttpOptions {
    let minimum = MinimumThroughput {
        bytes_per_second: 1000,
        window: Duration::from_millis(300),
    };
    HttpOptions {
        minimum,
        ..patient()
    }
}

fn fetch_with(server: &Server, options: HttpOptions) -> HttpFetch {
    HttpFetch::new(&server.url(), &server.url(), options).unwrap()
}

fn fetch(server: &Server) -> HttpFetch {
    fetch_with(server, patient())
}

fn collect(fetch: &dyn Fetch, range: std::ops::Range<u64>) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    fetch.range("payload", range, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// A well-behaved server of the contract's files.
fn good_server() -> Server {
    Server::start(|request, stream| {
        let file = request.path.strip_prefix("/repo/").unwrap_or_default();
        let Some((_, content)) = CONTENT.iter().find(|(name, _)| *name == file) else {
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnone",
            );
            return;
        };
        let (head, body) = match request.header("range") {
            None => (String::from("HTTP/1.1 200 OK\r\n"), *content),
            Some(range) => {
                let (first, last) = range["bytes=".len()..].split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                if last >= content.len() {
                    let _ = stream.write_all(
                        b"HTTP/1.1 416 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    );
                    return;
                }
                let total = content.len();
                let head =
                    format!("HTTP/1.1 206 Part\r\ncontent-range: bytes {first}-{last}/{total}\r\n");
                (head, &content[first..=last])
            }
        };
        let _ = write!(
            stream,
            "{head}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(body);
    })
}

#[test]
fn http_keeps_the_contract_of_every_source() {
    let server = good_server();
    fetch_contract(&fetch(&server));
}

#[test]
fn a_directory_keeps_the_contract_of_every_source() {
    let home = tempfile::tempdir().unwrap();
    write_content(home.path());
    fetch_contract(&DirFetch::new(home.path(), home.path()));
    let url = format!("file://{}", home.path().display());
    fetch_contract(&open(&[(url.clone(), url)], &patient()).unwrap());
}

#[expect(clippy::disallowed_methods, reason = "fixtures of a test")]
fn write_content(home: &std::path::Path) {
    for (name, content) in CONTENT {
        let path = home.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[test]
fn a_directory_is_never_left_and_its_absence_is_no_answer() {
    let home = tempfile::tempdir().unwrap();
    let repo = home.path().join("repo");
    std::fs::create_dir(&repo).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", repo.join("out")).unwrap();
    let source = DirFetch::new(&repo, &repo);
    assert_eq!(
        source.metadata("out", 100).unwrap_err().code,
        Code::NameRefused
    );
    nix::unistd::mkfifo(&repo.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(source.metadata("fifo", 100).unwrap_err().code, Code::FileIo);
    let gone = DirFetch::new(&home.path().join("stick"), &repo);
    assert_eq!(
        gone.metadata("2.root.json", 100).unwrap_err().code,
        Code::Unreachable
    );
}

#[test]
fn the_node_says_who_it_is_and_takes_no_compressed_answer() {
    let server =
        Server::saying("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx");
    let refusal = fetch(&server).metadata("timestamp.json", 100).unwrap_err();
    assert_eq!(refusal.code, Code::HttpStatus, "{refusal}");
    let request = &server.requests()[0];
    let agent = request.header("user-agent").unwrap();
    assert_eq!(agent, format!("twinroot/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(request.header("accept-encoding").unwrap(), "identity");
}

#[test]
fn endless_answers_end_one_byte_after_the_limit() {
    // No length is announced and the body never ends.
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let source = fetch(&server);
    let refusal = source.metadata("timestamp.json", 16 * 1024).unwrap_err();
    assert_eq!(refusal.code, Code::EndlessData, "{refusal}");
    assert!(
        source.traffic().bytes < 1024 * 1024,
        "{:?}",
        source.traffic()
    );

    let announced = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\nx");
    let source = fetch(&announced);
    assert_eq!(
        source.metadata("timestamp.json", 10).unwrap_err().code,
        Code::EndlessData
    );
    assert_eq!(
        source.traffic().bytes,
        0,
        "an announced excess is not even read"
    );
}

#[test]
fn a_chunked_range_that_goes_on_is_cut_at_its_length() {
    let server = Server::start(|_, stream| {
        let head =
            "HTTP/1.1 206 P\r\ncontent-range: bytes 0-9/100\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(b"5\r\nhello\r\n").is_ok() {}
    });
    assert_eq!(
        collect(&fetch(&server), 0..10).unwrap_err().code,
        Code::EndlessData
    );
}

#[test]
fn a_trickle_is_too_slow_even_though_it_never_idles() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n");
        // 20 bytes a second: never silent for the idle time-out, far below the minimum.
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let refusal = fetch_with(&server, demanding())
        .metadata("timestamp.json", 10_000)
        .unwrap_err();
    assert_eq!(refusal.code, Code::TooSlow, "{refusal}");
}

#[test]
fn silence_times_out_before_and_amid_the_answer() {
    for said in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
    ] {
        let server = Server::start(move |_, stream| {
            let _ = stream.write_all(said.as_bytes());
            // Holds the connection open until the client gives up.
            let _ = std::io::Read::read(stream, &mut [0; 1]);
        });
        let refusal = fetch_with(&server, hasty())
            .metadata("timestamp.json", 100)
            .unwrap_err();
        assert_eq!(refusal.code, Code::TimedOut, "after {said:?}: {refusal}");
    }
}

#[test]
fn headers_that_trickle_do_not_outlast_the_idle_timeout() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(
        fetch_with(&server, hasty())
            .metadata("timestamp.json", 100)
            .unwrap_err()
            .code,
        Code::TimedOut
    );
}

#[test]
fn a_flood_of_headers_is_refused() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        for n in 0_u64.. {
            if write!(stream, "x-{n}: {n:0>1000}\r\n").is_err() {
                return;
            }
        }
    });
    let refusal = fetch(&server).metadata("timestamp.json", 100).unwrap_err();
    assert_eq!(refusal.code, Code::Unreachable, "{refusal}");
}

#[test]
fn an_answer_that_breaks_off_is_truncated() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this";
    let refusal = fetch(&Server::saying(cut))
        .metadata("snapshot.json", 1000)
        .unwrap_err();
    assert_eq!(refusal.code, Code::Truncated, "{refusal}");
    let short = "HTTP/1.1 206 P\r\ncontent-range: bytes 0-9/100\r\nconnection: close\r\n\r\nonly";
    assert_eq!(
        collect(&fetch(&Server::saying(short)), 0..10)
            .unwrap_err()
            .code,
        Code::Truncated
    );
}

#[test]
fn an_answer_to_another_range_is_refused_before_a_byte_of_it_is_used() {
    let lies = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 P\r\ncontent-length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 P\r\ncontent-range: bytes 0-9/100\r\ncontent-length: 10\r\n\r\n0123456789",
        "HTTP/1.1 206 P\r\ncontent-range: bytes 19-29/100\r\ncontent-length: 11\r\n\r\n0123456789a",
        "HTTP/1.1 206 P\r\ncontent-range: bytes 20-28/100\r\ncontent-length: 9\r\n\r\n012345678",
        "HTTP/1.1 206 P\r\ncontent-range: bytes 20-29/100\r\ncontent-length: 9\r\n\r\n012345678",
        "HTTP/1.1 416 No\r\ncontent-range: bytes */15\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ];
    for lie in lies {
        let mut used = 0;
        let outcome = fetch(&Server::saying(lie)).range("payload", 20..30, &mut |piece| {
            used += piece.len();
            Ok(())
        });
        assert_eq!(outcome.unwrap_err().code, Code::WrongRange, "{lie}");
        assert_eq!(used, 0, "{lie}");
    }
}

#[test]
fn only_404_means_that_there_is_none() {
    for (status, code) in [
        (403, Code::HttpStatus),
        (500, Code::HttpStatus),
        (204, Code::HttpStatus),
        (304, Code::HttpStatus),
    ] {
        let server = Server::start(move |_, stream| {
            let _ = write!(
                stream,
                "HTTP/1.1 {status} S\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        });
        let refusal = fetch(&server).metadata("2.root.json", 100).unwrap_err();
        assert_eq!(refusal.code, code, "{status}");
        let mirrors = Mirrors::new(vec![Source::Http(fetch(&server))]).unwrap();
        assert_eq!(mirrors.metadata("2.root.json", 100).unwrap_err().code, code);
    }
    let forbidden =
        Server::saying("HTTP/1.1 403 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let options = HttpOptions {
        forbidden_is_missing: true,
        ..patient()
    };
    assert_eq!(
        fetch_with(&forbidden, options)
            .metadata("2.root.json", 100)
            .unwrap(),
        None
    );
}

#[test]
fn redirects_within_http_are_followed_and_others_refused() {
    let good = good_server();
    let target = format!("{}/payload", good.url());
    let server = Server::start(move |request, stream| {
        let to = match request.path.as_str() {
            "/repo/good" => target.clone(),
            "/repo/file" => String::from("file:///etc/hostname"),
            "/repo/ftp" => String::from("ftp://127.0.0.1/x"),
            _ => String::from("/repo/loop"),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    });
    let source = fetch(&server);
    assert_eq!(
        source.target("good", 200_000).unwrap().unwrap(),
        CONTENT[0].1
    );
    for path in ["file", "ftp", "loop"] {
        let refusal = source.target(path, 100).unwrap_err();
        assert_eq!(refusal.code, Code::RedirectRefused, "{path}: {refusal}");
    }
    let loops = server
        .requests()
        .iter()
        .filter(|r| r.path == "/repo/loop")
        .count();
    assert_eq!(loops, 6, "the request and five redirects");
}

#[test]
fn a_name_cannot_leave_the_repository() {
    let server = good_server();
    let source = fetch(&server);
    for name in [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a\\b",
        "a\nb",
        ".",
    ] {
        assert_eq!(
            source.target(name, 10).unwrap_err().code,
            Code::NameRefused,
            "{name:?}"
        );
    }
    assert_eq!(server.requests().len(), 0);
    assert_eq!(source.target("what?x#y z%2F", 10).unwrap(), None);
    assert_eq!(server.requests()[0].path, "/repo/what%3Fx%23y%20z%2F");
}

#[test]
fn urls_of_other_kinds_are_refused() {
    for url in [
        "ftp://x/",
        "nonsense",
        "https://x/?q=1",
        "file://other-host/x",
        "",
    ] {
        let refusal = open(&[(String::from(url), String::from(url))], &patient()).unwrap_err();
        assert_eq!(refusal.code, Code::UrlInvalid, "{url}");
    }
    assert_eq!(open(&[], &patient()).unwrap_err().code, Code::ConfigMissing);
}

#[test]
fn a_dead_server_is_unreachable_and_an_impostor_fails_tls() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let source = HttpFetch::new(&url, &url, patient()).unwrap();
    assert_eq!(
        source.metadata("timestamp.json", 10).unwrap_err().code,
        Code::Unreachable
    );

    let plain = Server::saying("this is no TLS at all");
    let url = plain.url().replace("http://", "https://");
    let source = HttpFetch::new(&url, &url, patient()).unwrap();
    let refusal = source.metadata("timestamp.json", 10).unwrap_err();
    assert!(
        matches!(
            refusal.code,
            Code::TlsFailed | Code::Unreachable | Code::TimedOut
        ),
        "{refusal}"
    );
}

#[test]
fn proxies_are_used_when_configured_only() {
    let proxy = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy");
    let options = HttpOptions {
        proxy: Some(proxy.url()),
        ..patient()
    };
    let url = "http://mirror.invalid/repo";
    let source = HttpFetch::new(url, url, options).unwrap();
    assert_eq!(
        source.metadata("timestamp.json", 10).unwrap().unwrap(),
        b"proxy"
    );
    assert_eq!(
        proxy.requests()[0].path,
        "http://mirror.invalid/repo/timestamp.json"
    );
}

#[test]
fn the_next_mirror_takes_over_where_the_first_broke_off() {
    let content = CONTENT[0].1;
    let dying = Server::start(move |_, stream| {
        let mut head = String::new();
        let _ = write!(
            head,
            "HTTP/1.1 206 P\r\ncontent-range: bytes 0-99/{}\r\ncontent-length: 100\r\n\r\n",
            content.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&content[..37]);
    });
    let good = good_server();
    let mirrors = Mirrors::new(vec![
        Source::Http(fetch(&dying)),
        Source::Http(fetch(&good)),
    ])
    .unwrap();
    assert_eq!(collect(&mirrors, 0..100).unwrap(), &content[..100]);
    assert_eq!(good.requests()[0].header("range").unwrap(), "bytes=37-99");
    assert_eq!(mirrors.traffic().bytes, 100);
    assert_eq!(mirrors.traffic().requests, 2);

    collect(&mirrors, 0..10).unwrap();
    assert_eq!(
        dying.requests().len(),
        1,
        "the mirror that worked is asked first from then on"
    );
    assert!(mirrors.distrust());
    let _ = collect(&mirrors, 0..10);
    assert_eq!(dying.requests().len(), 2, "until it is distrusted");
}

#[test]
fn a_dead_mirror_neither_hides_nor_proves_that_there_is_none() {
    let broken =
        Server::saying("HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let good = good_server();
    let both = || vec![Source::Http(fetch(&broken)), Source::Http(fetch(&good))];
    let mirrors = Mirrors::new(both()).unwrap();
    assert_eq!(mirrors.metadata("9.root.json", 100).unwrap(), None);
    assert!(mirrors.target("payload", 200_000).unwrap().is_some());
    let all_broken = Mirrors::new(vec![
        Source::Http(fetch(&broken)),
        Source::Http(fetch(&broken)),
    ])
    .unwrap();
    assert_eq!(
        all_broken.metadata("9.root.json", 100).unwrap_err().code,
        Code::HttpStatus
    );
}

#[test]
fn a_refusal_of_the_receiver_ends_the_search() {
    let (one, two) = (good_server(), good_server());
    let mirrors = Mirrors::new(vec![Source::Http(fetch(&one)), Source::Http(fetch(&two))]).unwrap();
    let outcome = mirrors.range("payload", 0..100, &mut |_| Err(Fault::disk("no space")));
    assert_eq!(outcome.unwrap_err().code, Code::DiskIo);
    assert_eq!(
        two.requests().len(),
        0,
        "another mirror does not make the disk any better"
    );
}
