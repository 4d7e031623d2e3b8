//! From any base, over any interruption, the slot ends up as the image or claims nothing.
#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod faults;
mod requests;

use common::{
    Budget, Cut, Disk, From, Payload, SALT, Server, apply, empty_slot, encode, image, params,
    tree_of,
};
use proptest::prelude::*;
use twinroot_payload::Error;
use twinroot_payload::encode::{Layout, Params};
use twinroot_payload::finish::verify;
use twinroot_payload::index::Index;
use twinroot_payload::io::{CodedSource, Fault, ReadAt, WriteAt};
use twinroot_payload::job::Outcome;
use twinroot_payload::plan::{Plan, TargetScan};
use twinroot_payload::reuse::{Base, ReuseTable, TABLE_BYTES};
use twinroot_payload::verity::{BLOCK, TreeLeaves, TreeShape, block_hash, claimed_root};
use twinroot_payload::work::{Work, run_work};

fn largest_segment(payload: &Payload) -> u64 {
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let coded = |n| u64::from(index.segment(n).unwrap().coded_bytes);
    (0..index.header().segments).map(coded).max().unwrap()
}

/// Names of blocks; few names, so that zeroes, repeats and blocks in common are frequent.
fn names(most: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![2 => Just(0u64), 8 => 1u64..40], 1..most)
}

/// A release made from an earlier one: some blocks replaced, the rest moved by `shift`.
fn next_release(earlier: &[u64], replaced: &[(usize, u64)], shift: usize) -> Vec<u64> {
    let mut next: Vec<u64> = vec![5000; shift];
    next.extend_from_slice(earlier);
    for (at, name) in replaced {
        let at = at % next.len();
        next[at] = *name;
    }
    next
}

#[test]
fn an_image_of_any_size_comes_back_as_it_was() {
    let budget = Budget::endless();
    for blocks in [1, 2, 3, 4, 5, 127, 128, 129] {
        let image = image(&(1..=blocks).collect::<Vec<_>>());
        let payload = encode(&image, None, &params(4));
        let (data, tree) = empty_slot(&payload, &budget);
        let report = apply(&payload, From::Nothing, &payload.file, &data, &tree).unwrap();
        assert!(data.bytes() == image, "{blocks} blocks");
        verify(&payload.goal(), &data, &tree).unwrap();
        assert_eq!(
            report.planned.fetch + payload.encoded.index_bytes,
            payload.file.len() as u64
        );
        assert_eq!(report.repairs, 0);
    }
}

#[test]
fn a_node_one_release_behind_fetches_only_the_new_blocks_in_one_request() {
    let old: Vec<u64> = (1..=60).collect();
    let new = next_release(&old, &[(7, 101), (20, 103), (21, 105), (50, 107)], 3);
    let (old, new) = (image(&old), image(&new));
    let first = encode(&old, None, &params(4));
    let payload = encode(&new, Some(&first.encoded.history), &params(4));
    let budget = Budget::endless();
    let (data, tree) = empty_slot(&payload, &budget);
    let server = Server::new(&payload.file, &budget);
    let old_tree = tree_of(&old, SALT);
    let report = apply(&payload, From::Tree(&old, &old_tree), &server, &data, &tree).unwrap();
    assert!(data.bytes() == new);
    // New are four replaced blocks and one that the shift brought, three times the same: five
    // distinct blocks in segments of four.
    assert_eq!((report.planned.segments, report.planned.requests), (2, 1));
    assert_eq!(
        server.sent(),
        report.planned.fetch + payload.encoded.index_bytes
    );
    assert_eq!(
        report.planned.reuse,
        (60 - 4 + 1) * BLOCK as u64 - BLOCK as u64
    );
}

#[test]
fn a_node_two_releases_behind_fetches_what_both_brought_in_one_request() {
    let first: Vec<u64> = (1..=60).collect();
    let second = next_release(&first, &[(7, 101), (20, 103), (21, 105)], 0);
    let third = next_release(&second, &[(30, 107), (20, 109)], 0);
    let (oldest, older) = (image(&first), image(&second));
    let history = encode(&oldest, None, &params(4)).encoded.history;
    let history = encode(&older, Some(&history), &params(4)).encoded.history;
    let payload = encode(&image(&third), Some(&history), &params(4));
    let budget = Budget::endless();
    // The new blocks are one segment; those of the release between another.
    for (base, segments) in [(&older, 1), (&oldest, 2)] {
        let (data, tree) = empty_slot(&payload, &budget);
        let from = From::Hashed(base);
        let report = apply(&payload, from, &payload.file, &data, &tree).unwrap();
        assert!(data.bytes() == image(&third));
        assert_eq!(
            (report.planned.segments, report.planned.requests),
            (segments, 1)
        );
    }
}

#[test]
fn a_base_with_another_salt_serves_as_well() {
    let old: Vec<u64> = (1..=30).collect();
    let new = next_release(&old, &[(3, 101)], 1);
    let (old, new) = (image(&old), image(&new));
    let history = encode(&old, None, &params(4)).encoded.history;
    let payload = encode(&new, Some(&history), &params(4));
    let budget = Budget::endless();
    let (data, tree) = empty_slot(&payload, &budget);
    let report = apply(&payload, From::Hashed(&old), &payload.file, &data, &tree).unwrap();
    assert!(data.bytes() == new);
    assert_eq!(report.planned.segments, 1);
    assert_eq!(report.repairs, 0);
}

#[test]
fn what_is_right_already_is_neither_fetched_nor_written() {
    let names: Vec<u64> = (0..40).collect();
    let image = image(&names);
    let payload = encode(&image, None, &params(4));
    let budget = Budget::endless();
    let (_, tree) = empty_slot(&payload, &budget);
    let data = Disk::new(image.clone(), &budget);
    let server = Server::new(&payload.file, &budget);
    let report = apply(&payload, From::Nothing, &server, &data, &tree).unwrap();
    assert_eq!(server.sent(), payload.encoded.index_bytes);
    assert_eq!(report.done.written, 0);
    assert_eq!(report.done.right, image.len() as u64);
    assert_eq!(data.written.load(std::sync::atomic::Ordering::Relaxed), 0);
    verify(&payload.goal(), &data, &tree).unwrap();
}

#[test]
fn segments_may_be_done_in_any_order_on_any_number_of_threads() {
    let names: Vec<u64> = (0..200).map(|n| n % 90).collect();
    let image = image(&names);
    let payload = encode(&image, None, &params(3));
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let plan = Plan::make(&index, None, TargetScan::Nothing).unwrap();
    let budget = Budget::endless();
    let (data, _) = empty_slot(&payload, &budget);
    let io = twinroot_payload::job::Io {
        index: &index,
        plan: &plan,
        table: None,
        source: &payload.file,
        target: &data,
        compare: true,
    };
    let jobs = std::sync::Mutex::new(plan.jobs().collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut scratch = twinroot_payload::job::Scratch::new(io.index);
                loop {
                    // From the end: the reverse of the usual order.
                    let Some(job) = jobs.lock().unwrap().pop() else {
                        return;
                    };
                    twinroot_payload::job::run_job(&job, &io, &mut scratch).unwrap();
                }
            });
        }
    });
    assert!(data.bytes() == image);
}

#[test]
fn blocks_are_ordered_by_the_release_they_came_with() {
    let releases: [&[u64]; 3] = [
        &[1, 3, 5, 7, 9, 11],
        &[1, 3, 5, 21, 9, 11],
        &[31, 3, 5, 21, 9, 7],
    ];
    let mut history = None;
    for names in releases {
        let image = image(names);
        let layout = Layout::make(&image, SALT, history.as_ref(), &params(2)).unwrap();
        history = Some(layout.history().clone());
        if names == releases[2] {
            let found: Vec<(u16, Vec<u32>)> = layout
                .segments()
                .iter()
                .map(|s| (s.age, s.blocks.clone()))
                .collect();
            // New: 31 and 7 (gone for a release, so new to a node that has the one before). One
            // release old: 21. Two: 3, 5 and 9.
            assert_eq!(
                found,
                [(0, vec![0, 5]), (1, vec![3]), (2, vec![1, 2]), (2, vec![4])]
            );
        }
    }
}

#[test]
fn sparse_images_beyond_four_gigabytes_are_coded_and_planned() {
    /// All zeroes but the last block.
    struct Sparse(u64);
    impl ReadAt for Sparse {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), twinroot_payload::io::Fault> {
            buf.fill(0);
            if offset + buf.len() as u64 == self.0 {
                let at = buf.len() - BLOCK;
                buf[at..].copy_from_slice(&common::block(9));
            }
            Ok(())
        }
        fn len(&self) -> Result<u64, twinroot_payload::io::Fault> {
            Ok(self.0)
        }
    }
    for size in [1 << 31, (1 << 32) + BLOCK as u64] {
        let layout = Layout::make(&Sparse(size), SALT, None, &params(4)).unwrap();
        assert_eq!(layout.segments().len(), 2);
        assert!(layout.index_bytes() < 400, "{}", layout.index_bytes());
        let last = layout.segments()[0].runs[0];
        assert_eq!(last.target, size / BLOCK as u64 - 1);
        assert_eq!(TreeShape::for_size(size).unwrap().data_bytes(), size);
    }
}

#[test]
fn every_block_of_the_base_is_found_wherever_it_has_gone() {
    // 3000 blocks in an order in which no two neighbours stay neighbours, so that each one has to
    // be found through the table, past entries that look alike.
    let names: Vec<u64> = (0..3000).map(|n| 2 * n + 1).collect();
    let moved: Vec<u64> = (0..3000).map(|n| names[n * 1237 % 3000]).collect();
    let (old, new) = (image(&names), image(&moved));
    let payload = encode(
        &new,
        None,
        &Params {
            level: 1,
            ..params(64)
        },
    );
    let old_tree = tree_of(&old, SALT);
    let budget = Budget::endless();
    for from in [From::Tree(&old, &old_tree), From::Hashed(&old)] {
        let (data, tree) = empty_slot(&payload, &budget);
        let report = apply(&payload, from, &payload.file, &data, &tree).unwrap();
        assert!(data.bytes() == new);
        assert_eq!(
            (report.planned.fetch, report.done.fetched, report.repairs),
            (0, 0, 0)
        );
    }
}

#[test]
fn the_leaves_of_a_base_are_read_from_its_tree_alone() {
    // With a tree of the same salt, planning must not read the base's data at all.
    struct Untouchable;
    impl ReadAt for Untouchable {
        fn read_at(&self, _: u64, _: &mut [u8]) -> Result<(), twinroot_payload::io::Fault> {
            Err(twinroot_payload::io::Fault::disk(
                "the base's data was read",
            ))
        }
        fn len(&self) -> Result<u64, twinroot_payload::io::Fault> {
            Ok(0)
        }
    }
    let base = image(&(1..=300).collect::<Vec<_>>());
    let payload = encode(&base, None, &params(8));
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let tree = tree_of(&base, SALT);
    let leaves = TreeLeaves::new(&tree, TreeShape::new(300).unwrap());
    let table = ReuseTable::build(Base::with_tree(&Untouchable, leaves), &index, TABLE_BYTES);
    let plan = Plan::make(&index, Some(&table), TargetScan::Nothing).unwrap();
    assert_eq!(
        (plan.figures().fetch, plan.figures().reuse),
        (0, base.len() as u64)
    );
}
