//! The bytes of format 1 stay what the page on the format says they are.

#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

use common::{Budget, From, apply, empty_slot, encode, image, params};
use twinroot_payload::encode::History;
use twinroot_payload::index::{Coding, Index};
use twinroot_payload::verity::{hex, sha256};

/// The example of the page.
fn documented() -> Vec<u8> {
    let page = include_str!("../../../docs/formats/payload.md");
    let (_, from) = page
        .split_once("```hex\n")
        .expect("the page has an example");
    let (text, _) = from.split_once("```").expect("the example ends");
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    (0..digits.len() / 2)
        .map(|n| u8::from_str_radix(&digits[n * 2..n * 2 + 2], 16).unwrap())
        .collect()
}

/// A is block 2 of the tests, B is 4: neither compresses.
const EXAMPLE: [u64; 5] = [2, 0, 4, 2, 0];

#[test]
fn the_documented_example_is_read_as_documented() {
    let bytes = documented();
    let image = image(&EXAMPLE);
    let payload = encode(&image, None, &params(2));
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let header = index.header();
    assert_eq!(
        (header.segments, header.image_blocks, header.distinct_blocks),
        (2, 5, 2)
    );
    let (first, second) = (index.segment(0).unwrap(), index.segment(1).unwrap());
    assert_eq!(
        (first.coding, first.blocks, first.coded_bytes),
        (Coding::Raw, 2, 8192)
    );
    assert_eq!(
        (second.coding, second.blocks, second.coded_bytes),
        (Coding::Zero, 0, 0)
    );
    assert_eq!(first.coded_start, bytes.len() as u64);
    // And the image comes out of it.
    let mut file = bytes.clone();
    file.extend_from_slice(&common::block(2));
    file.extend_from_slice(&common::block(4));
    let mut old = payload.clone();
    old.file = file;
    old.encoded.index_digest = sha256(&bytes);
    let budget = Budget::endless();
    let (data, tree) = empty_slot(&old, &budget);
    apply(&old, From::Nothing, &old.file, &data, &tree).unwrap();
    assert!(data.bytes() == image);
}

#[test]
fn what_is_written_today_is_what_is_documented() {
    let payload = encode(&image(&EXAMPLE), None, &params(2));
    let index = &payload.file[..payload.encoded.index_bytes as usize];
    assert_eq!(hex(index), hex(&documented()));
}

#[test]
fn a_history_keeps_its_bytes() {
    let payload = encode(&image(&EXAMPLE), None, &params(2));
    let bytes = payload.encoded.history.encode();
    assert_eq!(bytes.len(), 56 + 2 * 10 + 32);
    assert_eq!(
        hex(&sha256(&bytes)),
        "dd7abd02173afad4fc874a30ddc634db8bbe1c4a53f3484b35f798395939132e"
    );
    assert_eq!(History::decode(&bytes).unwrap().blocks(), 2);
}

#[test]
fn the_same_input_gives_the_same_bytes_however_the_segments_are_spread() {
    use twinroot_payload::encode::{Compressor, Layout};
    let image = image(&(0..40).map(|n| n % 23).collect::<Vec<_>>());
    let params = params(3);
    let whole = encode(&image, None, &params);
    let layout = Layout::make(&image, common::SALT, None, &params).unwrap();
    // Backwards, each with a compressor of its own.
    let mut coded: Vec<_> = (0..layout.segments().len())
        .rev()
        .map(|n| {
            Compressor::new(params.level)
                .unwrap()
                .segment(&layout, n, &image)
                .unwrap()
        })
        .collect();
    coded.reverse();
    let mut file = layout
        .finish(&coded.iter().map(|c| c.meta).collect::<Vec<_>>())
        .unwrap();
    assert_eq!(file.len() as u64, layout.index_bytes());
    coded.iter().for_each(|c| file.extend_from_slice(&c.bytes));
    assert!(file == whole.file);
}
