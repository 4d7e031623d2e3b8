//! Each rule of the index is enforced by itself: an index that breaks one rule and keeps all the
//! others is refused for that rule.

#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

use common::{Payload, encode, image, params};
use twinroot_payload::index::{Expect, Index};

const HEADER: usize = 128;
const RECORD: usize = 72;

/// The index of an image, taken apart so that a test can change one thing.
struct Parts {
    payload: Payload,
    header: Vec<u8>,
    records: Vec<Vec<u8>>,
    runs: Vec<Vec<u8>>,
    keys: Vec<u8>,
}

impl Parts {
    /// Image A, zero, B, zero: a raw segment (runs 0+1, 2+1) and a zero segment (runs 1+1, 3+1).
    fn new() -> Self {
        let payload = encode(&image(&[2, 0, 4, 0]), None, &params(2));
        let index = &payload.file[..payload.encoded.index_bytes as usize];
        let (header, rest) = index.split_at(HEADER);
        let (records, rest) = rest.split_at(2 * RECORD);
        let runs = vec![rest[..6].to_vec(), rest[6..12].to_vec()];
        assert_eq!(runs, [[0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0]]);
        Self {
            header: header.to_vec(),
            records: records.chunks(RECORD).map(<[u8]>::to_vec).collect(),
            runs,
            keys: rest[12..].to_vec(),
            payload,
        }
    }

    fn record(&mut self, number: usize, at: usize, value: u64, width: usize) {
        self.records[number][at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    /// Puts the parts together again, lengths and positions made to fit the runs.
    fn join(&mut self) -> (Vec<u8>, Expect) {
        let runs: usize = self.runs.iter().map(Vec::len).sum();
        let index = (HEADER + 2 * RECORD + runs + self.keys.len()) as u64;
        let coded = self.payload.encoded.file_bytes - self.payload.encoded.index_bytes;
        let (first, second) = (self.runs[0].len() as u64, self.runs[1].len() as u64);
        self.record(0, 12, first, 4);
        self.record(1, 12, second, 4);
        self.record(0, 16, index, 8);
        self.record(1, 16, index + coded, 8);
        self.record(1, 24, first, 8);
        self.header[40..48].copy_from_slice(&(runs as u64).to_le_bytes());
        self.header[48..56].copy_from_slice(&(index + coded).to_le_bytes());
        let expect = Expect {
            file_bytes: index + coded,
            ..self.payload.expect()
        };
        (self.bytes(), expect)
    }

    fn bytes(&self) -> Vec<u8> {
        [
            self.header.clone(),
            self.records.concat(),
            self.runs.concat(),
            self.keys.clone(),
        ]
        .concat()
    }
}

fn refusal(bytes: &[u8], expect: &Expect) -> String {
    let error = Index::open(&bytes, expect).unwrap_err();
    assert_eq!(error.code(), "payload-index-invalid", "{error}");
    error.to_string()
}

#[test]
fn the_parts_put_together_again_are_accepted() {
    // Else the refusals below could come from the way the parts are joined.
    let (bytes, expect) = Parts::new().join();
    assert_eq!(bytes, Parts::new().bytes());
    Index::open(&bytes, &expect).unwrap();
}

#[test]
fn runs_that_break_one_rule_are_refused_for_that_rule() {
    let rules: [(usize, &[u8], &str); 10] = [
        // The zero segment takes block 2 as well: everything is covered, one block twice.
        (1, &[1, 0, 1, 0, 0, 0], "yields block 2 again"),
        (1, &[1, 0, 0], "in no segment"),
        (0, &[0, 0, 0, 1, 1, 0], "holds blocks that no run names"),
        (1, &[1, 2, 0, 1, 0, 0], "leaves its bounds"),
        (0, &[0, 0, 0, 1, 2, 0], "leaves its bounds"),
        (0, &[0, 0, 0, 4, 0, 0], "leaves its bounds"),
        (0, &[0, 0, 0, 1, 5, 0], "leaves its bounds"),
        (1, &[0x81, 0, 0, 0, 1, 0, 0], "malformed"),
        (1, &[1, 0, 0, 1, 0], "ends in the middle"),
        (
            1,
            &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0,
            ],
            "malformed",
        ),
    ];
    for (segment, runs, rule) in rules {
        let mut parts = Parts::new();
        parts.runs[segment] = runs.to_vec();
        let (bytes, expect) = parts.join();
        let said = refusal(&bytes, &expect);
        assert!(said.contains(rule), "{runs:?}: {said}");
    }
}

#[test]
fn counts_that_add_up_beyond_64_bits_are_refused() {
    // A gap of 2^64 - 1 after the first run: the sum must not wrap around.
    let mut parts = Parts::new();
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    parts.runs[1] = [&[1, 0, 0][..], &huge, &[0, 0]].concat();
    let (bytes, expect) = parts.join();
    assert!(refusal(&bytes, &expect).contains("leaves its bounds"));
    parts.runs[1] = [&[1, 0, 0, 1, 0][..], &huge].concat();
    let (bytes, expect) = parts.join();
    assert!(refusal(&bytes, &expect).contains("leaves its bounds"));
}

#[test]
fn segments_that_do_not_join_are_refused() {
    // Coded start, runs start and first key, each one too far or one too near.
    for at in [16, 24, 32] {
        for off in [1, u64::MAX] {
            let mut parts = Parts::new();
            let (_, expect) = parts.join();
            let mut old = [0; 8];
            old.copy_from_slice(&parts.records[1][at..at + 8]);
            parts.record(1, at, u64::from_le_bytes(old).wrapping_add(off), 8);
            let said = refusal(&parts.bytes(), &expect);
            assert!(said.contains("does not join"), "field at {at}: {said}");
        }
    }
}

#[test]
fn lengths_that_no_coding_has_are_refused() {
    // Segment, field, value: a raw segment of another length, a zero segment with coded bytes, or
    // with blocks; then a zstd one that is not shorter than its content.
    let cases = [
        (0, 8, 8191),
        (0, 8, 8193),
        (1, 8, 1),
        (1, 4, 1),
        (0, 4, 0),
        (0, 4, 3),
    ];
    for (segment, at, value) in cases {
        let mut parts = Parts::new();
        let (_, expect) = parts.join();
        parts.record(segment, at, value, 4);
        let said = refusal(&parts.bytes(), &expect);
        assert!(
            said.contains("coded bytes"),
            "segment {segment}, field at {at}: {said}"
        );
    }
    let mut parts = Parts::new();
    let (_, expect) = parts.join();
    parts.records[0][0] = 2;
    assert!(refusal(&parts.bytes(), &expect).contains("coded bytes"));
}

#[test]
fn reserved_bytes_must_be_zero() {
    for at in (57..64).chain(96..128) {
        let mut parts = Parts::new();
        let (_, expect) = parts.join();
        parts.header[at] = 1;
        assert!(
            refusal(&parts.bytes(), &expect).contains("reserved"),
            "byte {at}"
        );
    }
    let mut parts = Parts::new();
    let (_, expect) = parts.join();
    parts.records[1][1] = 1;
    assert!(refusal(&parts.bytes(), &expect).contains("reserved"));
}
