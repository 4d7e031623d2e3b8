//! The house rules of CONTRIBUTING.md, for those who run plain `cargo test`. That each check finds a
//! planted violation is tested beside the checks themselves, in `xtask/src/lint`.

use xtask::lint::{budget, layers, purity};
use xtask::run::root;

#[test]
fn dependencies_between_rooms_run_downwards_only() {
    let graph = layers::Graph::of_workspace(root()).unwrap();
    assert!(
        graph.edges.len() > 20,
        "too few dependencies to be this workspace: {graph:?}"
    );
    assert_eq!(layers::violations(&graph), Vec::<String>::new());
}

#[test]
fn a_forbidden_arrow_planted_in_the_real_picture_is_found() {
    let mut graph = layers::Graph::of_workspace(root()).unwrap();
    let before = layers::violations(&graph).len();
    graph.edges.push(layers::Edge {
        from: "twinroot-core".into(),
        to: "twinroot-host".into(),
        dev: false,
    });
    assert_eq!(layers::violations(&graph).len(), before + 1);
}

#[test]
fn pure_rooms_reach_no_clock_network_file_system_or_runtime() {
    for room in purity::PURE_ROOMS {
        let tree = purity::dependency_tree(root(), room).unwrap();
        assert!(
            tree.iter().any(|linked| linked.name == "sha2"),
            "{room}: not its real dependencies"
        );
        assert_eq!(
            purity::violations(root(), room, &tree).unwrap(),
            Vec::<String>::new()
        );
    }
}

#[test]
fn the_node_binary_carries_neither_encoder_nor_simulator_nor_publisher() {
    assert_eq!(
        purity::node_violations(root()).unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn files_and_functions_keep_to_the_size_budget() {
    let sizes = budget::measure(root()).unwrap();
    println!("{}", sizes.summary());
    assert!(
        sizes.functions.len() > 100,
        "too few functions to be this workspace"
    );
    assert_eq!(budget::violations(&sizes), Vec::<String>::new());
}
