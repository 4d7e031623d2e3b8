//! A delta gives the target, whatever differs; and nothing wrong whatever is damaged.

#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

use common::{Budget, Disk, Server, block, image, mix};
use proptest::prelude::*;
use twinroot_payload::Error;
use twinroot_payload::delta::apply::{Io, Scratch};
use twinroot_payload::delta::stream::{Signed, stream};
use twinroot_payload::delta::{Coding, DeltaIndex, Expect, Job, Kind, Plan, Splitter};
use twinroot_payload::encode::delta::{DeltaParams, EncodedDelta, Identity, encode_delta};
use twinroot_payload::io::{CodedSource, Fault, ReadAt};
use twinroot_payload::job::Outcome;
use twinroot_payload::verity::{BLOCK, sha256};

fn small(segment_blocks: u32) -> DeltaParams {
    DeltaParams {
        segment_blocks,
        base_blocks: 4 * segment_blocks,
        level: 3,
        names: true,
    }
}

fn encode(base: &[u8], target: &[u8], params: &DeltaParams) -> (EncodedDelta, Expect) {
    let whole = base.len().is_multiple_of(BLOCK) && target.len().is_multiple_of(BLOCK);
    let identity = Identity {
        kind: if whole { Kind::Image } else { Kind::File },
        base: sha256(base),
        target: sha256(target),
    };
    let delta = encode_delta(&base, &target, &identity, params).unwrap();
    let expect = Expect {
        kind: identity.kind,
        base: identity.base,
        target: identity.target,
        target_bytes: target.len() as u64,
        file_bytes: delta.file.len() as u64,
    };
    (delta, expect)
}

fn open(delta: &EncodedDelta, expect: &Expect) -> DeltaIndex {
    let bytes = &delta.file[..delta.index_bytes as usize];
    assert_eq!(sha256(bytes), delta.index_digest);
    DeltaIndex::open(bytes, expect).unwrap()
}

/// What a manifest would say of it.
fn signed(delta: &EncodedDelta, expect: &Expect) -> Signed {
    Signed {
        index_size: delta.index_bytes,
        index_digest: delta.index_digest,
        expect: *expect,
    }
}

/// Every job of a plan, in turn; how many segments the base could not give.
fn apply(
    index: &DeltaIndex,
    base: &[u8],
    source: &dyn CodedSource,
    target: &Disk<'_>,
) -> twinroot_payload::Result<(Outcome, u32)> {
    let plan = Plan::make(index, target)?;
    let io = Io {
        index,
        base: &base,
        target,
    };
    let mut scratch = Scratch::new(index);
    let (mut done, mut lost) = (Outcome::default(), 0);
    for run in plan.fetch_runs(index) {
        let mut splitter = Splitter::new(index, &plan, &run);
        let mut came = Vec::new();
        let fetched = source.fetch(run.coded, &mut |bytes| {
            splitter.push(bytes, &mut |number, coded| {
                came.push((number, coded));
                Ok(())
            })
        });
        fetched.and_then(|()| splitter.finish()).unwrap();
        for (number, coded) in came {
            match io.patch(number, &coded, &mut scratch)? {
                Some(outcome) => done.add(&outcome),
                None => lost += 1,
            }
        }
    }
    for job in plan.copies() {
        let Job::Copies(stretch) = job else { continue };
        done.add(&io.copy(stretch, &mut scratch)?);
    }
    Ok((done, lost))
}

/// A block like block `name`, with some bytes of its own.
fn edited(name: u64, seed: u64) -> Vec<u8> {
    let mut bytes = block(name);
    for i in 0..8 {
        let at = mix(seed.wrapping_mul(64) + i) as usize % BLOCK;
        bytes[at] = bytes[at].wrapping_add(1 + i as u8);
    }
    bytes
}

/// Base and target of random kinship: blocks kept, moved, edited, new, gone to zero.
fn pair(plan: &[(u8, u64)]) -> (Vec<u8>, Vec<u8>) {
    let base: Vec<u64> = (0..plan.len() as u64).map(|n| n * 7 % 23 + 2).collect();
    let mut target = Vec::new();
    for (at, (kind, seed)) in plan.iter().enumerate() {
        match kind % 6 {
            0 | 1 => target.extend(block(base[at])),
            2 => target.extend(block(base[(*seed as usize) % base.len()])),
            3 => target.extend(edited(base[at], *seed)),
            4 => target.extend(block(1000 + seed % 50)),
            _ => target.extend(block(0)),
        }
    }
    (image(&base), target)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_differs_the_target_comes_out(
        plan in proptest::collection::vec((any::<u8>(), any::<u64>()), 1..60),
        segment_blocks in 1u32..9,
        cut in 0usize..BLOCK,
    ) {
        let (base, mut target) = pair(&plan);
        if plan.len() % 2 == 0 {
            target.truncate(target.len() - cut);
        }
        let (delta, expect) = encode(&base, &target, &small(segment_blocks));
        let index = open(&delta, &expect);
        let mut made = Vec::new();
        stream(&signed(&delta, &expect), &base, &delta.file, &mut |bytes| {
            made.extend_from_slice(bytes);
            Ok(())
        }).unwrap();
        prop_assert!(made == target, "streamed");
        let budget = Budget::endless();
        let slot = Disk::new(vec![0xee; target.len().next_multiple_of(BLOCK)], &budget);
        let (done, lost) = apply(&index, &base, &delta.file, &slot).unwrap();
        prop_assert_eq!(lost, 0);
        prop_assert!(slot.bytes()[..target.len()] == target, "applied");
        prop_assert_eq!(done.fetched + delta.index_bytes, delta.file.len() as u64);
        // Again, on what is there: nothing moves.
        let (again, _) = apply(&index, &base, &delta.file, &slot).unwrap();
        prop_assert_eq!((again.fetched, again.written), (0, 0));
    }
}

/// An edited pair with every kind of segment that tests can make.
fn mixed() -> (Vec<u8>, Vec<u8>) {
    let plan: Vec<(u8, u64)> = (0..40u64).map(|n| (mix(n) as u8, mix(n + 99))).collect();
    pair(&plan)
}

#[test]
fn the_mixed_pair_has_patches_and_plain_segments() {
    let (base, target) = mixed();
    let (delta, expect) = encode(&base, &target, &small(4));
    let codings: Vec<Coding> = open(&delta, &expect)
        .segments()
        .iter()
        .map(|s| s.coding)
        .collect();
    assert!(
        codings.contains(&Coding::Difference) || codings.contains(&Coding::Prefix),
        "{codings:?}"
    );
}

#[test]
fn a_flipped_bit_anywhere_is_refused_and_never_yields_another_target() {
    let (base, target) = mixed();
    let (delta, expect) = encode(&base, &target, &small(4));
    let head = delta.index_bytes as usize;
    for at in 0..delta.file.len() {
        let mut file = delta.file.clone();
        file[at] ^= 1 << (at % 8);
        let refused = if at < head {
            // Refused by its digest before it is parsed; and should somebody sign a wrong one,
            // parsing it must not fail in any other way than by an error.
            let _ = DeltaIndex::open(&file[..head], &expect);
            sha256(&file[..head]) != delta.index_digest
        } else {
            let made = stream(&signed(&delta, &expect), &base, &file, &mut |_| Ok(()));
            matches!(made, Err(Error::SegmentDigest { .. }))
        };
        assert!(refused, "byte {at}");
    }
}

#[test]
fn with_another_base_a_patch_writes_nothing() {
    let (base, target) = mixed();
    let (delta, expect) = encode(&base, &target, &small(4));
    let index = open(&delta, &expect);
    let other: Vec<u8> = base.iter().map(|byte| byte ^ 0x40).collect();
    let budget = Budget::endless();
    let slot = Disk::new(vec![0; target.len()], &budget);
    let (_, lost) = apply(&index, &other, &delta.file, &slot).unwrap();
    let patches = index
        .segments()
        .iter()
        .filter(|s| s.coding.has_base())
        .count();
    assert!(patches > 0);
    assert_eq!(lost as usize, patches);
    for segment in index.segments().iter().filter(|s| s.coding.has_base()) {
        index
            .targets(segment, &mut |first, count| {
                let range = first as usize * BLOCK..(first + count) as usize * BLOCK;
                assert!(slot.bytes()[range].iter().all(|byte| *byte == 0));
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn the_same_images_give_the_same_bytes() {
    let (base, target) = mixed();
    let one = encode(&base, &target, &small(4)).0;
    assert!(one == encode(&base, &target, &small(4)).0);
}

#[test]
fn after_a_cut_only_what_is_missing_is_fetched() {
    let (base, target) = mixed();
    let (delta, expect) = encode(&base, &target, &small(2));
    let index = open(&delta, &expect);
    let whole = Plan::make(&index, &vec![0xee; target.len()].as_slice())
        .unwrap()
        .figures();
    assert_eq!(whole.requests, 1, "nothing is there: one request");
    for operations in (0..60).step_by(3) {
        let budget = Budget::of(operations);
        let slot = Disk::new(vec![0xee; target.len()], &budget);
        let _ = apply(&index, &base, &delta.file, &slot);
        let (endless, sent) = (Budget::endless(), Budget::endless());
        let slot = Disk::new(slot.bytes(), &endless);
        let planned = Plan::make(&index, &slot).unwrap().figures();
        let server = Server::new(&delta.file, &sent);
        apply(&index, &base, &server, &slot).unwrap();
        assert!(slot.bytes() == target);
        assert_eq!(server.sent(), planned.fetch);
        assert_eq!(planned.fetch == whole.fetch, planned.right == 0);
    }
}

/// A header with one field replaced, its body left as it is.
fn with_field(delta: &EncodedDelta, at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = delta.file[..delta.index_bytes as usize].to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn sizes_at_every_edge_are_refused_before_anything_is_allocated_for_them() {
    let (base, target) = mixed();
    let (delta, expect) = encode(&base, &target, &small(4));
    let edges = [
        0u64,
        1,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        (1 << 32) + 1,
        1 << 38,
        u64::MAX,
    ];
    for edge in edges {
        for (at, width) in [(12, 4), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4)] {
            let bytes = with_field(&delta, at, &edge.to_le_bytes()[..width]);
            if bytes == delta.file[..delta.index_bytes as usize] {
                continue;
            }
            let mut expect = expect;
            // Even where a manifest says the same.
            match at {
                24 => expect.target_bytes = edge,
                32 => expect.file_bytes = edge,
                _ => {}
            }
            let opened = DeltaIndex::open(&bytes, &expect);
            // A larger base is no contradiction: no range of it is outside.
            let larger_base =
                at == 16 && edge > base.len() as u64 && edge <= 1 << 38 && edge % 4096 == 0;
            assert_eq!(
                opened.is_ok(),
                larger_base,
                "field at {at} is {edge}: {opened:?}"
            );
        }
    }
}

/// An index whose body is `body`, as a hostile signer might make it.
fn forged(body: &[u8], declared: u32, runs: u32, segments: u32) -> (Vec<u8>, Expect) {
    let mut frame = vec![0; zstd_safe::compress_bound(body.len())];
    let length = zstd_safe::compress(&mut frame[..], body, 3).unwrap();
    frame.truncate(length);
    let mut bytes = vec![0; 128];
    bytes[..8].copy_from_slice(b"twindelt");
    bytes[8] = 1;
    bytes[12..16].copy_from_slice(&declared.to_le_bytes());
    bytes[16..24].copy_from_slice(&(4u64 * 4096).to_le_bytes());
    bytes[24..32].copy_from_slice(&(4u64 * 4096).to_le_bytes());
    bytes[40..44].copy_from_slice(&segments.to_le_bytes());
    bytes[44..48].copy_from_slice(&runs.to_le_bytes());
    bytes.extend_from_slice(&frame);
    let size = bytes.len() as u64;
    bytes[32..40].copy_from_slice(&size.to_le_bytes());
    let expect = Expect {
        kind: Kind::Image,
        base: [0; 32],
        target: [0; 32],
        target_bytes: 4 * 4096,
        file_bytes: size,
    };
    (bytes, expect)
}

#[test]
fn hostile_bodies_are_refused() {
    // Four blocks copied from the base as they stand: the form that the others are bent from.
    let (bytes, expect) = forged(&[3 << 2 | 1, 0], 2, 1, 0);
    DeltaIndex::open(&bytes, &expect).unwrap();
    let cases: [(&str, &[u8], u32, u32); 9] = [
        ("a copy that starts before the base", &[3 << 2 | 1, 1], 1, 0),
        ("a copy that ends behind the base", &[3 << 2 | 1, 2], 1, 0),
        ("more blocks than the target has", &[4 << 2, 0], 1, 0),
        ("fewer blocks than the target has", &[2 << 2], 1, 0),
        ("an unknown kind of run", &[3 << 2 | 3], 1, 0),
        (
            "a number that is not in its shortest form",
            &[0x8c, 0],
            1,
            0,
        ),
        ("a number beyond 64 bits", &[0xff; 11], 1, 0),
        ("bytes behind the body", &[3 << 2 | 1, 0, 0], 1, 0),
        ("data without a segment", &[3 << 2 | 2], 1, 0),
    ];
    for (what, body, runs, segments) in cases {
        let (bytes, expect) = forged(body, body.len() as u32, runs, segments);
        assert!(DeltaIndex::open(&bytes, &expect).is_err(), "{what}");
    }
    // A bomb: 64 MiB of zeroes in a few bytes. Neither what it names nor what it yields is held.
    let (bytes, expect) = forged(&vec![0; 64 << 20], 4 << 20, 1, 0);
    assert!(DeltaIndex::open(&bytes, &expect).is_err());
    let (bytes, expect) = forged(&vec![0; 64 << 20], 64 << 20, 1, 0);
    assert!(matches!(
        DeltaIndex::open(&bytes, &expect),
        Err(Error::TooLarge { .. })
    ));
    // Two frames, and bytes behind the frame.
    for more in [&[0u8; 3][..], &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0]] {
        let (mut bytes, mut expect) = forged(&[3 << 2 | 1, 0], 2, 1, 0);
        bytes.extend_from_slice(more);
        expect.file_bytes = bytes.len() as u64;
        bytes[32..40].copy_from_slice(&expect.file_bytes.to_le_bytes());
        assert!(DeltaIndex::open(&bytes, &expect).is_err());
    }
}

/// A base that has other content at every second read.
struct Changing<'a>(&'a [u8], std::sync::atomic::AtomicU64);

impl ReadAt for Changing<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.0.read_at(offset, buf)?;
        let read = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if read % 2 == 1 {
            buf.iter_mut().for_each(|byte| *byte = byte.wrapping_add(3));
        }
        Ok(())
    }

    fn len(&self) -> Result<u64, Fault> {
        ReadAt::len(self.0)
    }
}

#[test]
fn a_base_that_changes_under_the_reader_yields_no_wrong_patch() {
    let (base, target) = mixed();
    let (delta, expect) = encode(&base, &target, &small(4));
    let index = open(&delta, &expect);
    let changing = Changing(&base, std::sync::atomic::AtomicU64::new(0));
    let budget = Budget::endless();
    let slot = Disk::new(vec![0xee; target.len()], &budget);
    let io = Io {
        index: &index,
        base: &changing,
        target: &slot,
    };
    let mut scratch = Scratch::new(&index);
    for segment in index.segments() {
        let range = segment.coded();
        let coded = &delta.file[range.start as usize..range.end as usize];
        let made = io.patch(segment.number, coded, &mut scratch).unwrap();
        let now = slot.bytes();
        index
            .targets(segment, &mut |first, count| {
                let place = first as usize * BLOCK..(first + count) as usize * BLOCK;
                match made {
                    Some(_) => assert!(now[place.clone()] == target[place]),
                    None => assert!(now[place].iter().all(|byte| *byte == 0xee)),
                }
                Ok(())
            })
            .unwrap();
    }
}
