use super::*;
use alloc::vec;
use proptest::prelude::*;

fn root(n: u8) -> Digest {
    Digest::of(&[n])
}

fn allowing(n: u8) -> AttemptRecord {
    let entry = EntryName::parse("twinroot_1.0_0123456789abcdef.efi").expect("a good name");
    AttemptRecord::default().allowing(Some(Allowed {
        root: root(n),
        entry,
    }))
}

fn blessed(root: &Digest) -> Start<'_> {
    Start {
        root,
        on_disk: true,
        counted: false,
        allowed_on_disk: true,
        came_up: true,
    }
}

/// Starts `root` and keeps the record as the initramfs would.
fn start(record: &mut AttemptRecord, root: &Digest) -> Next {
    let (next, changed) = decide(record, &blessed(root));
    if let Some(changed) = changed {
        *record = changed;
    }
    next
}

#[test]
fn a_committed_slot_is_left_after_three_starts_without_health() {
    let (bad, good) = (root(2), root(1));
    let mut record = allowing(1);
    for _ in 0..3 {
        assert_eq!(start(&mut record, &bad), Next::Start);
    }
    let next = start(&mut record, &bad);
    assert!(matches!(next, Next::OtherSlotOnce { entry } if entry.starts_with("twinroot_1.0")));
    assert_eq!(record.abandoned(), Some(bad));
    assert_eq!(start(&mut record, &good), Next::Start);
    let record = record.healthy(&good);
    assert_eq!(
        (record.starts_of(&good), record.abandoned()),
        (0, Some(bad))
    );
}

#[test]
fn health_ends_the_count() {
    let this = root(2);
    let mut record = allowing(1);
    for _ in 0..10 {
        assert_eq!(start(&mut record, &this), Next::Start);
        assert_eq!(start(&mut record, &this), Next::Start);
        record = record.healthy(&this);
    }
}

#[test]
fn an_orderly_shutdown_takes_its_start_back() {
    let this = root(2);
    let mut record = allowing(1);
    for _ in 0..10 {
        assert_eq!(start(&mut record, &this), Next::Start);
        record = record.take_back(&this);
    }
}

#[test]
fn starts_of_one_root_are_not_blamed_on_another() {
    let mut record = allowing(1);
    for _ in 0..3 {
        let _ = start(&mut record, &root(2));
    }
    assert_eq!(
        start(&mut record, &root(3)),
        Next::Start,
        "a re-staged slot starts from nothing"
    );
}

#[test]
fn without_an_allowed_root_the_node_stays_where_it_is() {
    let this = root(2);
    let mut record = AttemptRecord::default();
    for _ in 0..3 {
        assert_eq!(start(&mut record, &this), Next::Start);
    }
    assert_eq!(start(&mut record, &this), Next::StartDegraded);
}

#[test]
fn the_allowed_root_is_taken_only_from_the_disk_and_never_twice_the_same() {
    let this = root(2);
    let mut tired = allowing(1);
    tired.starts.push(Starts {
        root: this,
        count: STARTS_ALLOWED,
        left: false,
    });
    let absent = Start {
        allowed_on_disk: false,
        ..blessed(&this)
    };
    assert_eq!(decide(&tired, &absent).0, Next::StartDegraded);
    let itself = root(1);
    tired.starts[0].root = itself;
    assert_eq!(decide(&tired, &blessed(&itself)).0, Next::StartDegraded);
}

#[test]
fn two_bad_slots_do_not_flip_for_ever() {
    let (a, b) = (root(2), root(1));
    let mut record = allowing(1);
    let mut hops = 0;
    for _ in 0..30 {
        // B is only ever started once, by one-shot; the default is A.
        if matches!(start(&mut record, &a), Next::OtherSlotOnce { .. }) {
            hops += 1;
            let _ = start(&mut record, &b);
        }
    }
    assert_eq!(hops, 3, "B gets its own three starts, then A stays");
    assert_eq!(start(&mut record, &a), Next::StartDegraded);
}

/// Promise 3: a node that cannot come up anywhere says so and stops, and a person gets one more start.
#[test]
fn a_root_that_never_comes_up_and_is_alone_halts_and_is_tried_once_by_each_power_on() {
    let this = root(2);
    let alone = Start {
        allowed_on_disk: false,
        came_up: false,
        ..blessed(&this)
    };
    let mut record = AttemptRecord::default();
    for _ in 0..STARTS_ALLOWED {
        let (next, changed) = decide(&record, &alone);
        assert_eq!(next, Next::Start);
        record = changed.unwrap();
    }
    for _ in 0..2 {
        let (next, changed) = decide(&record, &alone);
        let Next::Halt { reason } = next else {
            panic!("it goes on although it never came up: {next:?}")
        };
        assert!(reason.contains("started 3 times"), "{reason}");
        let (next, changed) = decide(&changed.unwrap(), &alone);
        assert_eq!(next, Next::Start);
        record = changed.unwrap();
    }
}

#[test]
fn a_root_that_is_nowhere_is_left_at_once_or_stops() {
    let this = root(2);
    let missing = Start {
        on_disk: false,
        ..blessed(&this)
    };
    assert!(matches!(
        decide(&allowing(1), &missing).0,
        Next::OtherSlotOnce { .. }
    ));
    let nowhere = Start {
        allowed_on_disk: false,
        ..missing
    };
    assert!(matches!(
        decide(&allowing(1), &nowhere).0,
        Next::Halt { .. }
    ));
    assert!(matches!(
        decide(&AttemptRecord::default(), &missing).0,
        Next::Halt { .. }
    ));
}

#[test]
fn a_trial_is_left_to_the_loader() {
    let this = root(2);
    let trial = Start {
        counted: true,
        ..blessed(&this)
    };
    let mut tired = allowing(1);
    tired.starts.push(Starts {
        root: this,
        count: 200,
        left: false,
    });
    assert_eq!(decide(&tired, &trial), (Next::Start, None));
}

#[test]
fn a_write_never_touches_the_newest_whole_copy() {
    let mut file = vec![0; FILE];
    let mut record = allowing(1);
    for round in 1..=5u64 {
        record = decide(&record, &blessed(&root(2)))
            .1
            .unwrap_or(record)
            .healthy(&root(2));
        let write = record.write(&file);
        let newest = AttemptRecord::read(&file);
        // Torn anywhere: the old record or the new one, never a third.
        for cut in [0, 1, 8, 100, 508, 511] {
            let mut torn = file.clone();
            torn[write.offset..write.offset + cut].copy_from_slice(&write.bytes[..cut]);
            let read = AttemptRecord::read(&torn);
            assert!(read == newest || read.sequence == round, "cut at {cut}");
        }
        file[write.offset..write.offset + COPY].copy_from_slice(&write.bytes);
        assert_eq!(AttemptRecord::read(&file).sequence, round);
    }
}

#[test]
fn files_that_hold_no_record_read_as_empty() {
    for file in [
        vec![],
        vec![0; 5],
        vec![0; FILE],
        vec![0xFF; FILE],
        vec![0; COPY],
        vec![7; 4096],
    ] {
        assert_eq!(AttemptRecord::read(&file), AttemptRecord::default());
    }
}

#[test]
fn one_whole_copy_in_a_short_file_still_counts() {
    let write = allowing(1).write(&[]);
    assert_eq!(write.offset, 0);
    assert_eq!(AttemptRecord::read(&write.bytes).sequence, 1);
}

#[test]
fn the_last_sequence_is_refused_so_that_a_next_always_exists() {
    let mut record = allowing(1);
    record.sequence = u64::MAX;
    assert_eq!(
        AttemptRecord::read(&record.encode()),
        AttemptRecord::default()
    );
}

#[test]
fn the_bytes_are_the_documented_ones() {
    let mut record = allowing(1);
    record.starts.push(Starts {
        root: root(2),
        count: 2,
        left: true,
    });
    let bytes = record.write(&[]).bytes;
    assert_eq!(&bytes[..16], b"TWRATT01\x01\0\0\0\0\0\0\0");
    assert_eq!(&bytes[16..48], root(2).as_bytes());
    assert_eq!(&bytes[48..56], &[2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[96..128], root(1).as_bytes());
    assert_eq!(&bytes[128..130], &[33, 0]);
    assert_eq!(&bytes[130..163], b"twinroot_1.0_0123456789abcdef.efi");
    assert!(bytes[163..508].iter().all(|b| *b == 0));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_seen(bit in 0usize..COPY * 8) {
        let mut bytes = allowing(1).write(&[]).bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(AttemptRecord::read(&bytes), AttemptRecord::default());
    }

    #[test]
    fn any_bytes_read_without_panic(file in proptest::collection::vec(any::<u8>(), 0..1100)) {
        let _ = AttemptRecord::read(&file);
    }
}
