//! Writing a whole slot: the sequence of [`crate::finish`] with its repairs, in one place.
//!
//! Which threads do the jobs is the caller's: [`write_slot`] takes a function that does the jobs
//! of a plan. [`in_turn`] does them one after another and so in the same order every time.

use crate::error::Result;
use crate::finish::{self, Goal, Proof, Refuted};
use crate::index::Index;
use crate::io::{CodedSource, Fault, ReadAt, ReadWriteAt};
use crate::job::{Io, Outcome, Scratch};
use crate::plan::{Figures, Plan, TargetScan};
use crate::reuse::ReuseTable;
use crate::work::run_work;

/// The two partitions of the slot that is written, each as the cache and as the medium has it.
#[derive(Clone, Copy)]
pub struct Slot<'a> {
    /// The data partition.
    pub data: &'a dyn ReadWriteAt,
    /// The data partition, read past the cache.
    pub data_medium: &'a dyn ReadAt,
    /// The tree partition.
    pub tree: &'a dyn ReadWriteAt,
    /// The tree partition, read past the cache.
    pub tree_medium: &'a dyn ReadAt,
}

impl core::fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Slot")
    }
}

/// What a slot is written from.
#[derive(Clone, Copy)]
pub struct Supply<'a> {
    /// The payload's index.
    pub index: &'a Index<'a>,
    /// The base, where there is one.
    pub table: Option<&'a ReuseTable<'a>>,
    /// The payload file.
    pub source: &'a dyn CodedSource,
}

impl core::fmt::Debug for Supply<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Supply({:?}, {:?})", self.index, self.table)
    }
}

/// Does the jobs of a plan, on threads of the caller's choice.
pub type Runner<'a> = dyn FnMut(&Io<'_>) -> Result<Outcome> + 'a;

/// What writing a slot has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// What the first plan said.
    pub planned: Figures,
    /// What all jobs did, those of repairs included.
    pub done: Outcome,
    /// How often blocks read back wrong and were brought again.
    pub repairs: u32,
}

/// Writes the image of `goal` to `slot` and proves it, in the order given in [`crate::finish`].
///
/// May be called again after an interruption at any moment; what an earlier try has brought is
/// found and kept. `progress` is told the blocks read back, and may stop the work.
///
/// # Errors
/// [`crate::Error::RootHash`] where the image is wrong even after every segment was fetched anew;
/// else what the doors and jobs report. The slot then claims nothing.
pub fn write_slot(
    goal: &Goal<'_>,
    slot: &Slot<'_>,
    supply: &Supply<'_>,
    run: &mut Runner<'_>,
    progress: &mut dyn FnMut(u64) -> Result<(), Fault>,
) -> Result<Report> {
    finish::begin(&goal.shape, slot.tree)?;
    let scan = TargetScan::Missing(slot.data, goal.salt);
    let mut plan = Plan::make(supply.index, supply.table, scan)?;
    let mut report = Report {
        planned: plan.figures(),
        ..Report::default()
    };
    loop {
        let first = report.repairs == 0;
        let io = Io {
            index: supply.index,
            plan: &plan,
            table: supply.table,
            source: supply.source,
            target: slot.data,
            // A repair writes without looking: what it would look at may be the cache.
            compare: first,
        };
        report.done.add(&run(&io)?);
        slot.data
            .flush()
            .map_err(crate::Error::io("flush the target slot"))?;
        let proof = finish::prove(goal, slot.data_medium, slot.tree, progress)?;
        plan = match (proof, report.repairs) {
            (Proof::Right(proven), _) => {
                proven.check_tree(slot.tree_medium)?.seal(slot.tree)?;
                return Ok(report);
            }
            (Proof::Wrong(refuted), 0) => repair(goal, slot, supply, &refuted)?,
            (Proof::Wrong(_), 1) => Plan::everything(supply.index)?,
            (Proof::Wrong(refuted), _) => return Err(finish::wrong_root(goal, refuted.found())),
        };
        report.repairs += 1;
    }
}

/// The plan for the blocks that read back wrong; for all where none stands out.
fn repair(
    goal: &Goal<'_>,
    slot: &Slot<'_>,
    supply: &Supply<'_>,
    refuted: &Refuted,
) -> Result<Plan> {
    let leaves = refuted.leaves(slot.tree_medium);
    match Plan::repair(supply.index, &leaves, goal.salt)? {
        Some(plan) => Ok(plan),
        None => Plan::everything(supply.index),
    }
}

/// Does the work of a plan piece by piece on the calling thread.
pub fn in_turn(io: &Io<'_>) -> Result<Outcome> {
    let mut scratch = Scratch::new(io.index);
    let mut done = Outcome::default();
    for work in io.plan.work(io.index)? {
        run_work(&work, io, &mut scratch, &mut |outcome| done.add(outcome))?;
    }
    Ok(done)
}
