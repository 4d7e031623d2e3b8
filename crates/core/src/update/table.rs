//! The phases as a table for people, printed from the code so that it cannot age.

use alloc::string::String;
use core::fmt::Write;

use super::state::PhaseName;

/// One row: what a phase means, what is written down of it, and what follows a start in it.
struct Row {
    phase: PhaseName,
    means: &'static str,
    saved_as: &'static str,
    after_a_start: &'static str,
}

const fn row(phase: PhaseName) -> Row {
    let (means, saved_as, after_a_start) = match phase {
        PhaseName::Idle => ("nothing is under way", "idle", "idle, health is looked at"),
        PhaseName::Checking => (
            "signed metadata is being read",
            "what it was for",
            "as that",
        ),
        PhaseName::Available => (
            "a release may be had",
            "idle",
            "idle; the next check finds it",
        ),
        PhaseName::Staging => (
            "the inactive slot is written",
            "staging",
            "verify again, write on",
        ),
        PhaseName::Staged => ("the slot is proven", "staged", "verify again, prove again"),
        PhaseName::Activated => (
            "the loader is told to try it",
            "activated",
            "verify, prove and arm again; or denying",
        ),
        PhaseName::Rebooting => (
            "the restart was asked for",
            "rebooting",
            "trial, or denying",
        ),
        PhaseName::Trial => ("a slot not yet blessed runs", "trial", "trial, or denying"),
        PhaseName::Blessing => ("health has held", "blessing", "trial again, or committing"),
        PhaseName::Committing => ("it is blessed", "committing", "committing again"),
        PhaseName::RollingBack => ("the node goes back", "rolling-back", "go on, or arrived"),
        PhaseName::Denying => ("a release is remembered as bad", "denying", "denying again"),
        PhaseName::Repairing => (
            "a slot that went bad is written again",
            "repairing",
            "verify again, write on",
        ),
        PhaseName::Blocked => ("trying again would repeat the failure", "blocked", "idle"),
    };
    Row {
        phase,
        means,
        saved_as,
        after_a_start,
    }
}

/// The table in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "| phase | means | written down as | after a start in it |\n|---|---|---|---|\n",
    );
    for phase in PhaseName::ALL {
        let r = row(phase);
        let name = r.phase.as_str();
        let line = (r.means, r.saved_as, r.after_a_start);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {name} | {} | {} | {} |", line.0, line.1, line.2);
    }
    text
}
