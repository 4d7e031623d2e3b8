//! What a power cut may leave: every subset of the updates that were not flushed, or, where these are
//! too many, a stated choice of them.

use std::collections::BTreeSet;

use crate::medium::journal::Survival;
use crate::world::Machine;

/// How the outcomes of a cut were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regime {
    /// Nothing was pending: one outcome.
    Certain,
    /// All subsets.
    Exhaustive,
    /// None, all, single ones, all but one, prefixes, and seeded samples.
    Sampled,
}

/// The machines that may be found after a cut; no two are equal.
#[derive(Debug)]
pub struct Survivors {
    /// The machines, without power.
    pub machines: Vec<Machine>,
    /// How they were chosen.
    pub regime: Regime,
    /// Updates that were pending.
    pub pending: usize,
}

/// One outcome: which updates are kept, and how many changes of names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    kept: Vec<bool>,
    names: usize,
}

impl Outcome {
    fn apply(&self, machine: &Machine) -> Machine {
        let mut replay = Replay {
            kept: self.kept.iter(),
            names: self.names,
        };
        let mut after = machine.clone();
        for slot in &mut after.slots {
            slot.data = slot.data.after_cut(&mut || replay.keep());
            slot.tree = slot.tree.after_cut(&mut || replay.keep());
        }
        after.esp = after.esp.after_cut(&mut || replay.keep());
        after.files = after.files.after_cut(&mut replay);
        after.variables.power_cut();
        after.running = None;
        after.reboot_requested = false;
        after.since_boot = 0;
        after.effects = crate::cut::Effects::default();
        after
    }
}

struct Replay<'a> {
    kept: std::slice::Iter<'a, bool>,
    names: usize,
}

impl Survival for Replay<'_> {
    fn prefix(&mut self, pending: usize) -> usize {
        self.names.min(pending)
    }

    fn keep(&mut self) -> bool {
        self.kept.next().copied().unwrap_or(false)
    }
}

/// How many outcomes of one cut are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcomes {
    /// All of them, where there are no more than this.
    pub exhaustive: usize,
    /// Else so many.
    pub samples: usize,
}

/// What may be found after the power went; samples follow `seed`.
#[must_use]
pub fn survivors(machine: &Machine, most: Outcomes, seed: u64) -> Survivors {
    let (names, dirty) = machine.files.unflushed();
    let sectors: usize = machine
        .slots
        .iter()
        .map(|s| s.data.unflushed() + s.tree.unflushed())
        .sum();
    // A dirty small file is lost, half there, or whole: two answers.
    let updates = sectors + machine.esp.unflushed() + 2 * dirty;
    let pending = updates + names;
    let small = updates < usize::BITS as usize && (names + 1) << updates.min(32) <= most.exhaustive;
    let (outcomes, regime) = match (pending, small) {
        (0, _) => (
            vec![Outcome {
                kept: Vec::new(),
                names: 0,
            }],
            Regime::Certain,
        ),
        (_, true) => (all(updates, names), Regime::Exhaustive),
        (_, false) => (some(updates, names, most.samples, seed), Regime::Sampled),
    };
    let mut seen = BTreeSet::new();
    let machines = outcomes.iter().map(|outcome| outcome.apply(machine));
    let machines = machines
        .filter(|after| seen.insert(after.fingerprint()))
        .collect();
    Survivors {
        machines,
        regime,
        pending,
    }
}

fn all(updates: usize, names: usize) -> Vec<Outcome> {
    let subsets = 0..1_usize << updates;
    let outcome = |subset: usize, names| {
        let kept = (0..updates).map(|bit| subset >> bit & 1 == 1).collect();
        Outcome { kept, names }
    };
    subsets
        .flat_map(|subset| (0..=names).map(move |names| outcome(subset, names)))
        .collect()
}

/// Families in turns, so that a small budget still has some of each.
fn some(updates: usize, names: usize, most: usize, seed: u64) -> Vec<Outcome> {
    let filled = |value| vec![value; updates];
    let but = |value: bool, at: usize| {
        let mut kept = filled(value);
        kept[at] = !value;
        kept
    };
    let mut random = Random(seed | 1);
    let mut kept = vec![filled(false), filled(true)];
    let each = most.saturating_sub(2).div_ceil(4).max(1);
    // Where only names are pending there is no single update to keep or to lose.
    for n in 0..if updates == 0 { 0 } else { each } {
        // Spread over the updates, the first and the last among them.
        let at = n * updates.saturating_sub(1) / each.saturating_sub(1).max(1);
        kept.push(but(false, at));
        kept.push(but(true, at));
        kept.push((0..updates).map(|bit| bit < at).collect());
        kept.push((0..updates).map(|_| random.next() & 1 == 1).collect());
    }
    kept.truncate(most);
    let outcome = |(n, kept)| {
        let names = match n % 3 {
            0 => names,
            1 => 0,
            _ => random.next() as usize % (names + 1),
        };
        Outcome { kept, names }
    };
    kept.into_iter().enumerate().map(outcome).collect()
}

/// xorshift64*: small, and the same everywhere for the same seed.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
