//! The promises of [`Disk`]: only the inactive slot changes, and nothing beyond its partitions.

use twinroot_core::facts::Facts;
use twinroot_core::slot::{Part, SlotName};
use twinroot_payload::io::ReadAt;
use twinroot_payload::verity::{BLOCK, Superblock, TreeBuilder, TreeShape, block_hash};

use crate::Disk;

/// Checks a disk whose slots hold nothing yet. `facts` are those of the machine it belongs to, and
/// `rest` gives a digest of everything on the medium except the slot named.
///
/// # Panics
/// With the promise that is broken.
pub fn disk_contract(disk: &dyn Disk, facts: &Facts, rest: &mut dyn FnMut(SlotName) -> Vec<u8>) {
    let slot = facts.inactive();
    let before = rest(slot.name());
    empty_slots_claim_nothing(disk);
    what_is_written_is_read_back_past_the_cache(disk, facts);
    nothing_is_written_beyond_the_partition(disk, facts);
    a_sealed_tree_is_claimed_and_a_torn_one_is_not(disk, facts);
    assert!(
        rest(slot.name()) == before,
        "only slot {} has changed",
        slot.name()
    );
}

fn empty_slots_claim_nothing(disk: &dyn Disk) {
    for slot in SlotName::BOTH {
        let seen = disk.observe(slot).expect("a slot can be looked at");
        assert_eq!(
            seen.claimed_root, None,
            "an empty slot {slot} holds no image"
        );
        for (part, size) in [(Part::Data, seen.data_size), (Part::Tree, seen.tree_size)] {
            let reader = disk.reader(slot, part).expect("a slot can be read");
            assert_eq!(
                reader.len(),
                Ok(size),
                "slot {slot}: both tell the same size"
            );
        }
    }
}

fn what_is_written_is_read_back_past_the_cache(disk: &dyn Disk, facts: &Facts) {
    let slot = facts.inactive();
    for part in [Part::Data, Part::Tree] {
        let target = disk
            .target(slot, part)
            .expect("the inactive slot can be written");
        let size = target.len().expect("it has a size");
        // The first and the last bytes, and a piece that is no multiple of a sector, across one.
        for (offset, byte) in [(0, 1), (size - 1, 2), (700, 3)] {
            let piece = vec![byte; if offset == 700 { 3000 } else { 1 }];
            target
                .write_at(offset, &piece)
                .expect("within the partition");
            target.flush().expect("flushed");
            target.drop_caches().expect("caches dropped");
            for reader in [
                disk.reader(slot.name(), part).expect("readable"),
                boxed(&*target),
            ] {
                let mut found = vec![0; piece.len()];
                reader.read_at(offset, &mut found).expect("readable");
                assert_eq!(found, piece, "{part:?} at {offset}");
            }
        }
        // Leave the parts as the other promises expect them.
        target
            .write_at(0, &vec![0; 8192])
            .expect("within the partition");
        target.flush().expect("flushed");
    }
}

fn boxed(target: &dyn crate::SlotWriter) -> Box<dyn ReadAt + '_> {
    Box::new(Through(target))
}

struct Through<'a>(&'a dyn crate::SlotWriter);

impl ReadAt for Through<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), crate::Fault> {
        self.0.read_at(offset, buf)
    }
    fn len(&self) -> Result<u64, crate::Fault> {
        self.0.len()
    }
}

fn nothing_is_written_beyond_the_partition(disk: &dyn Disk, facts: &Facts) {
    for part in [Part::Data, Part::Tree] {
        let target = disk
            .target(facts.inactive(), part)
            .expect("the inactive slot can be written");
        let size = target.len().expect("it has a size");
        for (offset, length) in [
            (size, 1),
            (size - 1, 2),
            (u64::MAX, 1),
            (u64::MAX - 511, 512),
        ] {
            target
                .write_at(offset, &vec![0xEE; length])
                .expect_err("beyond the end");
            target
                .read_at(offset, &mut vec![0; length])
                .expect_err("beyond the end");
        }
        target
            .write_at(size, &[])
            .expect("nothing at the very end is nothing");
        target
            .flush()
            .expect("a refused write leaves the rest usable");
    }
}

/// A tree over one block is enough to be claimed; any doubt about it is no claim.
fn a_sealed_tree_is_claimed_and_a_torn_one_is_not(disk: &dyn Disk, facts: &Facts) {
    let slot = facts.inactive();
    let tree = disk
        .target(slot, Part::Tree)
        .expect("the inactive slot can be written");
    let (superblock, root_block, root) = smallest_tree();
    let claim = || {
        let seen = disk.observe(slot.name()).expect("a slot can be looked at");
        seen.claimed_root.map(|root| *root.as_bytes())
    };
    tree.write_at(0, &superblock).expect("written");
    tree.write_at(BLOCK as u64, &root_block).expect("written");
    tree.flush().expect("flushed");
    assert_eq!(claim(), Some(root), "superblock and root block agree");
    tree.write_at(BLOCK as u64 + 5, &[root_block[5] ^ 1])
        .expect("written");
    tree.flush().expect("flushed");
    assert_ne!(
        claim(),
        Some(root),
        "a torn root block claims nothing of the kind"
    );
    tree.write_at(0, &vec![0; BLOCK]).expect("written");
    tree.flush().expect("flushed");
    assert_eq!(claim(), None, "a zeroed superblock claims nothing");
}

fn smallest_tree() -> (Vec<u8>, Vec<u8>, [u8; 32]) {
    let (shape, salt) = (TreeShape::new(2).expect("two blocks have a tree"), [7; 32]);
    let mut builder = TreeBuilder::new(shape, &salt).expect("a tree of two blocks");
    let mut root_block = vec![0; BLOCK];
    let mut emit = |_: u64, block: &[u8; BLOCK]| {
        root_block.copy_from_slice(block);
        Ok(())
    };
    for leaf in [
        block_hash(&salt, &[1; BLOCK]),
        block_hash(&salt, &[2; BLOCK]),
    ] {
        builder.push(&leaf, &mut emit).expect("two leaves");
    }
    let root = builder.finish(&mut emit).expect("both leaves are in");
    let superblock = Superblock::new(&shape, &salt, &root).expect("a short salt");
    let superblock = superblock.encode().to_vec();
    (superblock, root_block, root)
}
