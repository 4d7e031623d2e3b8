//! From power to rest, through as many restarts as the node asks for.

use std::collections::BTreeMap;
use std::fmt::Debug;

use twinroot_core::records::{DeniedBy, Records};
use twinroot_core::update::Command;

use crate::boot::Boot;
use crate::watch::{Rule, Violation};
use crate::world::{Machine, World};

/// Restarts by which a node must have come to rest (B of the convergence rule): one into the trial,
/// one back from it, one after a repair, and as many again to be sure that more is a loop.
pub const RESTARTS_MAX: u32 = 8;

/// Whoever runs the node's software: the matrix knows machines and rules, not the loop.
pub trait Driver: Debug + Sync {
    /// A system has come up: recovers, carries out `request`, and goes on until nothing moves by
    /// itself or a restart was asked for.
    ///
    /// # Errors
    /// Where the node could not run at all. A refused request is no error.
    fn run(&self, world: &World, request: Option<&Command>) -> Result<(), String>;

    /// Floor, deny list and the like, as they lie on the state partition; the empty records where
    /// there are none.
    fn records(&self, machine: &Machine) -> Records;

    /// Versions of signed metadata by role, as they lie on the state partition.
    fn metadata(&self, machine: &Machine) -> BTreeMap<String, u64>;
}

/// Boots if necessary, runs, restarts as asked, until the node rests.
///
/// # Errors
/// The rule that was broken: nothing boots, the node does not come to rest, recovery cannot run, the
/// booted slot has changed.
pub fn drive(
    world: &World,
    driver: &dyn Driver,
    request: Option<&Command>,
) -> Result<(), Violation> {
    drive_within(world, driver, request, RESTARTS_MAX)
}

/// The same with a closer bound: what a history needs when nothing is cut.
pub(super) fn drive_within(
    world: &World,
    driver: &dyn Driver,
    request: Option<&Command>,
    starts: u32,
) -> Result<(), Violation> {
    let mut request = request;
    for _ in 0..starts {
        if world.outside(|m| m.running.is_none())
            && let Boot::Bricked { story } = world.boot()
        {
            return Err(Violation {
                rule: Rule::Bricked,
                detail: story.join("; "),
            });
        }
        let before = booted_print(world);
        let result = driver.run(world, request.take());
        result.map_err(|detail| Violation {
            rule: Rule::RecoveryFailed,
            detail,
        })?;
        if booted_print(world) != before {
            let detail = "the slot that runs is not what it was".to_owned();
            return Err(Violation {
                rule: Rule::BootedSlotWritten,
                detail,
            });
        }
        if !world.outside(|m| m.reboot_requested) {
            remember_bad(world, driver);
            return Ok(());
        }
        world.outside(shut_down);
    }
    let detail = format!("still restarting after {starts} starts");
    Err(Violation {
        rule: Rule::NotConverged,
        detail,
    })
}

/// What the node has found bad by itself must not be armed again, whatever it believes later.
fn remember_bad(world: &World, driver: &dyn Driver) {
    let denied = driver.records(&world.snapshot()).denied;
    let by_node = denied.iter().filter(|denial| denial.by == DeniedBy::Node);
    let roots = by_node.map(|denial| denial.root_hash).collect();
    world.outside(|m| m.watch.bad = roots);
}

/// An orderly shutdown writes out what is cached.
pub(super) fn shut_down(machine: &mut Machine) {
    for slot in &mut machine.slots {
        slot.data = slot.data.after_cut(&mut || true);
        slot.tree = slot.tree.after_cut(&mut || true);
    }
    machine.esp = machine.esp.after_cut(&mut || true);
    machine.files = machine.files.after_cut(&mut All);
    machine.running = None;
    machine.reboot_requested = false;
}

struct All;

impl crate::medium::journal::Survival for All {
    fn prefix(&mut self, pending: usize) -> usize {
        pending
    }

    fn keep(&mut self) -> bool {
        true
    }
}

/// The slot that runs, with whatever was written to it and not flushed yet.
fn booted_print(world: &World) -> Option<u64> {
    world.outside(|m| {
        let slot = m.running.as_ref()?.slot;
        let media = &m.slots[slot.index()];
        let dirty = media.data.unflushed() + media.tree.unflushed();
        Some(m.slot_print(slot).wrapping_add(dirty as u64))
    })
}
