//! Proves a slot: what was written is read back past the cache and hashed; only if that gives the
//! signed root hash is the hash tree made whole. Blocks that turn out wrong (a base that rotted
//! under the copying) are found through the tree and fetched.

use twinroot_core::slot::InactiveSlot;
use twinroot_core::update::{Candidate, Event};
use twinroot_payload::finish::{self, Proof};
use twinroot_payload::index::Index;
use twinroot_payload::plan::Plan;
use twinroot_ports::Outcome;
use twinroot_trust::digest::Digest;

use super::Failed;
use super::stage::{Run, Target, coded, fault};
use crate::agent::Agent;
use crate::observer::Progress;

/// Rounds of fetching what the proof found wrong: first the blocks that the index can name, then
/// everything. A third failure is not a matter of single blocks.
const REPAIRS: u32 = 2;

/// Proves and seals.
pub(super) fn prove(
    agent: &mut Agent<'_>,
    slot: &InactiveSlot,
    candidate: &Candidate,
) -> Result<Option<Event>, Failed> {
    let before = agent.counters.totals();
    let outcome = rounds(agent, slot, candidate);
    let progress = agent.counters.totals().written - before.written;
    match outcome {
        Ok(computed) => Ok(Some(Event::Proven { computed })),
        Err(failure) => Err(Failed { failure, progress }),
    }
}

fn rounds(agent: &Agent<'_>, slot: &InactiveSlot, candidate: &Candidate) -> Outcome<Digest> {
    let target = Target::open(agent.ports, slot, candidate)?;
    for round in 0..=REPAIRS {
        let (computed, right) = once(agent, &target)?;
        if right || round == REPAIRS {
            return Ok(computed);
        }
        repair(agent, &target, round)?;
    }
    unreachable!("the last round returns")
}

/// Reads the slot back; true where it was right and is sealed now.
fn once(agent: &Agent<'_>, target: &Target<'_>) -> Outcome<(Digest, bool)> {
    target
        .data
        .drop_caches()
        .map_err(|f| fault("slot data", &f))?;
    let goal = target.goal();
    let total = target.shape.data_blocks();
    let mut watch = |blocks: u64| {
        let block = twinroot_payload::verity::BLOCK as u64;
        let (done, total) = (blocks * block, total * block);
        agent.observer.progress(&Progress {
            doing: "proving",
            done,
            total,
            fetched: 0,
        });
        Ok(())
    };
    let subject = "the slot's read-back";
    let proof = finish::prove(&goal, &*target.data, &*target.tree, &mut watch)
        .map_err(|e| coded(subject, &e))?;
    match proof {
        Proof::Wrong(refuted) => Ok((Digest::from_bytes(*refuted.found()), false)),
        Proof::Right(proven) => {
            target.tree.flush().map_err(|f| fault("slot tree", &f))?;
            target
                .tree
                .drop_caches()
                .map_err(|f| fault("slot tree", &f))?;
            let checked = proven
                .check_tree(&*target.tree)
                .map_err(|e| coded(subject, &e))?;
            checked
                .seal(&*target.tree)
                .map_err(|e| coded(subject, &e))?;
            Ok((target.candidate.root_hash(), true))
        }
    }
}

/// Fetches what is wrong: the blocks that the index tells apart, or all.
fn repair(agent: &Agent<'_>, target: &Target<'_>, round: u32) -> Outcome<()> {
    // The slot stops claiming anything before a block of it changes.
    finish::begin(&target.shape, &*target.tree).map_err(|e| coded("hash tree", &e))?;
    let source = target.source();
    let bytes = target.index_bytes(&source)?;
    agent.counters.fetched(bytes.len() as u64);
    let index = Index::open(&bytes, &target.expect()).map_err(|e| coded(source.path, &e))?;
    let leaves = twinroot_payload::verity::TreeLeaves::new(&*target.tree, target.shape);
    let named = if round == 0 {
        Plan::repair(&index, &leaves, target.salt()).map_err(|e| coded(source.path, &e))?
    } else {
        None
    };
    let plan = match named {
        Some(plan) => plan,
        None => Plan::everything(&index).map_err(|e| coded(source.path, &e))?,
    };
    let run = Run {
        plan: &plan,
        table: None,
        compare: false,
        source: &source,
    };
    run.all(agent, target, &index)?;
    target.data.flush().map_err(|f| fault("slot data", &f))
}
