//! Cut at any operation, from any base, in segments of any size.

use super::*;

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
