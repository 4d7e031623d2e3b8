//! Difference coding: the output as pieces of the base with something added, and what is between
//! them. The search is that of Colin Percival's bsdiff ('Naive differences of executable code',
//! 2003): a match need not be exact to be followed, so that code in which only addresses changed
//! becomes long pieces with few additions, and these compress well.

use alloc::vec::Vec;

use crate::delta::model::{CONTROL_MAX, VALUE_STREAMS};
use crate::encode::delta::patch::frame;
use crate::encode::delta::suffix::Suffixes;
use crate::encode::delta::write::{number, signed};
use crate::error::Result;

/// By how many bytes an exact match has to beat going on where we are: bsdiff's choice.
const BETTER_BY: isize = 8;

/// A piece of the base with additions, then bytes of its own.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Where the piece starts in base and output.
    base: usize,
    out: usize,
    add: usize,
    extra: usize,
}

/// An output as pieces of a base.
pub(super) struct Difference<'a> {
    out: &'a [u8],
    base: &'a [u8],
    steps: Vec<Step>,
}

impl<'a> Difference<'a> {
    pub(super) fn find(out: &'a [u8], base: &'a [u8]) -> Self {
        let steps = steps(out, base);
        Self { out, base, steps }
    }

    /// Bytes that are like nothing in the base.
    pub(super) fn extra(&self) -> usize {
        self.steps.iter().map(|step| step.extra).sum()
    }

    /// The coded bytes.
    pub(super) fn code(&self, level: i32) -> Result<Vec<u8>> {
        let (mut runs, mut extra) = (Runs::default(), Vec::new());
        for step in &self.steps {
            let new = &self.out[step.out..][..step.add];
            runs.piece(&self.base[step.base..][..step.add], new);
            extra.extend_from_slice(&self.out[step.out + step.add..][..step.extra]);
        }
        let control = control(&self.steps);
        if control.len() > CONTROL_MAX {
            return Ok(self.out.to_vec()); // as long as raw: never chosen
        }
        let [one, two, three, four, more] = &runs.values;
        let plain = [
            &control,
            &runs.gaps,
            &runs.lengths,
            one,
            two,
            three,
            four,
            more,
        ];
        let (mut coded, mut frames) = (Vec::new(), Vec::new());
        for stream in plain {
            let before = frames.len();
            if !stream.is_empty() {
                frames.extend(frame(stream, &[], level)?);
            }
            number(&mut coded, (frames.len() - before) as u64);
        }
        coded.extend(frames);
        coded.extend(extra_stream(&extra, self.base, level)?);
        Ok(coded)
    }
}

/// What is added to the pieces, with carry: an address that moved by one distance has the same digits of
/// difference wherever it stands, which it has not where each byte is taken for itself.
#[derive(Default)]
struct Runs {
    /// Bytes since the run before to which nothing is added.
    gap: u64,
    gaps: Vec<u8>,
    lengths: Vec<u8>,
    values: [Vec<u8>; VALUE_STREAMS],
}

impl Runs {
    fn piece(&mut self, old: &[u8], new: &[u8]) {
        let (mut carry, mut run) = (0, Vec::new());
        for (old, new) in old.iter().zip(new) {
            let value = i16::from(new.wrapping_sub(*old) as i8) - carry;
            let value = i16::from(value as i8);
            carry = (i16::from(*old) + value + carry) >> 8;
            match value {
                0 => self.finish(&mut run, 1),
                value => run.push(value as u8),
            }
        }
        self.finish(&mut run, 0);
    }

    /// The run is over; so many bytes without additions follow.
    fn finish(&mut self, run: &mut Vec<u8>, after: u64) {
        if !run.is_empty() {
            number(&mut self.gaps, self.gap);
            number(&mut self.lengths, run.len() as u64);
            self.values[run.len().min(VALUE_STREAMS) - 1].append(run);
            self.gap = 0;
        }
        self.gap += after;
    }
}

/// Below this many bytes between the pieces the base is searched for them at a lower level: at the
/// highest ones, taking 4 MiB of base in costs more than all else, whatever is looked for in it.
const LITTLE_EXTRA: usize = 4 << 10;
/// The highest level of zstd that takes a prefix in without building search trees.
const LITTLE_LEVEL: i32 = 12;

/// What stands between the pieces, with the base as its prefix; of little the shorter of two tries.
fn extra_stream(extra: &[u8], base: &[u8], level: i32) -> Result<Vec<u8>> {
    if extra.is_empty() {
        return Ok(Vec::new());
    }
    if extra.len() > LITTLE_EXTRA || level <= LITTLE_LEVEL {
        return frame(extra, base, level);
    }
    let with = frame(extra, base, LITTLE_LEVEL)?;
    let without = frame(extra, &[], level)?;
    Ok(if without.len() < with.len() {
        without
    } else {
        with
    })
}

/// Three lists of numbers, since each is more like itself than like the others.
fn control(steps: &[Step]) -> Vec<u8> {
    let mut control = Vec::new();
    number(&mut control, steps.len() as u64);
    for step in steps {
        number(&mut control, step.add as u64);
    }
    for step in steps {
        number(&mut control, step.extra as u64);
    }
    for (i, step) in steps.iter().enumerate() {
        let end = step.base + step.add;
        let next = steps.get(i + 1).map_or(end, |next| next.base);
        signed(&mut control, next as i64 - end as i64);
    }
    control
}

/// The search for pieces.
fn steps(out: &[u8], base: &[u8]) -> Vec<Step> {
    let suffixes = Suffixes::of(base);
    let mut steps = Vec::new();
    // Where we look, and the exact match found there.
    let (mut scan, mut position, mut length) = (0, 0, 0);
    // Where the piece at hand starts in output and base.
    let (mut last, mut last_base) = (0usize, 0usize);
    let goes_on = |at: usize, last: usize, last_base: usize| {
        base.get(at - last + last_base) == Some(&out[at])
    };
    while scan < out.len() {
        let mut score = 0isize; // bytes of the match that going on would give as well
        scan += length;
        let mut scored = scan;
        while scan < out.len() {
            (position, length) = suffixes.longest(&out[scan..]);
            while scored < scan + length {
                score += isize::from(goes_on(scored, last, last_base));
                scored += 1;
            }
            let exact = length as isize;
            if (exact == score && length != 0) || exact > score + BETTER_BY {
                break;
            }
            if scan < scored {
                score -= isize::from(goes_on(scan, last, last_base));
            }
            scan += 1;
            scored = scored.max(scan);
        }
        if scan < out.len() && length as isize == score {
            continue; // the match is where we are going anyway
        }
        let forward = forward(&out[last..scan], &base[last_base..]);
        let backward = match scan < out.len() {
            true => backward(&out[last..scan], &base[..position]),
            false => 0,
        };
        let (add, back) = settle(
            out,
            base,
            (last, last_base, forward),
            (scan, position, backward),
        );
        steps.push(Step {
            base: last_base,
            out: last,
            add,
            extra: scan - back - (last + add),
        });
        (last, last_base) = (scan - back, position - back);
    }
    steps
}

/// How far the piece at hand is worth following: where twice its equal bytes less all are most.
fn forward(out: &[u8], base: &[u8]) -> usize {
    let (mut equal, mut most, mut length) = (0i64, 0i64, 0);
    for (i, (new, old)) in out.iter().zip(base).enumerate() {
        equal += i64::from(new == old);
        let worth = 2 * equal - (i as i64 + 1);
        if worth > most {
            (most, length) = (worth, i + 1);
        }
    }
    length
}

/// How far the next piece is worth beginning earlier.
fn backward(out: &[u8], base: &[u8]) -> usize {
    let (mut equal, mut most, mut length) = (0i64, 0i64, 0);
    for (i, (new, old)) in out.iter().rev().zip(base.iter().rev()).enumerate() {
        equal += i64::from(new == old);
        let worth = 2 * equal - (i as i64 + 1);
        if worth > most {
            (most, length) = (worth, i + 1);
        }
    }
    length
}

/// Where both pieces claim the same bytes: the cut that leaves most bytes equal.
fn settle(
    out: &[u8],
    base: &[u8],
    (last, last_base, forward): (usize, usize, usize),
    (scan, position, backward): (usize, usize, usize),
) -> (usize, usize) {
    let Some(overlap) = (last + forward).checked_sub(scan - backward) else {
        return (forward, backward);
    };
    let (mut score, mut most, mut cut) = (0i64, 0i64, 0);
    for i in 0..overlap {
        let at = scan - backward + i;
        score += i64::from(out[at] == base[last_base + (at - last)]);
        score -= i64::from(out[at] == base[position - backward + i]);
        if score > most {
            (most, cut) = (score, i + 1);
        }
    }
    (forward + cut - overlap, backward - cut)
}
