//! How much is asked for at once.

use super::*;

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
