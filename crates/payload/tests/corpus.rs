//! Every input that the fuzz targets have kept holds what the targets ask, in each test run: the corpus in
//! `fuzz/corpus`, by the oracles of `fuzz/oracles`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers of tests panic as the tests do

#[path = "../../../fuzz/oracles/mod.rs"]
mod oracles;

use std::path::Path;

fn replay(target: &str, oracle: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        oracle(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 5, "{inputs} inputs in {}", folder.display());
}

#[test]
fn the_corpus_of_full_index_holds() {
    replay("full_index", oracles::full_index);
}

#[test]
fn the_corpus_of_delta_index_holds() {
    replay("delta_index", oracles::delta_index);
}

#[test]
fn the_corpus_of_segment_holds() {
    replay("segment", oracles::segment);
}

#[test]
fn the_corpus_of_difference_holds() {
    replay("difference", oracles::difference);
}

#[test]
fn the_corpus_of_erofs_holds() {
    replay("erofs", oracles::erofs);
}
