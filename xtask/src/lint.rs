//! `./x lint`: the house rules that no compiler checks. `tests/` runs the same functions, so that plain
//! `cargo test` sees them too.

pub mod budget;
pub mod layers;
pub mod purity;

use anyhow::{Result, bail};

use crate::run;

/// Runs every house rule over the workspace; fails with the list of all violations.
pub fn run() -> Result<()> {
    let mut found = Vec::new();
    let graph = layers::Graph::of_workspace(run::root())?;
    println!(
        "layers: {} packages, {} edges",
        graph.rooms.len(),
        graph.edges.len()
    );
    found.extend(layers::violations(&graph));
    for room in purity::PURE_ROOMS {
        let tree = purity::dependency_tree(run::root(), room)?;
        println!(
            "purity: {room}: {} packages in its normal dependencies",
            tree.len()
        );
        found.extend(purity::violations(run::root(), room, &tree)?);
    }
    found.extend(purity::node_violations(run::root())?);
    let sizes = budget::measure(run::root())?;
    println!("budget: {}", sizes.summary());
    found.extend(budget::violations(&sizes));
    if found.is_empty() {
        println!("house rules hold");
        return Ok(());
    }
    for violation in &found {
        eprintln!("  {violation}");
    }
    bail!(
        "{} violation(s) of the house rules (CONTRIBUTING.md says why each exists)",
        found.len()
    );
}
