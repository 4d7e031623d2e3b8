//! The promises of [`Fetch`].

use crate::{Code, Fault, Fetch};

/// Files that the source under test must serve, below its metadata and its targets URL alike.
pub const CONTENT: &[(&str, &[u8])] = &[
    ("payload", &PAYLOAD),
    ("timestamp.json", b"{}"),
    ("channels/stable/manifest.toml", b"schema = 1\n"),
];

/// Longer than any buffer in the way, and different at every offset that a test looks at.
static PAYLOAD: [u8; 150_000] = {
    let mut bytes = [0; 150_000];
    let mut n = 0;
    while n < bytes.len() {
        bytes[n] = (n % 251) as u8 ^ (n >> 8) as u8;
        n += 1;
    }
    bytes
};

/// Checks a source that serves [`CONTENT`] and nothing else.
///
/// # Panics
/// With the promise that is broken.
pub fn fetch_contract(fetch: &dyn Fetch) {
    whole_files_come_within_their_limit(fetch);
    ranges_are_exactly_what_was_asked_for(fetch);
    a_missing_file_is_told_from_a_failure(fetch);
    a_sink_that_refuses_ends_the_fetch(fetch);
}

fn whole_files_come_within_their_limit(fetch: &dyn Fetch) {
    for (name, content) in CONTENT {
        let limit = content.len() as u64;
        for exact in [fetch.metadata(name, limit), fetch.target(name, limit)] {
            assert_eq!(
                exact.expect("a file at its limit comes").as_deref(),
                Some(*content),
                "{name}"
            );
        }
        for over in [
            fetch.metadata(name, limit - 1),
            fetch.target(name, limit - 1),
        ] {
            assert_eq!(
                over.expect_err("one byte too many").code,
                Code::EndlessData,
                "{name}"
            );
        }
    }
}

fn ranges_are_exactly_what_was_asked_for(fetch: &dyn Fetch) {
    let size = PAYLOAD.len();
    for range in [
        0..1,
        0..size,
        1..4096,
        70_000..140_001,
        size - 1..size,
        5..5,
    ] {
        let mut bytes = Vec::new();
        let asked = range.start as u64..range.end as u64;
        let outcome = fetch.range("payload", asked, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        outcome.expect("a range inside of the file");
        assert!(bytes == PAYLOAD[range.clone()], "the bytes of {range:?}");
    }
    let beyond = size as u64 - 10..size as u64 + 10;
    fetch
        .range("payload", beyond, &mut |_| Ok(()))
        .expect_err("a range beyond the end");
}

fn a_missing_file_is_told_from_a_failure(fetch: &dyn Fetch) {
    assert_eq!(
        fetch
            .metadata("2.root.json", 100)
            .expect("missing is no failure"),
        None
    );
    assert_eq!(
        fetch.target("none", 100).expect("missing is no failure"),
        None
    );
    let refusal = fetch
        .range("none", 0..1, &mut |_| Ok(()))
        .expect_err("nothing to take a range of");
    assert_eq!(refusal.code, Code::NotOnServer);
    for name in ["../secret", "/etc/passwd", ""] {
        assert_eq!(
            fetch.target(name, 10).expect_err(name).code,
            Code::NameRefused
        );
    }
}

fn a_sink_that_refuses_ends_the_fetch(fetch: &dyn Fetch) {
    let mut calls = 0;
    let outcome = fetch.range("payload", 0..PAYLOAD.len() as u64, &mut |_| {
        calls += 1;
        Err(Fault::disk("no room"))
    });
    let refusal = outcome.expect_err("the sink refused");
    assert!(refusal.cause.contains("no room"), "{refusal}");
    assert_eq!(calls, 1, "nothing is sent into a sink that has refused");
}
