//! `check` finds every kind of damage, and nothing where nothing is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail by panicking, and its input files need not survive a crash"
)]

mod common;

use std::path::{Path, PathBuf};

use common::copy_tree;
use tempfile::TempDir;
use twinroot_publish::check::{Problem, Weight, check};
use twinroot_publish::fake::{self, EDGE, Repo, STABLE};
use twinroot_trust::time::{Seconds, UnixTime};

fn repository() -> Repo {
    let mut repo = Repo::new(1);
    repo.release(STABLE, "1.0", &fake::image(1, 64));
    repo.release(EDGE, "2.0", &fake::image(2, 16));
    repo
}

/// What `check` finds in a copy after `damage`.
fn found(repo: &Repo, now: UnixTime, damage: impl FnOnce(&Path)) -> Vec<Problem> {
    let dir = TempDir::new().unwrap();
    copy_tree(&repo.path(), dir.path());
    damage(dir.path());
    check(dir.path(), now).unwrap()
}

fn faults(problems: &[Problem]) -> Vec<&'static str> {
    let mut checks: Vec<&'static str> = problems
        .iter()
        .filter(|one| one.weight == Weight::Fault)
        .map(|one| one.check)
        .collect();
    checks.dedup();
    checks
}

fn first_file(dir: &Path, suffix: &str) -> PathBuf {
    let mut stack = vec![dir.to_owned()];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                return path;
            }
        }
    }
    panic!("no file ends in {suffix}");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_good_repository_has_no_problems() {
    let repo = repository();
    assert_eq!(found(&repo, repo.now, |_| ()), []);
}

#[test]
fn missing_and_altered_files_are_found_and_named() {
    let repo = repository();
    let payload = |dir: &Path| {
        let payloads = dir.join("repo/targets/payload");
        let mut files: Vec<PathBuf> = std::fs::read_dir(payloads)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
        files.pop().unwrap()
    };
    let problems = found(&repo, repo.now, |dir| {
        std::fs::remove_file(payload(dir)).unwrap()
    });
    assert_eq!(faults(&problems), ["payload"]);
    let problems = found(&repo, repo.now, |dir| {
        let path = payload(dir);
        let last = usize::try_from(std::fs::metadata(&path).unwrap().len()).unwrap() - 1;
        flip(&path, last);
    });
    assert_eq!(faults(&problems), ["payload"]);
    let problems = found(&repo, repo.now, |dir| flip(&payload(dir), 9));
    assert_eq!(
        problems.iter().filter(|one| one.check == "payload").count(),
        2,
        "index and file: {problems:?}"
    );
    let problems = found(&repo, repo.now, |dir| {
        flip(
            &first_file(&dir.join("repo/targets/channels"), "manifest.toml"),
            12,
        )
    });
    assert!(
        faults(&problems).contains(&"refused-by-nodes"),
        "{problems:?}"
    );
    let problems = found(&repo, repo.now, |dir| {
        std::fs::remove_file(first_file(&dir.join("repo/metadata"), "3.rollout.json")).unwrap()
    });
    assert!(
        faults(&problems).contains(&"refused-by-nodes"),
        "{problems:?}"
    );
}

#[test]
fn every_flipped_byte_of_the_timestamp_is_found() {
    let repo = repository();
    let length = std::fs::read(repo.repository.layout.metadata().join("timestamp.json"))
        .unwrap()
        .len();
    // White space between members is not signed: flipping it may leave the document as it was.
    let mut unseen = 0;
    for at in (0..length).step_by(7) {
        let problems = found(&repo, repo.now, |dir| {
            flip(&dir.join("repo/metadata/timestamp.json"), at)
        });
        unseen += usize::from(faults(&problems).is_empty());
    }
    assert!(
        unseen * 20 < length / 7,
        "{unseen} of {} flips were not seen",
        length / 7
    );
}

#[test]
fn a_key_whose_id_is_not_its_hash_is_found() {
    let repo = repository();
    let problems = found(&repo, repo.now, |dir| {
        let path = dir.join("repo/metadata/1.root.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(
            &path,
            text.replacen(
                "\"scheme\": \"ed25519\"",
                "\"scheme\": \"ed25519\", \"x-note\": \"added later\"",
                1,
            ),
        )
        .unwrap();
    });
    assert!(faults(&problems).contains(&"key-id"), "{problems:?}");
}

#[test]
fn expiry_is_a_warning_when_near_and_a_fault_when_past() {
    let repo = repository();
    let day = 86_400;
    let near = UnixTime(repo.now.0 + 5 * day);
    let problems = found(&repo, near, |_| ());
    assert_eq!(faults(&problems), [""; 0]);
    assert!(
        problems
            .iter()
            .any(|one| one.check == "expiry" && one.thing == "timestamp"),
        "{problems:?}"
    );
    let past = repo.now.plus(Seconds(7 * 86_400));
    assert_eq!(
        faults(&found(&repo, past, |_| ())),
        ["expiry", "refused-by-nodes"]
    );
}

#[test]
fn drafts_and_strays_are_warnings() {
    let mut repo = repository();
    repo.add(STABLE, "1.1", &fake::image(3, 16), |_| ())
        .unwrap();
    let problems = found(&repo, repo.now, |dir| {
        std::fs::write(
            dir.join("repo/targets/payload/.full.new"),
            b"half a payload",
        )
        .unwrap();
    });
    assert_eq!(faults(&problems), [""; 0]);
    let mut checks: Vec<&str> = problems.iter().map(|one| one.check).collect();
    checks.sort_unstable();
    assert_eq!(
        checks,
        ["draft", "stray"],
        "payloads of a draft are no strays: {problems:?}"
    );
}

#[test]
fn an_offer_of_a_withdrawn_release_is_a_warning() {
    let mut repo = Repo::new(2);
    let release = repo.release(EDGE, "1.0", &fake::image(1, 16));
    repo.withdraw(EDGE, &release.id);
    let problems = found(&repo, repo.now, |_| ());
    assert!(
        problems
            .iter()
            .any(|one| one.check == "policy" && one.finding.contains("withdrawn")),
        "{problems:?}"
    );
}

#[test]
fn an_unpublished_repository_and_nonsense_are_told_apart() {
    let empty = TempDir::new().unwrap();
    assert!(check(empty.path(), UnixTime(0)).is_err());
    let repo = repository();
    let problems = found(&repo, repo.now, |dir| {
        std::fs::remove_dir_all(dir.join("repo/metadata")).unwrap()
    });
    assert!(faults(&problems).contains(&"unpublished"), "{problems:?}");
    let problems = found(&repo, repo.now, |dir| {
        std::fs::write(dir.join("repo/metadata/timestamp.json"), b"{}").unwrap()
    });
    assert!(
        faults(&problems).contains(&"refused-by-nodes"),
        "{problems:?}"
    );
}
