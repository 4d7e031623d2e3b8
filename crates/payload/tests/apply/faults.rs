//! Bases that lie, are damaged or go away, and disks that lose what is written.

use super::*;

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
