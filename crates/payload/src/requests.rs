//! Which bytes of a payload file are asked for at once: neighbouring segments in one request, and
//! small gaps between them fetched along.

use alloc::vec::Vec;
use core::ops::Range;

/// Unwanted bytes between two wanted segments that are fetched along rather than asked around: 64 KiB.
/// A request more costs a round trip, and in 25 ms a line of 20 Mbit/s brings as much: so a gap costs no
/// more time than it saves.
const GAP: u64 = 64 << 10;

/// All gaps of a run together are at most an eighth of what is wanted of it before them, so that nothing
/// is fetched that costs more than a ninth of the traffic.
const WASTE: u64 = 8;

/// Adjacent segments that one range request brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRun {
    /// Their numbers. Some in between may be unwanted, where asking around them would not pay.
    pub segments: Range<u32>,
    /// Their coded bytes in the payload file.
    pub coded: Range<u64>,
}

/// Joins wanted segments to runs.
pub(crate) struct Joiner {
    runs: Vec<FetchRun>,
    /// The most bytes of a run that has several segments.
    most: u64,
    /// Wanted bytes of the last run.
    wanted: u64,
}

impl Joiner {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            runs: Vec::new(),
            most,
            wanted: 0,
        }
    }

    /// Adds a wanted segment, in the order of the file: to the last run where it lies close behind, else
    /// as a run of its own.
    pub(crate) fn add(&mut self, number: u32, coded: Range<u64>) {
        let bytes = coded.end - coded.start;
        match self.runs.last_mut() {
            Some(run) if joins(run, &coded, self.wanted, self.most) => {
                (run.coded.end, run.segments.end) = (coded.end, number + 1);
                self.wanted += bytes;
            }
            _ => {
                self.runs.push(FetchRun {
                    segments: number..number + 1,
                    coded,
                });
                self.wanted = bytes;
            }
        }
    }

    pub(crate) fn runs(self) -> Vec<FetchRun> {
        self.runs
    }
}

fn joins(run: &FetchRun, coded: &Range<u64>, wanted: u64, most: u64) -> bool {
    let Some(gap) = coded.start.checked_sub(run.coded.end) else {
        return false;
    };
    let unwanted = run.coded.end - run.coded.start - wanted + gap;
    gap <= GAP && unwanted <= wanted / WASTE && coded.end - run.coded.start <= most
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Runs of segments given by their coded ranges.
    fn runs(wanted: &[(u32, Range<u64>)], most: u64) -> Vec<(Range<u32>, Range<u64>)> {
        let mut joiner = Joiner::new(most);
        for (number, coded) in wanted {
            joiner.add(*number, coded.clone());
        }
        let runs = joiner.runs().into_iter();
        runs.map(|run| (run.segments, run.coded)).collect()
    }

    #[test]
    fn a_gap_is_fetched_along_up_to_64_kib_and_asked_around_beyond() {
        let first = 1 << 20;
        let second = first + 65_536;
        let near = [(0, 0..first), (3, second..second + 50)];
        assert_eq!(runs(&near, u64::MAX), vec![(0..4, 0..second + 50)]);
        let far = [(0, 0..first), (3, second + 1..second + 50)];
        assert_eq!(runs(&far, u64::MAX).len(), 2);
    }

    #[test]
    fn gaps_together_are_at_most_an_eighth_of_what_is_wanted() {
        // Every second segment of a hundred bytes: asked for one by one.
        let every_second: Vec<_> = (0..20u32)
            .map(|n| (2 * n, u64::from(n) * 200..u64::from(n) * 200 + 100))
            .collect();
        assert_eq!(runs(&every_second, u64::MAX).len(), 20);
        // Eight hundred bytes pay for a gap of a hundred, and not for a second one at once.
        let wanted = [(0, 0..800), (2, 900..950), (4, 1050..1060)];
        let expected = vec![(0..3, 0..950), (4..5, 1050..1060)];
        assert_eq!(runs(&wanted, u64::MAX), expected);
    }

    #[test]
    fn a_request_stays_within_its_bound_unless_one_segment_alone_passes_it() {
        let wanted = [(0, 0..60), (1, 60..100), (2, 100..101), (3, 101..500)];
        let expected = vec![(0..2, 0..100), (2..3, 100..101), (3..4, 101..500)];
        assert_eq!(runs(&wanted, 100), expected);
    }
}
