//! The bytes of format 1 stay what the page on the format says they are.

#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

use common::{Budget, From, apply, empty_slot, encode, image, params};
use twinroot_payload::delta::stream::{Signed, stream};
use twinroot_payload::delta::{Coding, DeltaIndex, Expect, Kind};
use twinroot_payload::encode::History;
use twinroot_payload::index::{Coding as FullCoding, Index};
use twinroot_payload::verity::{TreeShape, hex, root_of, sha256};

/// The example of the page.
fn documented() -> Vec<u8> {
    let page = include_str!("../../../docs/formats/payload.md");
    let (_, from) = page
        .split_once("```hex\n")
        .expect("the page has an example");
    hex_block(from)
}

fn hex_block(from: &str) -> Vec<u8> {
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
        (FullCoding::Raw, 2, 8192)
    );
    assert_eq!(
        (second.coding, second.blocks, second.coded_bytes),
        (FullCoding::Zero, 0, 0)
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

/// Base and target of the page's example of a delta: A, B becomes zero, C, A, B with one added to each 64th byte.
/// C is block 7 of the tests, which compresses well.
fn delta_example() -> (Vec<u8>, Vec<u8>, Expect) {
    let base = image(&[2, 4]);
    let mut target = image(&[0, 7, 2, 4]);
    for at in (3 * 4096..4 * 4096).step_by(64) {
        target[at] = target[at].wrapping_add(1);
    }
    let root = |image: &[u8]| {
        let shape = TreeShape::for_size(image.len() as u64).unwrap();
        root_of(&image, &shape, common::SALT).unwrap()
    };
    let expect = Expect {
        kind: Kind::Image,
        base: root(&base),
        target: root(&target),
        target_bytes: target.len() as u64,
        file_bytes: 0,
    };
    (base, target, expect)
}

#[test]
fn the_documented_delta_is_read_as_documented() {
    let page = include_str!("../../../docs/formats/payload.md");
    let bytes = hex_block(page.split("```hex\n").nth(2).expect("a second example"));
    let (base, target, mut expect) = delta_example();
    expect.file_bytes = bytes.len() as u64;
    // The index ends where its body's frame does: its size is in the manifest.
    let body = zstd_safe::find_frame_compressed_size(&bytes[128..]).unwrap();
    let index = DeltaIndex::open(&bytes[..128 + body], &expect).unwrap();
    assert_eq!(index.segments().len(), 1);
    let segment = &index.segments()[0];
    assert_eq!((segment.coding, segment.blocks), (Coding::Prefix, 2));
    assert_eq!(segment.base_blocks, 2);
    let mut made = Vec::new();
    let signed = Signed {
        index_size: (128 + body) as u64,
        index_digest: sha256(&bytes[..128 + body]),
        expect,
    };
    stream(&signed, &base, &bytes, &mut |bytes| {
        made.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    assert!(made == target);
}
