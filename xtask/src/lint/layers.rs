//! Dependencies between rooms run downwards only, and each room may know only the rooms listed here.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// One room: its package, how high it stands, and which rooms its normal code may use.
#[derive(Debug)]
pub struct Rule {
    /// Package name.
    pub package: &'static str,
    /// Height in the picture of CONTRIBUTING.md; an arrow from a lower to a higher room is an error.
    pub rank: u8,
    /// Rooms that normal (non-test) code may name. Anything else needs a decision, and a line here.
    pub may_use: &'static [&'static str],
}

const PURE: &[&str] = &["twinroot-trust", "twinroot-payload", "twinroot-core"];
const SEAM: &[&str] = &[
    "twinroot-trust",
    "twinroot-payload",
    "twinroot-core",
    "twinroot-ports",
];

/// The whole picture. A package of the workspace that is missing here is a violation.
pub const RULES: &[Rule] = &[
    Rule {
        package: "twinroot-trust",
        rank: 0,
        may_use: &[],
    },
    Rule {
        package: "twinroot-payload",
        rank: 0,
        may_use: &[],
    },
    Rule {
        package: "twinroot-core",
        rank: 1,
        may_use: &["twinroot-trust", "twinroot-payload"],
    },
    Rule {
        package: "twinroot-ports",
        rank: 2,
        may_use: PURE,
    },
    Rule {
        package: "twinroot-sim",
        rank: 3,
        may_use: SEAM,
    },
    Rule {
        package: "twinroot-host",
        rank: 3,
        may_use: SEAM,
    },
    // The initramfs program decides with `core` and reads a hash tree's superblock with `payload`; it
    // never sees the machinery of the running node.
    Rule {
        package: "twinroot-init",
        rank: 3,
        may_use: PURE,
    },
    // The loop knows the seam, not who implements it: real machine, files and simulator are the same to it.
    Rule {
        package: "twinroot-agent",
        rank: 4,
        may_use: SEAM,
    },
    // The node's binary picks the real adapters. The simulator never ships on a node.
    Rule {
        package: "twinroot",
        rank: 5,
        may_use: &[
            "twinroot-trust",
            "twinroot-payload",
            "twinroot-core",
            "twinroot-ports",
            "twinroot-host",
            "twinroot-agent",
        ],
    },
    // The signing side shares only pure code with the node: it must never need the node's machinery.
    Rule {
        package: "twinroot-publish",
        rank: 5,
        may_use: PURE,
    },
    // The build side: the same provisioning code as the node, and nothing of its loop.
    Rule {
        package: "twinroot-image",
        rank: 5,
        may_use: &[
            "twinroot-trust",
            "twinroot-payload",
            "twinroot-core",
            "twinroot-ports",
            "twinroot-host",
        ],
    },
    Rule {
        package: "xtask",
        rank: 6,
        may_use: &[
            "twinroot-trust",
            "twinroot-payload",
            "twinroot-core",
            "twinroot-ports",
            "twinroot-sim",
            "twinroot-host",
            "twinroot-agent",
            "twinroot-publish",
        ],
    },
    Rule {
        package: "twinroot-tests",
        rank: 7,
        may_use: &[
            "twinroot-trust",
            "twinroot-payload",
            "twinroot-core",
            "twinroot-ports",
            "twinroot-sim",
            "twinroot-host",
            "twinroot-agent",
            "twinroot-publish",
            "xtask",
        ],
    },
    // Goes into the test variant of the image: small, and knows nobody.
    Rule {
        package: "twinroot-vm-guest",
        rank: 0,
        may_use: &[],
    },
    // Drives programs from outside; of the rooms it links only the web server that counts and the
    // readers of what lies on an ESP.
    Rule {
        package: "twinroot-vm-tests",
        rank: 7,
        may_use: &["twinroot-core", "twinroot-publish", "twinroot-vm-guest"],
    },
];

/// Upward arrows that only tests draw: (who, whom, why). Never for code that ships.
const TESTS_ONLY: &[(&str, &str, &str)] = &[(
    "twinroot-agent",
    "twinroot-publish",
    "the loop is tested against signed repositories, and the publisher's fake is their only maker",
)];

/// One dependency between two packages of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Who depends.
    pub from: String,
    /// On whom.
    pub to: String,
    /// Only for tests, examples and benches.
    pub dev: bool,
}

/// The packages of the workspace and the dependencies among them.
#[derive(Debug, Default)]
pub struct Graph {
    /// Package names.
    pub rooms: Vec<String>,
    /// Dependencies among them.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// Asks `cargo metadata` about the workspace at `root`.
    pub fn of_workspace(root: &Path) -> Result<Self> {
        let mut command = run::cargo(["metadata", "--format-version", "1", "--no-deps"]);
        Self::of_metadata(&metadata(command.current_dir(root))?)
    }

    fn of_metadata(metadata: &Value) -> Result<Self> {
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata lists no packages")?;
        let name_of = |value: &Value| value["name"].as_str().map(str::to_owned);
        let rooms: Vec<String> = packages.iter().filter_map(name_of).collect();
        let mut edges = Vec::new();
        for (package, from) in packages.iter().zip(&rooms) {
            for dependency in package["dependencies"].as_array().into_iter().flatten() {
                let to = name_of(dependency).context("a dependency without a name")?;
                if rooms.contains(&to) {
                    edges.push(Edge {
                        from: from.clone(),
                        to,
                        dev: dependency["kind"] == "dev",
                    });
                }
            }
        }
        Ok(Self { rooms, edges })
    }
}

fn metadata(command: &mut Command) -> Result<Value> {
    serde_json::from_str(&run::capture(command)?).context("cargo metadata printed no JSON")
}

/// Every dependency that the picture does not allow, as one line each.
pub fn violations(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for room in &graph.rooms {
        if rule_of(room).is_none() {
            found.push(format!(
                "layers: {room} has no rule in xtask/src/lint/layers.rs: say where it stands"
            ));
        }
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (rule_of(&edge.from), rule_of(&edge.to)) {
            found.extend(judge(from, to, edge.dev));
        }
    }
    found
}

fn rule_of(package: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.package == package)
}

fn judge(from: &Rule, to: &Rule, dev: bool) -> Option<String> {
    let (Rule { package: upper, .. }, Rule { package: lower, .. }) = (from, to);
    // Tests of a room may use what stands below it (the simulator, say), but nothing above: a promise
    // that needs more than one room's height belongs in tests/.
    let excepted = dev
        && TESTS_ONLY
            .iter()
            .any(|(who, whom, _)| who == upper && whom == lower);
    if from.rank <= to.rank && upper != lower && !excepted {
        return Some(format!(
            "layers: {upper} depends on {lower}, which does not stand below it"
        ));
    }
    if !dev && !from.may_use.contains(lower) {
        return Some(format!(
            "layers: {upper} uses {lower}, which is not in its list of allowed rooms"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str, bool)]) -> Graph {
        let rooms = RULES.iter().map(|rule| rule.package.to_owned()).collect();
        let edge = |&(from, to, dev): &(&str, &str, bool)| Edge {
            from: from.into(),
            to: to.into(),
            dev,
        };
        Graph {
            rooms,
            edges: edges.iter().map(edge).collect(),
        }
    }

    #[test]
    fn an_arrow_upwards_is_a_violation_even_for_tests() {
        for dev in [false, true] {
            let found = violations(&graph(&[("twinroot-trust", "twinroot-host", dev)]));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("twinroot-trust depends on twinroot-host"));
        }
    }

    #[test]
    fn a_downward_arrow_outside_the_list_is_a_violation_unless_for_tests() {
        assert_eq!(
            violations(&graph(&[("twinroot", "twinroot-sim", false)])).len(),
            1
        );
        assert_eq!(
            violations(&graph(&[("twinroot", "twinroot-sim", true)])),
            Vec::<String>::new()
        );
        assert_eq!(
            violations(&graph(&[("twinroot-agent", "twinroot-ports", false)])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_exception_for_tests_does_not_hold_for_code_that_ships() {
        for (who, whom, why) in TESTS_ONLY {
            assert!(why.len() > 20, "{who} may use {whom} in tests, but why?");
            assert_eq!(
                violations(&graph(&[(who, whom, true)])),
                Vec::<String>::new()
            );
            assert_eq!(violations(&graph(&[(who, whom, false)])).len(), 1);
        }
    }

    #[test]
    fn a_room_without_a_rule_is_a_violation() {
        let graph = Graph {
            rooms: vec!["twinroot-new".into()],
            edges: vec![],
        };
        assert_eq!(violations(&graph).len(), 1);
    }

    #[test]
    fn every_allowed_room_stands_below() {
        for rule in RULES {
            for lower in rule.may_use {
                let lower = rule_of(lower).expect("allowed rooms exist");
                assert!(
                    lower.rank < rule.rank,
                    "{} may use {}",
                    rule.package,
                    lower.package
                );
            }
        }
    }

    #[test]
    fn kinds_of_dependencies_are_told_apart() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "twinroot-core", "dependencies": [
                { "name": "twinroot-trust", "kind": null }, { "name": "twinroot-sim", "kind": "dev" },
                { "name": "serde", "kind": null } ] },
            { "name": "twinroot-trust", "dependencies": [] },
            { "name": "twinroot-sim", "dependencies": [] } ] });
        let graph = Graph::of_metadata(&metadata).unwrap();
        let edge = |to: &str, dev| Edge {
            from: "twinroot-core".into(),
            to: to.into(),
            dev,
        };
        assert_eq!(
            graph.edges,
            vec![edge("twinroot-trust", false), edge("twinroot-sim", true)]
        );
    }
}
