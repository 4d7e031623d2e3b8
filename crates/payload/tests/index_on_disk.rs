//! An index that is kept on the disk that an update is written to, instead of in memory: it is the signed one
//! when it arrives, and what becomes of it there harms nobody.

#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

use common::{Budget, Disk, Payload, Server, encode, image, params};
use twinroot_payload::index::{Index, load_to};
use twinroot_payload::io::{Part, WriteAt};
use twinroot_payload::plan::{Plan, TargetScan};

/// Where the index starts on the disk; what lies before and behind belongs to somebody else.
const START: u64 = 8192;
const OTHERS: u8 = 0xaa;

fn payload() -> Payload {
    encode(&image(&[2, 0, 4, 2, 6, 0, 8]), None, &params(2))
}

fn disk<'a>(payload: &Payload, budget: &'a Budget) -> Disk<'a> {
    let bytes = START + payload.encoded.index_bytes + 4096;
    Disk::new(vec![OTHERS; bytes as usize], budget)
}

#[test]
fn it_arrives_whole_in_its_place_and_reads_as_from_memory() {
    let (payload, budget) = (payload(), Budget::endless());
    let (size, digest) = (payload.encoded.index_bytes, payload.encoded.index_digest);
    let disk = disk(&payload, &budget);
    load_to(
        &Server::new(&payload.file, &budget),
        size,
        &digest,
        &disk,
        START,
    )
    .unwrap();

    let bytes = disk.bytes();
    let (before, rest) = bytes.split_at(START as usize);
    let (kept, behind) = rest.split_at(size as usize);
    assert_eq!(kept, &payload.file[..size as usize]);
    assert!(before.iter().chain(behind).all(|byte| *byte == OTHERS));

    let part = Part {
        whole: &disk,
        start: START,
        size,
    };
    let (there, here) = (
        Index::open(&part, &payload.expect()).unwrap(),
        Index::open(&kept, &payload.expect()).unwrap(),
    );
    assert!(there.header().segments > 2);
    for number in 0..there.header().segments {
        assert_eq!(
            there.segment(number).unwrap(),
            here.segment(number).unwrap()
        );
    }
}

#[test]
fn another_index_than_the_signed_one_and_one_too_large_are_refused() {
    let (mut payload, budget) = (payload(), Budget::endless());
    let (size, digest) = (payload.encoded.index_bytes, payload.encoded.index_digest);
    let disk = disk(&payload, &budget);
    payload.file[size as usize - 1] ^= 1;
    let load = |size| {
        load_to(
            &Server::new(&payload.file, &budget),
            size,
            &digest,
            &disk,
            START,
        )
    };
    assert_eq!(load(size).unwrap_err().code(), "payload-index-digest");
    assert_eq!(load(size - 1).unwrap_err().code(), "payload-index-digest");
    let untouched = disk.bytes();
    assert_eq!(load(u64::MAX).unwrap_err().code(), "payload-too-large");
    assert_eq!(disk.bytes(), untouched);
}

#[test]
fn a_disk_that_changes_it_afterwards_leads_out_of_no_section() {
    let (payload, budget) = (payload(), Budget::endless());
    let size = payload.encoded.index_bytes as usize;
    let mut refused = 0;
    for place in 0..size {
        let disk = Disk::new(payload.file[..size].to_vec(), &budget);
        let index = Index::open(&disk, &payload.expect()).unwrap();
        let byte = [payload.file[place] ^ 0xff];
        disk.write_at(place as u64, &byte).unwrap();
        for number in 0..index.header().segments {
            match index.segment(number) {
                Ok(segment) => assert!(segment.coded().end <= payload.expect().file_bytes),
                Err(_) => refused += 1,
            }
        }
        // It may plan something else, or nothing; what comes of it is proven by the root hash.
        drop(Plan::make(&index, None, TargetScan::Nothing));
    }
    assert!(refused > 0, "no change at all was seen");
}
