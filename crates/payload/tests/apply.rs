//! From any base, over any interruption, the slot ends up as the image or claims nothing.
#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

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

/// The largest coded segment: what a kill may cost at most, for each worker.
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
fn a_lying_base_costs_bytes_and_never_a_wrong_image() {
    // The base's tree claims blocks that its data does not hold: rotten, or tampered with.
    let old: Vec<u64> = (1..=40).collect();
    let (mut old, new) = (image(&old), image(&next_release(&old, &[(2, 101)], 0)));
    let history = encode(&old, None, &params(4)).encoded.history;
    let payload = encode(&new, Some(&history), &params(4));
    let old_tree = tree_of(&old, SALT);
    old[9 * BLOCK..12 * BLOCK].fill(0x77);
    let budget = Budget::endless();
    let (data, tree) = empty_slot(&payload, &budget);
    let report = apply(
        &payload,
        From::Tree(&old, &old_tree),
        &payload.file,
        &data,
        &tree,
    )
    .unwrap();
    assert!(data.bytes() == new);
    assert_eq!(report.repairs, 1);
    let repaired = report.done.fetched - report.planned.fetch;
    assert!(
        repaired > 0 && repaired <= 2 * largest_segment(&payload),
        "{repaired}"
    );
}

#[test]
fn a_base_whose_tree_lies_about_every_block_is_overcome() {
    // All leaves of the base claim to be the target's, so every key matches and nothing is right.
    let new = image(&(1..=20).collect::<Vec<_>>());
    let payload = encode(&new, None, &params(4));
    let (liar, new_tree) = (vec![0x33; new.len()], tree_of(&new, SALT));
    let budget = Budget::endless();
    let (data, tree) = empty_slot(&payload, &budget);
    let report = apply(
        &payload,
        From::Tree(&liar, &new_tree),
        &payload.file,
        &data,
        &tree,
    )
    .unwrap();
    assert!(data.bytes() == new);
    assert_eq!((report.planned.fetch, report.repairs), (0, 1));
}

/// A base of which some blocks cannot be read.
struct Holed<'a>(&'a [u8], std::ops::Range<u64>);

impl ReadAt for Holed<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), twinroot_payload::io::Fault> {
        if offset < self.1.end && self.1.start < offset + buf.len() as u64 {
            return Err(twinroot_payload::io::Fault::disk("bad sector"));
        }
        self.0.read_at(offset, buf)
    }
    fn len(&self) -> Result<u64, twinroot_payload::io::Fault> {
        Ok(self.0.len() as u64)
    }
}

#[test]
fn a_base_that_cannot_be_read_everywhere_costs_bytes_and_not_the_update() {
    let names: Vec<u64> = (1..=300).collect();
    let (old, new) = (image(&names), image(&next_release(&names, &[(2, 1001)], 0)));
    let history = encode(&old, None, &params(8)).encoded.history;
    let payload = encode(&new, Some(&history), &params(8));
    let old_tree = tree_of(&old, SALT);
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let hole = 100 * BLOCK as u64..102 * BLOCK as u64;
    let (data_hole, nowhere) = (Holed(&old, hole), 0..0);
    // A leaf block of its tree, then nothing of the tree but half of the data.
    let tree_hole = Holed(&old_tree, 3 * BLOCK as u64..4 * BLOCK as u64);
    let whole_tree = Holed(&old_tree, nowhere);
    let half = Holed(&old, 0..150 * BLOCK as u64);
    let shape = TreeShape::new(300).unwrap();
    let bases = [
        Base::with_tree(&data_hole, TreeLeaves::new(&whole_tree, shape)),
        Base::with_tree(&old, TreeLeaves::new(&tree_hole, shape)),
        Base::to_hash(&half, 300, SALT),
    ];
    for base in bases {
        use twinroot_payload::stage::{Slot, Supply, in_turn, write_slot};
        let budget = Budget::endless();
        let (data, tree) = empty_slot(&payload, &budget);
        let server = Server::new(&payload.file, &budget);
        let table = ReuseTable::build(base, &index, TABLE_BYTES);
        let supply = Supply {
            index: &index,
            table: Some(&table),
            source: &server,
        };
        let slot = Slot {
            data: &data,
            data_medium: &data,
            tree: &tree,
            tree_medium: &tree,
        };
        let goal = payload.goal();
        let report = write_slot(&goal, &slot, &supply, &mut in_turn, &mut |_| Ok(())).unwrap();
        assert!(data.bytes() == new);
        assert_eq!(report.repairs, 0);
        assert!(
            server.sent() < payload.file.len() as u64 * 7 / 10,
            "{}",
            server.sent()
        );
    }
}

/// A tree that can be read until it is switched off.
struct Failing<'a>(&'a [u8], std::sync::atomic::AtomicBool);

impl ReadAt for Failing<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), twinroot_payload::io::Fault> {
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(twinroot_payload::io::Fault::disk("gone"));
        }
        self.0.read_at(offset, buf)
    }
    fn len(&self) -> Result<u64, twinroot_payload::io::Fault> {
        Ok(self.0.len() as u64)
    }
}

#[test]
fn a_base_that_goes_away_after_the_plan_was_made_is_made_up_for_by_fetching() {
    let image = image(&(1..=20).collect::<Vec<_>>());
    let payload = encode(&image, None, &params(4));
    let base_tree = tree_of(&image, SALT);
    let failing = Failing(&base_tree, false.into());
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let leaves = TreeLeaves::new(&failing, TreeShape::new(20).unwrap());
    let table = ReuseTable::build(Base::with_tree(&image, leaves), &index, TABLE_BYTES);
    let plan = Plan::make(&index, Some(&table), TargetScan::Nothing).unwrap();
    assert_eq!(plan.figures().fetch, 0);
    failing.1.store(true, std::sync::atomic::Ordering::Relaxed);
    let budget = Budget::endless();
    let (data, _) = empty_slot(&payload, &budget);
    let io = twinroot_payload::job::Io {
        index: &index,
        plan: &plan,
        table: Some(&table),
        source: &payload.file,
        target: &data,
        compare: true,
    };
    let done = twinroot_payload::stage::in_turn(&io).unwrap();
    assert!(data.bytes() == image);
    assert_eq!(
        done.fetched,
        payload.encoded.file_bytes - payload.encoded.index_bytes
    );
}

/// A disk that loses all that is written to one block: what was read back is never right.
struct Sticky<'a>(Disk<'a>, u64);

impl ReadAt for Sticky<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), twinroot_payload::io::Fault> {
        self.0.read_at(offset, buf)?;
        let at = self.1 * BLOCK as u64;
        if offset <= at && at < offset + buf.len() as u64 {
            buf[(at - offset) as usize] ^= 1;
        }
        Ok(())
    }
    fn len(&self) -> Result<u64, twinroot_payload::io::Fault> {
        ReadAt::len(&self.0)
    }
}

#[test]
fn a_disk_that_does_not_keep_what_is_written_never_yields_a_slot_that_claims_a_root() {
    use twinroot_payload::reuse;
    use twinroot_payload::stage::{Slot, Supply, in_turn, write_slot};
    let new = image(&(1..=20).collect::<Vec<_>>());
    let payload = encode(&new, None, &params(4));
    let budget = Budget::endless();
    let (data, tree) = empty_slot(&payload, &budget);
    let medium = Sticky(Disk::new(new, &budget), 7);
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let table: Option<&reuse::ReuseTable<'_>> = None;
    let supply = Supply {
        index: &index,
        table,
        source: &payload.file,
    };
    let slot = Slot {
        data: &data,
        data_medium: &medium,
        tree: &tree,
        tree_medium: &tree,
    };
    let result = write_slot(&payload.goal(), &slot, &supply, &mut in_turn, &mut |_| {
        Ok(())
    });
    assert_eq!(result.unwrap_err().code(), "payload-root-hash");
    assert_eq!(claimed_root(&tree).unwrap(), None);
}

/// Cuts the writing of `new` over a whole slot of `old` after each operation in turn. The slot
/// claims `new` only after the last one, `old` only before the first, and never holds a root block
/// that some other reader of the tree could take for the new one.
fn cut_after_each_operation(old: &[u64], new: &[u64], segment_blocks: u32) -> i64 {
    let (old, new) = (image(old), image(new));
    let payload = encode(&new, None, &params(segment_blocks));
    let old_tree = tree_of(&old, SALT);
    let mut operations = 0;
    loop {
        let budget = Budget::of(operations);
        let data = Disk::new(old.clone(), &budget);
        let tree = Disk::new(old_tree.clone(), &budget);
        let done = apply(&payload, From::Nothing, &payload.file, &data, &tree).is_ok();
        let claim = claimed_root(&tree).unwrap().map(|claim| claim.root_hash);
        let root_block = block_hash(SALT, &tree.bytes()[BLOCK..2 * BLOCK]);
        let new_root = payload.encoded.root_hash;
        if claim == Some(new_root) || root_block == new_root {
            verify(&payload.goal(), &data, &tree).unwrap();
        } else if claim.is_some() {
            assert!(
                data.bytes() == old,
                "claims the old image, but was written to"
            );
        }
        if done {
            assert_eq!(
                claim,
                Some(new_root),
                "a slot that was written claims nothing"
            );
            return operations;
        }
        operations += 1;
    }
}

#[test]
fn the_last_write_makes_the_slot_whole_and_none_before_it_does() {
    let old: Vec<u64> = (1..=12).collect();
    let new = next_release(&old, &[(2, 101), (9, 103)], 0);
    let operations = cut_after_each_operation(&old, &new, 2);
    assert!(operations >= 8, "only {operations} operations were cut");
    // 128 blocks fill the root block exactly; with 130 it is above the leaves.
    for blocks in [128, 130] {
        let old: Vec<u64> = (1..=blocks).collect();
        let new = next_release(&old, &[(2, 1001), (blocks as usize - 1, 1003)], 0);
        let operations = cut_after_each_operation(&old, &new, 64);
        assert!(operations >= 8, "only {operations} operations were cut");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_target_comes_from_any_base_and_history_in_segments_of_any_size(
        oldest in names(50),
        base in names(50),
        replaced in prop::collection::vec((0usize..100, 0u64..60), 0..20),
        shift in 0usize..5,
        slot in names(70),
        segment_blocks in 1u32..9,
        ages in 0u16..4,
        key_width in 5u8..=8,
        hashed: bool,
    ) {
        let target = next_release(&base, &replaced, shift);
        let (oldest, base, target) = (image(&oldest), image(&base), image(&target));
        let params = Params { segment_blocks, level: 1, key_width, ages };
        let first = encode(&oldest, None, &params).encoded.history;
        let second = encode(&base, Some(&first), &params).encoded.history;
        let payload = encode(&target, Some(&second), &params);
        let budget = Budget::endless();
        let (_, tree) = empty_slot(&payload, &budget);
        let mut there = image(&slot);
        there.resize(target.len(), 1);
        let data = Disk::new(there, &budget);
        let base_tree = tree_of(&base, SALT);
        // A base of one block has no tree to read leaves from.
        let from = if hashed || base.len() == BLOCK { From::Hashed(&base) } else { From::Tree(&base, &base_tree) };
        let server = Server::new(&payload.file, &budget);
        let report = apply(&payload, from, &server, &data, &tree).unwrap();
        prop_assert!(data.bytes() == target);
        prop_assert_eq!(report.repairs, 0);
        prop_assert_eq!(server.sent(), payload.encoded.index_bytes + report.planned.fetch);
        prop_assert_eq!(report.done.fetched, report.planned.fetch);
        prop_assert_eq!(report.done.written + report.done.right, target.len() as u64);
        verify(&payload.goal(), &data, &tree).unwrap();
    }

    #[test]
    fn a_plan_that_has_looked_at_everything_says_exactly_what_happens(
        base in names(40),
        replaced in prop::collection::vec((0usize..100, 0u64..60), 0..20),
        shift in 0usize..5,
        slot in names(60),
        segment_blocks in 1u32..9,
    ) {
        let target = next_release(&base, &replaced, shift);
        let (base, target) = (image(&base), image(&target));
        let params = params(segment_blocks);
        let history = encode(&base, None, &params).encoded.history;
        let payload = encode(&target, Some(&history), &params);
        let budget = Budget::endless();
        let mut there = image(&slot);
        there.resize(target.len(), 1);
        let data = Disk::new(there, &budget);
        let bytes = payload.index_bytes(&payload.file).unwrap();
        let index = Index::open(&bytes, &payload.expect()).unwrap();
        let from = Base::to_hash(&base, (base.len() / BLOCK) as u64, SALT);
        let table = ReuseTable::build(from, &index, TABLE_BYTES);
        let scan = TargetScan::Everything(&data, SALT);
        let plan = Plan::make(&index, Some(&table), scan).unwrap();
        let io = twinroot_payload::job::Io {
            index: &index, plan: &plan, table: Some(&table), source: &payload.file, target: &data,
            compare: false,
        };
        let done = twinroot_payload::stage::in_turn(&io).unwrap();
        prop_assert!(data.bytes() == target);
        let said = plan.figures();
        prop_assert_eq!(said.fetch, done.fetched);
        prop_assert_eq!(said.reuse, done.reused);
        prop_assert_eq!(said.right, done.right);
        prop_assert_eq!(said.write, done.written);
    }

    #[test]
    fn cut_anywhere_and_again_while_resuming_the_slot_ends_up_whole(
        base in names(30),
        replaced in prop::collection::vec((0usize..100, 100u64..160), 1..20),
        segment_blocks in 1u32..5,
        cuts in prop::collection::vec((0i64..60, any::<u64>(), any::<bool>()), 1..4),
        use_base: bool,
    ) {
        let target = next_release(&base, &replaced, 2);
        let (base, target) = (image(&base), image(&target));
        let history = encode(&base, None, &params(segment_blocks)).encoded.history;
        let payload = encode(&target, Some(&history), &params(segment_blocks));
        let from = if use_base { From::Hashed(&base) } else { From::Nothing };
        let endless = Budget::endless();
        let (data, tree) = empty_slot(&payload, &endless);
        let (mut data, mut tree) = (data.bytes(), tree.bytes());
        let (mut sent, mut tries, mut only_kills) = (0, 0, true);
        for (operations, seed, power) in &cuts {
            let cut = if *power { Cut::Power(*seed) } else { Cut::Kill };
            only_kills &= cut == Cut::Kill;
            let budget = Budget::of(*operations);
            let disks = (Disk::new(data, &budget), Disk::new(tree, &budget));
            let server = Server::new(&payload.file, &budget);
            let result = apply(&payload, from, &server, &disks.0, &disks.1);
            prop_assert_eq!(result.is_err(), budget.spent());
            sent += server.sent();
            tries += 1;
            (data, tree) = (disks.0.after(cut), disks.1.after(cut));
            if claimed_root(&tree).unwrap().is_some() {
                verify(&payload.goal(), &data, &tree).unwrap();
            }
        }
        let disks = (Disk::new(data, &endless), Disk::new(tree, &endless));
        let server = Server::new(&payload.file, &endless);
        apply(&payload, from, &server, &disks.0, &disks.1).unwrap();
        prop_assert!(disks.0.bytes() == target);
        verify(&payload.goal(), &disks.0, &disks.1).unwrap();
        sent += server.sent();
        if only_kills {
            // Nothing that stands on the disk is fetched again; the index is, by each try, and small
            // gaps are: an eighth at most.
            let bound = payload.file.len() as u64
                + tries * (largest_segment(&payload) + payload.encoded.index_bytes);
            let bound = bound * 9 / 8;
            prop_assert!(sent <= bound, "{} > {}", sent, bound);
        }
    }

    #[test]
    fn a_table_too_small_for_the_base_costs_bytes_and_never_a_wrong_image(
        base in names(60),
        replaced in prop::collection::vec((0usize..100, 0u64..200), 0..20),
        memory in 0usize..300,
    ) {
        let target = next_release(&base, &replaced, 1);
        let (base, target) = (image(&base), image(&target));
        let payload = encode(&target, None, &params(3));
        let budget = Budget::endless();
        let (data, tree) = empty_slot(&payload, &budget);
        let bytes = payload.index_bytes(&payload.file).unwrap();
        let index = Index::open(&bytes, &payload.expect()).unwrap();
        let from = Base::to_hash(&base, (base.len() / BLOCK) as u64, SALT);
        let table = ReuseTable::build(from, &index, memory);
        use twinroot_payload::stage::{Slot, Supply, in_turn, write_slot};
        let supply = Supply { index: &index, table: Some(&table), source: &payload.file };
        let slot = Slot { data: &data, data_medium: &data, tree: &tree, tree_medium: &tree };
        let report = write_slot(&payload.goal(), &slot, &supply, &mut in_turn, &mut |_| Ok(())).unwrap();
        // What the plan found, the jobs found or fetched.
        prop_assert_eq!(report.repairs, 0);
        prop_assert!(data.bytes() == target);
    }
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

/// Sends what is asked for in pieces of 777 bytes, and counts the requests.
struct Pieces<'a>(&'a [u8], std::sync::atomic::AtomicU32);

impl CodedSource for Pieces<'_> {
    fn fetch(
        &self,
        range: std::ops::Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let bytes = &self.0[range.start as usize..range.end as usize];
        bytes.chunks(777).try_for_each(take)
    }
}

#[test]
fn a_small_gap_between_wanted_segments_costs_no_request_of_its_own() {
    let image = image(&(1..=40).collect::<Vec<_>>());
    let payload = encode(&image, None, &params(2));
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let budget = Budget::endless();
    let (data, _) = empty_slot(&payload, &budget);
    // The eleventh segment of twenty is there, as a torn try may leave it.
    let there = 20 * BLOCK..22 * BLOCK;
    data.write_at(there.start as u64, &image[there]).unwrap();
    let scan = TargetScan::Everything(&data, SALT);
    let plan = Plan::make(&index, None, scan).unwrap();
    assert_eq!((plan.figures().segments, plan.figures().requests), (19, 1));
    let source = Pieces(&payload.file, std::sync::atomic::AtomicU32::new(0));
    let io = twinroot_payload::job::Io {
        index: &index,
        plan: &plan,
        table: None,
        source: &source,
        target: &data,
        compare: true,
    };
    let done = twinroot_payload::stage::in_turn(&io).unwrap();
    assert!(data.bytes() == image);
    assert_eq!(done.written, image.len() as u64 - 2 * BLOCK as u64);
    assert_eq!(done.fetched, plan.figures().fetch);
    assert_eq!(source.1.into_inner(), 1);
}

#[test]
fn a_segment_that_came_damaged_leaves_the_rest_of_its_run_to_another_request() {
    let image = image(&(1..=20).collect::<Vec<_>>());
    let mut payload = encode(&image, None, &params(3));
    let good = payload.file.clone();
    let bytes = payload.index_bytes(&payload.file).unwrap();
    let index = Index::open(&bytes, &payload.expect()).unwrap();
    let third = index.segment(2).unwrap().coded_start as usize;
    payload.file[third] ^= 1;
    let plan = Plan::make(&index, None, TargetScan::Nothing).unwrap();
    let budget = Budget::endless();
    let (data, _) = empty_slot(&payload, &budget);
    let io = twinroot_payload::job::Io {
        index: &index,
        plan: &plan,
        table: None,
        source: &payload.file,
        target: &data,
        compare: false,
    };
    let mut scratch = twinroot_payload::job::Scratch::new(&index);
    let work = plan.work(&index).unwrap().remove(0);
    let mut segments = 0;
    let mut count = |_: &Outcome| segments += 1;
    let error = run_work(&work, &io, &mut scratch, &mut count).unwrap_err();
    let Error::SegmentDigest { segment } = error else {
        panic!("{error}");
    };
    assert_eq!((segment, segments), (2, 2), "those before it are done");
    let rest = work.from_segment(&index, segment).unwrap();
    let io = twinroot_payload::job::Io {
        source: &good,
        ..io
    };
    run_work(&rest, &io, &mut scratch, &mut |_| {}).unwrap();
    assert!(data.bytes() == image);
}

#[test]
fn a_run_of_segments_can_be_streamed_in_one_request() {
    let image = image(&(1..=20).collect::<Vec<_>>());
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
        compare: false,
    };
    let work = plan.work(&index).unwrap();
    let [Work::Fetch(run)] = &work[..] else {
        panic!("one request was enough: {work:?}");
    };
    // In pieces that keep to no segment.
    let source = Pieces(&payload.file, std::sync::atomic::AtomicU32::new(0));
    let io = twinroot_payload::job::Io {
        source: &source,
        ..io
    };
    let mut scratch = twinroot_payload::job::Scratch::new(&index);
    let mut fetched = 0;
    let mut count = |outcome: &Outcome| fetched += outcome.fetched;
    run_work(&work[0], &io, &mut scratch, &mut count).unwrap();
    assert_eq!(fetched, run.coded.end - run.coded.start);
    assert_eq!(source.1.into_inner(), 1);
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
