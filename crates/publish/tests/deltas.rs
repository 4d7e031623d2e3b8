//! Deltas: the same bytes whatever the number of threads, none that does not pay, nothing left behind.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail by panicking, and its input files need not survive a crash"
)]

mod common;

use common::copy_tree;
use tempfile::TempDir;
use twinroot_publish::add::AddPlan;
use twinroot_publish::check::{Weight, check};
use twinroot_publish::fake::{self, Release, Repo, STABLE};
use twinroot_trust::manifest::Manifest;

const BLOCKS: u64 = 600;

/// 1.0 with every second block edited: more than one segment of a delta.
fn edited(image: &[u8], seed: u8) -> Vec<u8> {
    let mut image = image.to_vec();
    for block in image.chunks_exact_mut(4096).step_by(2) {
        block[300..304].fill(seed);
    }
    image
}

fn release(repo: &mut Repo, version: &str, image: &[u8], threads: usize) -> Release {
    repo.release_with(STABLE, version, image, |plan: &mut AddPlan| {
        (plan.delta_from, plan.threads) = (2, threads);
    })
}

/// Whether `check` finds no fault in a copy: the repository itself is held by the test.
fn in_order(repo: &Repo) -> bool {
    let dir = TempDir::new().unwrap();
    copy_tree(&repo.path(), dir.path());
    let found = check(dir.path(), repo.now).unwrap();
    found.iter().all(|one| one.weight != Weight::Fault)
}

/// The digests of all deltas of the third of three releases.
fn third(threads: usize) -> (Repo, Vec<String>) {
    let mut repo = Repo::new(3);
    let first = fake::image(1, BLOCKS);
    release(&mut repo, "1.0", &first, threads);
    release(&mut repo, "1.1", &edited(&first, 7), threads);
    let last = release(&mut repo, "1.2", &edited(&first, 9), threads);
    let manifest = Manifest::parse(&last.manifest).unwrap();
    let deltas = manifest.artefacts.iter().flat_map(|a| &a.deltas);
    let names: Vec<String> = deltas.map(|d| d.payload.sha256.to_string()).collect();
    (repo, names)
}

#[test]
fn the_bytes_of_deltas_do_not_depend_on_the_threads_and_the_repository_is_in_order() {
    let (repo, one) = third(1);
    assert!(one.len() >= 2, "one from each release before: {one:?}");
    assert_eq!(third(2).1, one);
    assert!(in_order(&repo));
    let work = std::fs::read_dir(repo.path().join("work")).unwrap();
    let left: Vec<_> = work.map(|e| e.unwrap().file_name()).collect();
    assert!(
        left.iter().all(|n| !n.to_string_lossy().ends_with(".new")),
        "{left:?}"
    );
}

#[test]
fn a_delta_that_does_not_pay_is_not_published() {
    let mut repo = Repo::new(4);
    release(&mut repo, "1.0", &fake::image(1, 64), 1);
    // Nothing in common: a delta would be as long as the full payload.
    let other = release(&mut repo, "1.1", &fake::image(2, 64), 1);
    let told = &other.added.deltas[0];
    assert!(
        !told.published && told.bytes * 100 >= told.instead_of * 90,
        "{told:?}"
    );
    let manifest = Manifest::parse(&other.manifest).unwrap();
    assert!(manifest.system_image().deltas.is_empty());
    assert!(in_order(&repo));
}
