//! The crash matrix, as far as every push pays for it. `cargo run -p twinroot-tests --bin
//! crash-matrix -- --full` cuts every recovery again.

use twinroot_sim::matrix::{Budget, explore, print};
use twinroot_tests::crash::histories::Book;
use twinroot_tests::crash::node::Node;

#[test]
fn a_node_survives_a_cut_at_every_effect_of_every_history() {
    let book = Book::new();
    let node = Node::new(book.anchor());
    let histories = book
        .all(&node)
        .unwrap_or_else(|violation| panic!("without a cut: {violation}"));
    let rows: Vec<_> = histories
        .iter()
        .map(|h| (h.name, explore(h, &node, Budget::BOUNDED)))
        .collect();
    println!("{}", print(&rows));
    let findings: usize = rows.iter().map(|(_, figures)| figures.findings.len()).sum();
    assert_eq!(findings, 0);
    assert!(
        rows.iter().all(|(_, figures)| figures.runs > 0),
        "a history without a cut says nothing"
    );
}
