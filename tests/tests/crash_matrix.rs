//! The crash matrix, as far as every push pays for it. `cargo run -p twinroot-tests --bin
//! crash-matrix -- --full` cuts every recovery again.

use twinroot_sim::matrix::{Budget, Figures, explore, foot, head, line};
use twinroot_tests::crash::histories::Book;
use twinroot_tests::crash::node::Node;

#[test]
fn a_node_survives_a_cut_at_every_effect_of_every_history() {
    let book = Book::new();
    let node = Node::new(book.anchor());
    let histories = book
        .all(&node)
        .unwrap_or_else(|violation| panic!("without a cut: {violation}"));
    println!("{}", head());
    let mut sum = Figures::default();
    for history in &histories {
        let figures = explore(history, &node, Budget::BOUNDED);
        println!("{}", line(history.name, &figures));
        assert!(figures.runs > 0, "a history without a cut says nothing");
        sum.add(figures);
    }
    println!("{}", foot(&sum));
    assert_eq!(sum.findings.len(), 0);
}
