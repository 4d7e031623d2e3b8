//! What the crash matrix sees: every planted fault must be found by it, and none where there is none.
#![allow(clippy::unwrap_used)]

#[path = "planted/between.rs"]
mod between;
#[path = "planted/list.rs"]
mod list;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use between::{Act, wire};
use list::{FAULTS, Fault, REPEATED, Where};
use twinroot_ports::Store;
use twinroot_sim::matrix::{Budget, Finding, History, explore, run_uncut};
use twinroot_sim::plant::Plant;
use twinroot_sim::survive::{Outcomes, survivors};
use twinroot_sim::watch::{Rule, Violation};
use twinroot_sim::world::{Machine, World};
use twinroot_tests::crash::histories::Book;
use twinroot_tests::crash::node::Node;

/// The first broken rule that the matrix finds in a history with a fault in it.
fn hunt(book: &Book, history: &History, fault: &Fault, budget: Budget) -> Option<Finding> {
    let mut history = history.clone();
    if let Some(change) = fault.around {
        change(&mut history.start, book);
    }
    let node = match fault.at {
        Where::Loop(act) => Node::new(book.anchor()).with_wire(wire(act)),
        Where::Store(plant) => return lost_record(&history.start, Some(plant)),
        Where::Adapter(plant) => {
            history.start.plant = Some(plant);
            Node::new(book.anchor())
        }
    };
    let findings = explore(&history, &node, budget).findings;
    // What is wrong around a fault may well keep the node from the release: only a broken rule of
    // safety is a kill then.
    findings
        .into_iter()
        .find(|finding| fault.around.is_none() || !ends_elsewhere(finding))
}

/// 'After `write` returned, the new content survives a power cut' (the store's contract).
fn lost_record(machine: &Machine, plant: Option<Plant>) -> Option<Finding> {
    let world = World::new(machine.clone());
    world.outside(|m| m.plant = plant);
    world
        .write("promise", b"kept")
        .expect("a small record fits");
    let all = Outcomes {
        exhaustive: 1024,
        samples: 0,
    };
    let kept = |m: &Machine| m.files.read("promise").as_deref() == Some(b"kept");
    let lost = survivors(&world.snapshot(), all, 0)
        .machines
        .iter()
        .any(|m| !kept(m));
    let violation = Violation {
        rule: Rule::RecordLost,
        detail: "it was written".to_owned(),
    };
    let path = "cut after the write has returned".to_owned();
    lost.then_some(Finding {
        history: "a record is written",
        path,
        violation,
    })
}

#[test]
fn a_record_that_was_written_survives_every_cut() {
    let book = Book::new();
    let all = book.all(&Node::new(book.anchor())).unwrap();
    assert!(
        all.iter()
            .all(|history| lost_record(&history.start, None).is_none())
    );
}

/// The uncut history came to rest, only not on the release that it was meant to reach.
fn ends_elsewhere(finding: &Finding) -> bool {
    finding.path == "uncut" && finding.violation.rule == Rule::NotConverged
}

fn histories_of<'a>(all: &'a [History], fault: &'a Fault) -> impl Iterator<Item = &'a History> {
    let wanted = |name: &str| {
        fault
            .histories
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    all.iter().filter(move |history| wanted(history.name))
}

/// The same work on two threads; results in the order of the items.
fn on_two_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let take = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let at = next.load(Ordering::Relaxed);
            let number = items
                .iter()
                .position(|other| std::ptr::eq(other, item))
                .unwrap_or(at);
            let result = work(item);
            done.lock().unwrap().push((number, result));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(take);
        take();
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn every_planted_fault_and_every_replica_of_an_old_bug_is_found() {
    let book = Book::new();
    let all = book.all(&Node::new(book.anchor())).unwrap();
    let killed = on_two_threads(FAULTS, |fault| {
        histories_of(&all, fault).find_map(|history| hunt(&book, history, fault, Budget::HUNT))
    });
    let mut survivors = Vec::new();
    for (fault, finding) in FAULTS.iter().zip(&killed) {
        let replica = fault
            .replica
            .map(|bug| format!(" [{bug}]"))
            .unwrap_or_default();
        match finding {
            Some(Finding {
                history,
                path,
                violation,
            }) => {
                println!(
                    "killed   {}{replica}: {history}, {path}: {violation}",
                    fault.name
                );
            }
            None => {
                println!("SURVIVED {}{replica}", fault.name);
                survivors.push(fault.name);
            }
        }
    }
    let replicas = FAULTS
        .iter()
        .filter(|fault| fault.replica.is_some())
        .count();
    let found = killed.iter().flatten().count();
    println!(
        "killed/planted: {found}/{}, replicas of historical bugs among them: {replicas}",
        FAULTS.len()
    );
    assert!(survivors.is_empty(), "not seen: {survivors:?}");
    assert!(replicas >= 15);
}

/// Without the fault, what stands around it must be survived: else a kill would say nothing.
#[test]
fn what_stands_around_the_faults_is_survived_without_them() {
    let book = Book::new();
    let node = Node::new(book.anchor());
    let all = book.all(&node).unwrap();
    for fault in FAULTS.iter().filter(|fault| fault.around.is_some()) {
        for history in histories_of(&all, fault) {
            let mut history = history.clone();
            if let Some(change) = fault.around {
                change(&mut history.start, &book);
            }
            let findings = run_uncut(&history, &node).findings;
            // It may well keep the node from the release; no rule of safety may break.
            let safe = |finding: &Finding| ends_elsewhere(finding);
            assert!(findings.iter().all(safe), "{}: {findings:?}", fault.name);
        }
    }
}

/// DESIGN section 5: 'each can be repeated'.
#[test]
fn every_call_can_be_made_twice() {
    let book = Book::new();
    let all = book.all(&Node::new(book.anchor())).unwrap();
    for call in REPEATED {
        let node = Node::new(book.anchor()).with_wire(wire(Act::Twice(*call)));
        for history in &all {
            let findings = run_uncut(history, &node).findings;
            assert!(
                findings.is_empty(),
                "{call:?} twice in {}: {findings:?}",
                history.name
            );
        }
    }
}
