//! Damaged and hostile payloads: refused with a code, or healed; never a wrong image, never an
//! allocation or a decoding that the signed numbers do not allow.
#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

use common::{Budget, From, Payload, SALT, apply, block, empty_slot, encode, image, params};
use proptest::prelude::*;
use twinroot_payload::Error;
use twinroot_payload::encode::{Compressor, History, Layout, Params, SegmentMeta};
use twinroot_payload::index::{Coding, Expect, INDEX_MAX, Index, load};
use twinroot_payload::io::{CodedSource, Fault, fetch_into};
use twinroot_payload::verity::{BLOCK, claimed_root, sha256};

/// Applies a payload to an empty slot; the image, or the code of the refusal.
fn outcome(payload: &Payload) -> Result<Vec<u8>, &'static str> {
    let budget = Budget::endless();
    let (data, tree) = empty_slot(payload, &budget);
    match apply(payload, From::Nothing, &payload.file, &data, &tree) {
        Ok(_) => Ok(data.bytes()),
        Err(error) => {
            let claim = claimed_root(&tree).unwrap();
            assert_eq!(
                claim, None,
                "refused with {error}, and yet the slot claims something"
            );
            Err(error.code())
        }
    }
}

/// A payload whose segments are coded by `code` instead, with digests and index to match: what a
/// hostile publisher could sign.
fn coded_by(image: &[u8], code: impl Fn(usize, &[u8]) -> (Coding, Vec<u8>)) -> Payload {
    let params = params(4);
    let layout = Layout::make(&image, SALT, None, &params).unwrap();
    let mut coded = Vec::new();
    for (number, segment) in layout.segments().iter().enumerate() {
        let plain: Vec<u8> = segment
            .blocks
            .iter()
            .flat_map(|n| &image[*n as usize * BLOCK..(*n as usize + 1) * BLOCK])
            .copied()
            .collect();
        coded.push(code(number, &plain));
    }
    let metas: Vec<SegmentMeta> = coded
        .iter()
        .map(|(coding, bytes)| SegmentMeta {
            coding: *coding,
            coded_bytes: bytes.len() as u32,
            digest: sha256(bytes),
        })
        .collect();
    let mut file = layout.finish(&metas).unwrap();
    let index = file.clone();
    coded
        .iter()
        .for_each(|(_, bytes)| file.extend_from_slice(bytes));
    let encoded = twinroot_payload::encode::Encoded {
        root_hash: *layout.root_hash(),
        index_bytes: index.len() as u64,
        index_digest: sha256(&index),
        file_bytes: file.len() as u64,
        history: layout.history().clone(),
    };
    Payload {
        file,
        encoded,
        image_bytes: image.len() as u64,
    }
}

fn zstd(plain: &[u8], level: i32) -> Vec<u8> {
    let mut out = vec![0; zstd_safe::compress_bound(plain.len())];
    let written = zstd_safe::compress(&mut out[..], plain, level).unwrap();
    out.truncate(written);
    out
}

/// Twelve blocks that compress well: three segments of four.
fn compressible() -> Vec<u8> {
    image(&(0..12).map(|n| 2 * n + 1).collect::<Vec<_>>())
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_payload_is_refused_by_a_digest() {
    let image = image(&[1, 0, 2, 3, 1, 0]);
    let payload = encode(&image, None, &params(2));
    assert!(outcome(&payload).unwrap() == image);
    // Raw block 2 makes the file long; its inside is all alike.
    let step = |at: usize| if at < 1024 { 1 } else { 13 };
    let mut at = 0;
    while at < payload.file.len() {
        let mut bad = payload.clone();
        bad.file[at] ^= 1 << (at % 8);
        let in_index = at < payload.encoded.index_bytes as usize;
        let expected = if in_index {
            "payload-index-digest"
        } else {
            "payload-segment-digest"
        };
        assert_eq!(outcome(&bad).unwrap_err(), expected, "byte {at}");
        at += step(at);
    }
}

#[test]
fn a_damaged_index_that_someone_signed_yields_a_refusal_or_the_image() {
    // As above, but with the digest of the index made to match: the index parser alone.
    let image = image(&[1, 0, 2, 3, 1, 0, 5, 7, 9, 0]);
    let payload = encode(&image, None, &params(2));
    let size = payload.encoded.index_bytes as usize;
    let mut codes = std::collections::BTreeSet::new();
    for at in 0..size {
        for bit in 0..8 {
            let mut bad = payload.clone();
            bad.file[at] ^= 1 << bit;
            bad.encoded.index_digest = sha256(&bad.file[..size]);
            match outcome(&bad) {
                Ok(got) => assert!(got == image, "bit {bit} of byte {at} changed the image"),
                Err(code) => drop(codes.insert(code)),
            }
        }
    }
    for code in [
        "payload-index-invalid",
        "payload-not-a-payload",
        "payload-format-unknown",
    ] {
        assert!(codes.contains(code), "{code} is not among {codes:?}");
    }
    assert!(codes.contains("payload-coding-unknown"), "{codes:?}");
    assert!(
        codes.contains("payload-index-for-another-image"),
        "{codes:?}"
    );
}

#[test]
fn an_index_cut_at_any_length_is_refused() {
    let payload = encode(&image(&[1, 0, 2, 3]), None, &params(2));
    for len in 0..payload.encoded.index_bytes as usize {
        let cut = &payload.file[..len];
        let error = Index::open(&cut, &payload.expect()).unwrap_err();
        assert!(["payload-index-invalid", "payload-not-a-payload"].contains(&error.code()));
    }
    let mut long = payload.file[..payload.encoded.index_bytes as usize].to_vec();
    long.push(0);
    assert_eq!(
        Index::open(&long, &payload.expect()).unwrap_err().code(),
        "payload-index-invalid"
    );
}

#[test]
fn a_payload_cut_short_is_refused() {
    let payload = encode(&image(&[1, 0, 2, 3]), None, &params(2));
    for missing in [1, 100, payload.file.len()] {
        let mut bad = payload.clone();
        bad.file.truncate(payload.file.len() - missing);
        assert_eq!(outcome(&bad).unwrap_err(), "payload-past-end");
    }
}

#[test]
fn absurd_counts_are_refused_before_anything_is_allocated_for_them() {
    let payload = encode(&image(&[1, 2, 3]), None, &params(2));
    let index = payload.file[..payload.encoded.index_bytes as usize].to_vec();
    // Segments, image blocks, distinct blocks, bytes of runs: the header's counts.
    for (at, width) in [(20, 4), (24, 8), (32, 8), (40, 8)] {
        for value in [u64::MAX, 1 << 62, 1 << 31] {
            let mut bad = index.clone();
            bad[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            let error = Index::open(&bad, &payload.expect()).unwrap_err();
            let codes = ["payload-index-invalid", "payload-too-large"];
            assert!(codes.contains(&error.code()), "count at {at}: {error}");
        }
    }
    struct Unasked;
    impl CodedSource for Unasked {
        fn fetch(
            &self,
            _: std::ops::Range<u64>,
            _: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
        ) -> Result<(), Fault> {
            panic!("an index too large must not be fetched")
        }
    }
    for size in [INDEX_MAX + 1, u64::MAX] {
        assert_eq!(
            load(&Unasked, size, &[0; 32]).unwrap_err().code(),
            "payload-too-large"
        );
    }
}

#[test]
fn an_index_for_another_image_is_refused_before_a_segment_is_fetched() {
    let payload = encode(&image(&[1, 2, 3]), None, &params(2));
    let index = payload.file[..payload.encoded.index_bytes as usize].to_vec();
    let good = payload.expect();
    let others = [
        Expect {
            image_bytes: 4 * BLOCK as u64,
            ..good
        },
        Expect {
            root_hash: [1; 32],
            ..good
        },
        Expect {
            file_bytes: good.file_bytes + 1,
            ..good
        },
    ];
    for other in others {
        let error = Index::open(&index, &other).unwrap_err();
        assert_eq!(error.code(), "payload-index-for-another-image");
    }
}

#[test]
fn the_maker_of_hostile_payloads_makes_good_ones_too() {
    // Else the refusals below could come from the way these payloads are put together.
    let image = compressible();
    let payload = coded_by(&image, |_, plain| (Coding::Zstd, zstd(plain, 3)));
    assert!(outcome(&payload).unwrap() == image);
    let payload = coded_by(&image, |_, plain| (Coding::Raw, plain.to_vec()));
    assert!(outcome(&payload).unwrap() == image);
}

#[test]
fn a_bomb_is_refused_by_its_declared_size_and_by_its_real_one() {
    let image = compressible();
    // 64 MiB of zeroes in a few KiB, honest about its size.
    let bomb = zstd(&vec![0; 64 << 20], 3);
    let honest = coded_by(&image, |_, _| (Coding::Zstd, bomb.clone()));
    assert_eq!(outcome(&honest).unwrap_err(), "payload-segment-invalid");
    // The same with the size in its header made to say 16 KiB. Magic, descriptor (0x80: four bytes
    // of size), window, size.
    let mut liar = bomb.clone();
    assert_eq!(liar[4], 0x80, "the frame header is not the one expected");
    liar[6..10].copy_from_slice(&(4 * BLOCK as u32).to_le_bytes());
    let lying = coded_by(&image, |_, _| (Coding::Zstd, liar.clone()));
    assert_eq!(outcome(&lying).unwrap_err(), "payload-segment-invalid");
}

/// A frame with the body of a real one and a header by hand (RFC 8878, 3.1.1.1): not a single
/// segment, this window descriptor, four bytes of content size.
fn with_window(plain: &[u8], window: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x80, window];
    frame.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    let real = zstd(plain, 3);
    assert_eq!(real[4], 0x60, "the frame header is not the one expected");
    frame.extend_from_slice(&real[7..]); // magic 4, descriptor 1, size 2
    frame
}

#[test]
fn a_frame_that_asks_for_a_window_of_2_gib_gets_none() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmPeak"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap() // KiB
    };
    let image = compressible();
    // 2^31 bytes, the most that zstd itself allows: exponent 21 over 2^10.
    let payload = coded_by(&image, |_, plain| {
        (Coding::Zstd, with_window(plain, 21 << 3))
    });
    let before = peak();
    assert!(outcome(&payload).unwrap() == image);
    assert!(
        peak() - before < 1 << 20,
        "address space grew by {} KiB",
        peak() - before
    );
}

#[test]
fn a_frame_that_asks_for_a_window_beyond_all_bounds_is_refused() {
    let image = compressible();
    let payload = coded_by(&image, |_, plain| {
        (Coding::Zstd, with_window(plain, 31 << 3))
    });
    assert_eq!(outcome(&payload).unwrap_err(), "payload-segment-invalid");
}

#[test]
fn only_one_plain_frame_is_accepted() {
    let image = compressible();
    type Code = fn(&[u8]) -> Vec<u8>;
    let skippable: Vec<u8> = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let hostile: [(&str, Code); 5] = [
        ("two frames", |plain| {
            let (a, b) = plain.split_at(2 * BLOCK);
            [zstd(a, 3), zstd(b, 3)].concat()
        }),
        ("a byte behind the frame", |plain| {
            [zstd(plain, 3), vec![0]].concat()
        }),
        ("an empty frame behind it", |plain| {
            [zstd(plain, 3), zstd(&[], 3)].concat()
        }),
        ("a frame cut short", |plain| {
            let frame = zstd(plain, 3);
            frame[..frame.len() - 1].to_vec()
        }),
        ("too little content", |plain| zstd(&plain[..3 * BLOCK], 3)),
    ];
    for (what, code) in hostile {
        let payload = coded_by(&image, |_, plain| (Coding::Zstd, code(plain)));
        assert_eq!(
            outcome(&payload).unwrap_err(),
            "payload-segment-invalid",
            "{what}"
        );
    }
    for front in [true, false] {
        let payload = coded_by(&image, |_, plain| {
            let frame = zstd(plain, 3);
            let parts = if front {
                [&skippable, &frame]
            } else {
                [&frame, &skippable]
            };
            (Coding::Zstd, parts.map(Vec::as_slice).concat())
        });
        assert_eq!(outcome(&payload).unwrap_err(), "payload-segment-invalid");
    }
}

#[test]
fn a_frame_without_its_size_is_refused() {
    let image = compressible();
    let payload = coded_by(&image, |_, plain| {
        let mut context = zstd_safe::CCtx::create();
        context
            .set_parameter(zstd_safe::CParameter::ContentSizeFlag(false))
            .unwrap();
        let mut out = vec![0; zstd_safe::compress_bound(plain.len())];
        let written = context.compress2(&mut out[..], plain).unwrap();
        out.truncate(written);
        (Coding::Zstd, out)
    });
    assert_eq!(outcome(&payload).unwrap_err(), "payload-segment-invalid");
}

#[test]
fn a_frame_with_a_wrong_checksum_is_refused() {
    let image = compressible();
    let with_checksum = |plain: &[u8], spoil: u8| {
        let mut context = zstd_safe::CCtx::create();
        context
            .set_parameter(zstd_safe::CParameter::ChecksumFlag(true))
            .unwrap();
        let mut out = vec![0; zstd_safe::compress_bound(plain.len())];
        let written = context.compress2(&mut out[..], plain).unwrap();
        out.truncate(written);
        *out.last_mut().unwrap() ^= spoil;
        (Coding::Zstd, out)
    };
    let good = coded_by(&image, |_, plain| with_checksum(plain, 0));
    assert!(outcome(&good).unwrap() == image);
    let bad = coded_by(&image, |_, plain| with_checksum(plain, 1));
    assert_eq!(outcome(&bad).unwrap_err(), "payload-segment-invalid");
}

#[test]
fn content_that_is_not_the_signed_image_is_refused_by_the_root_hash() {
    // Well formed in every part, signed by digest, but one block is another.
    let image = compressible();
    let payload = coded_by(&image, |number, plain| {
        let mut plain = plain.to_vec();
        if number == 1 {
            plain[..BLOCK].copy_from_slice(&block(99));
        }
        (Coding::Zstd, zstd(&plain, 3))
    });
    assert_eq!(outcome(&payload).unwrap_err(), "payload-root-hash");
}

#[test]
fn a_source_that_sends_more_or_less_than_asked_for_is_refused() {
    struct Off(i64);
    impl CodedSource for Off {
        fn fetch(
            &self,
            range: std::ops::Range<u64>,
            take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
        ) -> Result<(), Fault> {
            take(&vec![0; (range.end - range.start) as usize / 2])?;
            let rest = (range.end - range.start) as usize - (range.end - range.start) as usize / 2;
            take(&vec![0; (rest as i64 + self.0) as usize])
        }
    }
    let mut buffer = [1; 100];
    assert!(fetch_into(&Off(0), 0, &mut buffer).is_ok());
    assert!(
        fetch_into(&Off(1), 0, &mut buffer)
            .unwrap_err()
            .message
            .contains("more than")
    );
    assert!(
        fetch_into(&Off(-1), 0, &mut buffer)
            .unwrap_err()
            .message
            .contains("before the end")
    );
}

#[test]
fn a_damaged_history_is_refused_and_one_of_another_salt_too() {
    let image = image(&[1, 2, 3]);
    let history = encode(&image, None, &params(2)).encoded.history;
    let bytes = history.encode();
    assert_eq!(History::decode(&bytes).unwrap(), history);
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert_eq!(
            History::decode(&bad).unwrap_err().code(),
            "payload-history-invalid"
        );
        assert!(History::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    let error = Layout::make(&image, b"another", Some(&history), &params(2)).unwrap_err();
    assert_eq!(error.code(), "payload-history-invalid");
}

#[test]
fn parameters_out_of_bounds_are_refused() {
    let image = image(&[1]);
    let good = params(2);
    let bad = [
        Params {
            segment_blocks: 0,
            ..good
        },
        Params {
            segment_blocks: 1025,
            ..good
        },
        Params { level: 0, ..good },
        Params { level: 23, ..good },
        Params {
            key_width: 4,
            ..good
        },
        Params {
            key_width: 9,
            ..good
        },
    ];
    for params in bad {
        let error = Layout::make(&image, SALT, None, &params).unwrap_err();
        assert_eq!(error.code(), "payload-parameters", "{params:?}");
    }
    for size in [0, 1, BLOCK - 1, BLOCK + 1] {
        let error = Layout::make(&vec![0; size], SALT, None, &good).unwrap_err();
        assert_eq!(error.code(), "payload-image-size");
    }
}

#[test]
fn what_does_not_compress_is_sent_raw_and_never_grows() {
    let image = image(&[2, 4, 6, 8]);
    let layout = Layout::make(&image, SALT, None, &params(2)).unwrap();
    let mut compressor = Compressor::new(3).unwrap();
    for number in 0..2 {
        let coded = compressor.segment(&layout, number, &image).unwrap();
        assert_eq!(
            (coded.meta.coding, coded.bytes.len()),
            (Coding::Raw, 2 * BLOCK)
        );
    }
}

#[test]
fn every_code_is_in_the_list_of_codes_once() {
    let codes = twinroot_payload::codes();
    let mut unique = codes.to_vec();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), codes.len());
    let samples = [
        Error::IndexDigest,
        Error::SegmentDigest { segment: 0 },
        Error::TreeWrong { offset: 0 },
        Error::NotClaimed {
            found: None,
            expected: String::new(),
        },
    ];
    for error in samples {
        assert!(codes.contains(&error.code()));
    }
}

proptest! {
    #[test]
    fn no_bytes_at_all_make_a_parser_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        dress in 0..3,
    ) {
        let payload = encode(&image(&[1, 0, 2]), None, &params(2));
        if dress > 0 {
            // The header of a real payload, then anything; else hardly a byte would be parsed.
            let keep = if dress == 1 { 128 } else { 200 };
            bytes.splice(0..bytes.len().min(keep), payload.file[..keep].iter().copied());
            bytes.resize(payload.encoded.index_bytes as usize, 7);
        }
        let _ = Index::open(&bytes, &payload.expect());
        let _ = History::decode(&bytes);
        bytes.resize(2 * BLOCK, 0);
        let _ = claimed_root(&bytes);
    }
}
