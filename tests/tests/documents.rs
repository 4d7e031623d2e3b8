//! The documents say what is so.

use std::path::{Path, PathBuf};

use xtask::run::root;

#[test]
fn printed_pages_are_what_the_code_prints() {
    for (path, content) in twinroot_tests::pages::all() {
        let written = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(
            written == content,
            "{path} is not what the code prints; `cargo run -p twinroot-tests --bin lab -- pages` writes it"
        );
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() >= 8, "too few pages: {pages:?}");
    let mut links = 0;
    let mut dead = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for target in targets(&text) {
            links += 1;
            let path = page
                .parent()
                .unwrap()
                .join(target.split('#').next().unwrap());
            if !path.exists() {
                dead.push(format!(
                    "{} -> {target}",
                    page.strip_prefix(root()).unwrap().display()
                ));
            }
        }
    }
    assert!(links > 8, "no links were found at all");
    assert_eq!(dead, Vec::<String>::new());
}

#[test]
fn a_dead_link_would_be_seen() {
    let text = "see [a](a.md), [the web](https://example.com) and [b](docs/b.md#part) `[x](y)`";
    assert_eq!(targets(text), ["a.md", "docs/b.md#part", "y"]);
}

#[test]
fn no_document_or_script_names_a_path_of_one_machine() {
    let mut found = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        // Spelled in two halves so that this file does not find itself.
        for place in [
            concat!("/wo", "rk/"),
            concat!("/ro", "ot/"),
            concat!("/tm", "p/"),
        ] {
            if text.contains(place) {
                found.push(format!("{}: {place}", page.display()));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/formats"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder of documents") {
            let path = entry.expect("a folder can be listed").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// Targets of `[text](target)` inside the checkout.
fn targets(text: &str) -> Vec<&str> {
    let ends = text.match_indices("](").map(|(at, _)| &text[at + 2..]);
    let inside = ends
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target);
    inside
        .filter(|target| {
            !target.contains("://") && !target.is_empty() && Path::new(target).is_relative()
        })
        .collect()
}
