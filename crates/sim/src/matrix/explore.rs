//! Cutting a history everywhere, and its recoveries once more.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use twinroot_core::update::{Command, Goal};

use super::drive::{Driver, drive, drive_within};
use super::history::{History, NextGood, Step};
use super::judge::{Baseline, judge};
use super::report::{Figures, Finding};
use crate::cut::{Ended, Moment, until_power_cut};
use crate::survive::{Outcomes, survivors};
use crate::watch::{Rule, Violation};
use crate::world::{Machine, World};

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Outcomes of one cut.
    pub outcomes: Outcomes,
    /// Of the recoveries after a first cut, one in so many is cut again at each of its effects.
    /// 1: all of them; 0: none.
    pub second_every: usize,
    /// Outcomes of one second cut.
    pub second_outcomes: Outcomes,
    /// Recoveries after a second cut that are run, spread over all that were found.
    pub second_runs: usize,
    /// Threads.
    pub threads: usize,
    /// Seed of all samples.
    pub seed: u64,
    /// Stop at the first broken rule (planted faults need no more).
    pub first_only: bool,
}

impl Budget {
    /// What every push pays: a few minutes on two cores.
    pub const BOUNDED: Self = Self {
        outcomes: Outcomes {
            exhaustive: 128,
            samples: 16,
        },
        second_every: 8,
        second_outcomes: Outcomes {
            exhaustive: 16,
            samples: 8,
        },
        second_runs: 250,
        threads: 2,
        seed: 0x7477_696e,
        first_only: false,
    };
    /// Every recovery cut again.
    pub const FULL: Self = Self {
        outcomes: Outcomes {
            exhaustive: 1024,
            samples: 128,
        },
        second_every: 1,
        second_outcomes: Outcomes {
            exhaustive: 128,
            samples: 16,
        },
        second_runs: usize::MAX,
        ..Self::BOUNDED
    };
    /// For a planted fault.
    pub const HUNT: Self = Self {
        second_every: 0,
        threads: 1,
        first_only: true,
        ..Self::BOUNDED
    };
}

/// A disk that a cut may leave, and how it came about.
struct Found {
    machine: Machine,
    path: String,
    baseline: usize,
}

struct Explorer<'a> {
    history: &'a History,
    driver: &'a dyn Driver,
    budget: Budget,
    baselines: Vec<Baseline>,
    seen: Mutex<HashSet<(u64, usize)>>,
    rested: Mutex<HashSet<u64>>,
    figures: Mutex<Figures>,
}

/// Runs a history, then cuts it everywhere.
#[must_use]
pub fn explore(history: &History, driver: &dyn Driver, budget: Budget) -> Figures {
    let mut explorer = Explorer::new(history, driver, budget);
    let moments = explorer.uncut();
    let first = explorer.outcomes_of(&moments, budget.outcomes, "");
    let second = explorer.recover_all(first, true);
    let found = second.len();
    let second = spread(second, budget.second_runs);
    explorer.figures().second_left = (found - second.len()) as u64;
    explorer.recover_all(second, false);
    explorer.finish()
}

/// Runs a history without any cut, and judges it all the same.
#[must_use]
pub fn run_uncut(history: &History, driver: &dyn Driver) -> Figures {
    let mut explorer = Explorer::new(history, driver, Budget::HUNT);
    let _ = explorer.uncut();
    explorer.finish()
}

impl<'a> Explorer<'a> {
    fn new(history: &'a History, driver: &'a dyn Driver, budget: Budget) -> Self {
        let figures = Figures {
            histories: 1,
            ..Figures::default()
        };
        Self {
            history,
            driver,
            budget,
            baselines: Vec::new(),
            seen: Mutex::default(),
            rested: Mutex::default(),
            figures: Mutex::new(figures),
        }
    }

    fn finish(self) -> Figures {
        self.figures
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The history as it goes when nothing is cut, with every moment of it.
    fn uncut(&mut self) -> Vec<(Moment, String, usize)> {
        let world = World::new(self.history.start.clone());
        let mut moments = Vec::new();
        for (number, step) in self.history.steps.iter().enumerate() {
            let Step::Run(request) = step else {
                world.outside(|m| step.change(m));
                continue;
            };
            self.baselines
                .push(Baseline::of(&world.snapshot(), self.driver));
            let baseline = self.baselines.len() - 1;
            world.record();
            let ended = until_power_cut(|| {
                drive_within(&world, self.driver, request.as_ref(), self.history.starts)
            });
            let recorded = world.recorded();
            self.figures().effects += recorded.len() as u64;
            let path = |n: usize, after: &str| format!("step {number}, effect {n} ({after})");
            moments.extend(recorded.into_iter().enumerate().map(|(n, moment)| {
                let path = path(n + 1, moment.after);
                (moment, path, baseline)
            }));
            if let Err(violation) = settled(ended) {
                self.found(format!("step {number}, uncut"), violation);
                return moments;
            }
        }
        let end = world.snapshot();
        for violation in end.watch.violations.clone() {
            self.found("uncut".to_owned(), violation);
        }
        let at_end = end.running.as_ref().map(|running| running.root);
        if at_end != Some(self.history.end) {
            let detail = format!("uncut, it ends on {:?}", end.running.map(|r| r.version));
            self.found(
                "uncut".to_owned(),
                Violation {
                    rule: Rule::NotConverged,
                    detail,
                },
            );
        }
        moments
    }

    /// Every distinct disk that cuts at these moments may leave.
    fn outcomes_of(
        &self,
        moments: &[(Moment, String, usize)],
        most: Outcomes,
        before: &str,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for (number, (moment, path, baseline)) in moments.iter().enumerate() {
            if let Some(violation) = moment.machine.watch.violations.first() {
                self.found(format!("{before}{path}"), violation.clone());
                break;
            }
            let seed = self.budget.seed.wrapping_add(number as u64);
            let after = survivors(&moment.machine, most, seed);
            {
                let mut figures = self.figures();
                // After this effect, and before the next.
                figures.cuts += 2;
                figures.regimes[after.regime as usize] += 1;
                figures.outcomes += after.machines.len() as u64;
            }
            for (choice, machine) in after.machines.into_iter().enumerate() {
                let key = (machine.fingerprint(), *baseline);
                if self
                    .seen
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .insert(key)
                {
                    let path = format!("{before}cut after {path}, outcome {choice}");
                    found.push(Found {
                        machine,
                        path,
                        baseline: *baseline,
                    });
                }
            }
        }
        found
    }

    /// Boots, recovers and judges each disk; gives what a second cut may leave.
    fn recover_all(&self, found: Vec<Found>, cut_again: bool) -> Vec<Found> {
        let next = AtomicUsize::new(0);
        let again = Mutex::new(Vec::new());
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(one) = found.get(number) else { return };
                if self.budget.first_only && !self.figures().findings.is_empty() {
                    return;
                }
                let every = self.budget.second_every;
                let again_here = cut_again && every > 0 && number.is_multiple_of(every);
                let moments = self.recover(one, again_here);
                if cut_again {
                    self.figures().second_cut[usize::from(!again_here)] += 1;
                } else {
                    self.figures().second_runs += 1;
                }
                let before = format!("{}; then ", one.path);
                let more = self.outcomes_of(&moments, self.budget.second_outcomes, &before);
                again
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .extend(more);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.budget.threads {
                scope.spawn(work);
            }
            work();
        });
        again
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn recover(&self, found: &Found, record: bool) -> Vec<(Moment, String, usize)> {
        let world = World::new(found.machine.clone());
        if record {
            world.record();
        }
        let ended = until_power_cut(|| drive(&world, self.driver, None));
        let recorded = world.recorded();
        let rest = world.snapshot();
        {
            let mut figures = self.figures();
            figures.runs += 1;
            figures.disks.insert(found.machine.disk_image());
            figures.ends.insert(rest.disk_image());
        }
        let mut broken = match settled(ended) {
            Ok(()) => judge(&rest, self.driver, &self.baselines[found.baseline]),
            Err(violation) => vec![violation],
        };
        let resting = rest.fingerprint();
        let new = self
            .rested
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(resting);
        if broken.is_empty() && new {
            self.figures().next_updates += 1;
            broken.extend(takes_next(&rest, &self.history.next, self.driver).err());
        }
        for violation in broken {
            self.found(found.path.clone(), violation);
        }
        let path = |n: usize, after: &str| format!("effect {n} of recovery ({after})");
        let moments = recorded.into_iter().enumerate();
        moments
            .map(|(n, m)| (m.clone(), path(n + 1, m.after), found.baseline))
            .collect()
    }

    fn found(&self, path: String, violation: Violation) {
        let history = self.history.name;
        self.figures().findings.push(Finding {
            history,
            path,
            violation,
        });
    }

    fn figures(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.figures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// At most so many, evenly spread over all.
fn spread(all: Vec<Found>, most: usize) -> Vec<Found> {
    let every = all.len().div_ceil(most.max(1)).max(1);
    all.into_iter().step_by(every).collect()
}

/// Whether a node at rest can be brought to the next good release.
fn takes_next(rest: &Machine, next: &NextGood, driver: &dyn Driver) -> Result<(), Violation> {
    let world = World::new(rest.clone());
    world.outside(|m| m.source.show(next.repository.clone()));
    let request = Command::Update {
        goal: Goal::Reboot,
        version: None,
        force: false,
    };
    settled(until_power_cut(|| drive(&world, driver, Some(&request))))?;
    let end = world.snapshot();
    if let Some(violation) = end.watch.violations.first() {
        return Err(violation.clone());
    }
    let running = end.running.as_ref().map(|running| running.root);
    let blessed = end
        .loader_state()
        .entries
        .iter()
        .all(|entry| entry.name.tries().is_none());
    if running == Some(next.root) && blessed {
        return Ok(());
    }
    let detail = format!("rests on {:?}", end.running.map(|running| running.version));
    Err(Violation {
        rule: Rule::NextUpdateFails,
        detail,
    })
}

fn settled(ended: Ended<Result<(), Violation>>) -> Result<(), Violation> {
    match ended {
        Ended::Normally(result) => result,
        Ended::PowerCut => {
            let detail = "the power went where no cut was planned".to_owned();
            Err(Violation {
                rule: Rule::Panicked,
                detail,
            })
        }
        Ended::Panicked(detail) => Err(Violation {
            rule: Rule::Panicked,
            detail,
        }),
    }
}

/// Distinct names, for tests of the matrix itself.
#[must_use]
pub fn rules_broken(figures: &Figures) -> BTreeSet<Rule> {
    figures
        .findings
        .iter()
        .map(|finding| finding.violation.rule)
        .collect()
}
