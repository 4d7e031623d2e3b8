//! The index of a full payload.

use twinroot_payload::index::{Expect, Index};

use super::LONGEST;
use super::numbers::{Reader, write, write_signed};

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Opens the bytes as an index; what the manifest would say is taken from the header, so that inputs get
/// past it.
pub fn full_index(data: &[u8]) {
    if data.len() < 128 || data.len() > LONGEST {
        return;
    }
    let mut bytes = data.to_vec();
    bytes[..16].copy_from_slice(b"twinroot\x01\0\0\0\0\x10\0\0");
    // A million blocks are enough; more only take memory here.
    let blocks = u64_at(&bytes, 24) % (1 << 20);
    bytes[24..32].copy_from_slice(&blocks.to_le_bytes());
    let expect = Expect {
        image_bytes: blocks * 4096,
        root_hash: bytes[64..96].try_into().unwrap(),
        file_bytes: u64_at(&bytes, 48),
    };
    if Index::open(&bytes, &expect).is_ok() {
        accepted(&bytes, blocks);
    }
}

/// The rules of the page, one by one, on an index that was accepted.
fn accepted(bytes: &[u8], blocks: u64) {
    let (segments, distinct) = (u32_at(bytes, 20) as usize, u64_at(bytes, 32));
    let (run_bytes, file_bytes, width) =
        (u64_at(bytes, 40), u64_at(bytes, 48), u64::from(bytes[56]));
    let runs_at = 128 + 72 * segments;
    assert!((5..=8).contains(&width));
    assert_eq!(
        runs_at as u64 + run_bytes + width * distinct,
        bytes.len() as u64
    );
    let mut covered = vec![false; blocks as usize];
    let (mut coded, mut keys, mut runs_end) = (bytes.len() as u64, 0_u64, 0_usize);
    for number in 0..segments {
        let record = &bytes[128 + 72 * number..][..72];
        let (coding, count) = (record[0], u64::from(u32_at(record, 4)));
        assert_eq!(u64_at(record, 16), coded, "segments follow without gaps");
        assert_eq!(
            u64_at(record, 24),
            runs_end as u64,
            "runs follow without gaps"
        );
        assert_eq!(u64_at(record, 32), keys, "keys follow without gaps");
        assert!(
            count <= u64::from(u32_at(bytes, 16)),
            "a segment of {count} blocks"
        );
        let coded_bytes = u64::from(u32_at(record, 8));
        match coding {
            0 => assert_eq!((coded_bytes, count), (0, 0)),
            1 => assert_eq!(coded_bytes, 4096 * count),
            2 => assert!(coded_bytes < 4096 * count),
            other => panic!("coding {other} was accepted"),
        }
        let length = u32_at(record, 12) as usize;
        let runs = &bytes[runs_at + runs_end..][..length];
        runs_of_segment(runs, coding, count, &mut covered);
        (coded, keys, runs_end) = (coded + coded_bytes, keys + count, runs_end + length);
    }
    assert_eq!(
        (coded, keys, runs_end as u64),
        (file_bytes, distinct, run_bytes)
    );
    assert!(covered.iter().all(|once| *once), "a block is in no run");
}

/// Every block of the image once, every block of the segment at least once, written in one way only.
fn runs_of_segment(runs: &[u8], coding: u8, count: u64, covered: &mut [bool]) {
    let mut reader = Reader { bytes: runs, at: 0 };
    let mut again = Vec::new();
    let mut used = vec![false; count as usize];
    let (mut target, mut from) = (0_u64, 0_i64);
    while reader.at < runs.len() {
        let (gap, jump, more) = (reader.number(), reader.signed(), reader.number());
        let (gap, jump, more) = (
            gap.expect("a number"),
            jump.expect("a number"),
            more.expect("a number"),
        );
        write(&mut again, gap);
        write_signed(&mut again, jump);
        write(&mut again, more);
        target += gap;
        from += jump;
        for block in 0..=more {
            let slot = &mut covered[(target + block) as usize];
            assert!(!std::mem::replace(slot, true), "a block is in two runs");
            if coding == 0 {
                assert_eq!(jump, 0);
            } else {
                used[usize::try_from(from).unwrap() + block as usize] = true;
            }
        }
        target += more + 1;
        from += if coding == 0 { 0 } else { more as i64 + 1 };
    }
    assert_eq!(again, runs, "runs are written in one way only");
    assert!(
        used.iter().all(|used| *used),
        "a block of the segment is in no run"
    );
}
