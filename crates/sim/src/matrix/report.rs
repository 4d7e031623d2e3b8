//! What the matrix has found, for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::watch::Violation;

/// A broken rule, and how to get there.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The history.
    pub history: &'static str,
    /// The cut or cuts.
    pub path: String,
    /// The rule.
    pub violation: Violation,
}

/// Figures of one history, or of several added up.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Histories.
    pub histories: u64,
    /// Effects of the uncut runs.
    pub effects: u64,
    /// Moments at which the power went: before and after each effect, of first and second cuts.
    pub cuts: u64,
    /// Cuts with nothing pending, all subsets tried, subsets sampled.
    pub regimes: [u64; 3],
    /// Outcomes of cuts, equal ones included.
    pub outcomes: u64,
    /// Recoveries that were run: one for each distinct disk.
    pub runs: u64,
    /// Of these, after a second death during recovery.
    pub second_runs: u64,
    /// Recoveries in which every effect was cut again, and those that were passed over by sampling.
    pub second_cut: [u64; 2],
    /// Disks after a second death that were found and passed over by the budget.
    pub second_left: u64,
    /// Next good releases that were installed afterwards, one for each distinct end.
    pub next_updates: u64,
    /// Distinct disks that were recovered.
    pub disks: BTreeSet<u64>,
    /// Distinct disks at rest.
    pub ends: BTreeSet<u64>,
    /// Broken rules.
    pub findings: Vec<Finding>,
}

impl Figures {
    /// Adds another history's figures.
    pub fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.effects += other.effects;
        self.cuts += other.cuts;
        for (sum, more) in self.regimes.iter_mut().zip(other.regimes) {
            *sum += more;
        }
        self.outcomes += other.outcomes;
        self.runs += other.runs;
        self.second_runs += other.second_runs;
        for (sum, more) in self.second_cut.iter_mut().zip(other.second_cut) {
            *sum += more;
        }
        self.second_left += other.second_left;
        self.next_updates += other.next_updates;
        self.disks.extend(other.disks);
        self.ends.extend(other.ends);
        self.findings.extend(other.findings);
    }
}

/// What the figures rest on. Printed with them, always.
pub const ASSUMPTIONS: &str = "\
assumes: the disk honours FLUSH; a sector of 512 bytes is old or new; the journal of the state
         partition keeps the order of names; a FAT directory entry with its long name lies in one
         sector; the loader's own rename is one sector write; EFI variables are durable when set, but where
         a history says otherwise; what is signed is what was built (Secure Boot on); no second machine
         writes to the disk";

/// The head of the table.
#[must_use]
pub fn head() -> String {
    format!(
        "{:<34} {:>7} {:>6} {:>9} {:>7} {:>8} {:>8} {:>6} {:>5} {:>5}",
        "history", "effects", "cuts", "outcomes", "disks", "runs", "2nd cut", "ends", "next", "bad"
    )
}

/// What follows the table: the sum, how far it went, what it rests on, and what it found.
#[must_use]
pub fn foot(sum: &Figures) -> String {
    let mut text = line("all", sum);
    let [certain, all, sampled] = sum.regimes;
    let [cut_again, passed_over] = sum.second_cut;
    let violations = sum.findings.len();
    let _ = write!(
        text,
        "\n{} histories, {} effects, {} cuts: {certain} with nothing pending, {all} with every subset \
         of what was pending, {sampled} with samples\n\
         second death: {cut_again} recoveries cut at each of their effects ({passed_over} passed over), \
         {} of the disks that this left recovered ({} passed over)\n\
         {} distinct disk images recovered, {} distinct end states, {violations} violations\n\
         {ASSUMPTIONS}\n",
        sum.histories,
        sum.effects,
        sum.cuts,
        sum.second_runs,
        sum.second_left,
        sum.disks.len(),
        sum.ends.len(),
    );
    for finding in sum.findings.iter().take(20) {
        let Finding {
            history,
            path,
            violation,
        } = finding;
        let _ = writeln!(text, "VIOLATION {history}: {path}: {violation}");
    }
    text
}

/// One line of the table.
#[must_use]
pub fn line(name: &str, row: &Figures) -> String {
    format!(
        "{name:<34} {:>7} {:>6} {:>9} {:>7} {:>8} {:>8} {:>6} {:>5} {:>5}",
        row.effects,
        row.cuts,
        row.outcomes,
        row.disks.len(),
        row.runs,
        row.second_runs,
        row.ends.len(),
        row.next_updates,
        row.findings.len()
    )
}
