//! More bytes, steps or roles than a client can take.

use twinroot_trust::json::{Object, Value};
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::tuf::{Limits, Trusted, TufError};

use crate::support::{Client, Key, Repo};

/// Grows the document of `role` to `size` bytes by a member that nobody reads.
fn pad(repo: &mut Repo, role: &str, size: usize) {
    repo.doc(role).set("x-padding", "");
    let missing = size - repo.doc(role).bytes().len();
    repo.doc(role).set("x-padding", "x".repeat(missing));
    assert_eq!(repo.doc(role).bytes().len(), size);
}

#[test]
fn a_role_may_be_as_large_as_its_limit_and_not_a_byte_more() {
    let limits = Limits {
        root: 20_000,
        timestamp: 10_000,
        snapshot: 12_000,
        targets: 15_000,
        ..Limits::node()
    };
    let cases = [
        ("root", 20_000),
        ("timestamp", 10_000),
        ("snapshot", 12_000),
        ("targets", 15_000),
        ("delegated", 15_000),
    ];
    for (role, limit) in cases {
        for (size, fits) in [(limit, true), (limit + 1, false)] {
            for hashes in [true, false] {
                let mut repo = Repo::with_delegation();
                repo.hashes = hashes;
                let mut client = Client::of(&repo);
                client.limits = limits;
                if role == "root" {
                    repo.bump("root");
                }
                repo.publish();
                pad(&mut repo, role, size);
                match role {
                    "timestamp" | "root" => repo.serve(),
                    "snapshot" => {
                        repo.pin_snapshot();
                        repo.serve();
                    }
                    _ => repo.publish(),
                }
                let result = client.update(&repo).map_err(|error| error.code());
                let expected = if fits { Ok(()) } else { Err("endless-data") };
                assert_eq!(
                    result, expected,
                    "{role} with {size} bytes, hashes: {hashes}"
                );
            }
        }
    }
}

#[test]
fn an_anchor_larger_than_its_limit_is_refused() {
    let mut repo = Repo::new();
    pad(&mut repo, "root", 600 << 10);
    let error =
        Trusted::from_root(&repo.root.bytes(), KeyPolicy::node(), Limits::node()).map(|_| ());
    assert_eq!(error.expect_err("too large").code(), "endless-data");
}

/// 257 new roots: the walk ends at 256 and goes on next time.
#[test]
fn the_walk_over_roots_is_bounded_and_goes_on_next_time() {
    let mut repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.limits.root_rotations = 16;
    for _ in 0..17 {
        repo.bump("root");
        let file = repo.file_of("root");
        let bytes = repo.root.bytes();
        repo.files.insert(file, bytes);
    }
    let refreshed = client.refresh(&repo).unwrap();
    assert_eq!(
        (refreshed.root, refreshed.roots_followed, refreshed.walk_cut),
        (17, 16, true)
    );
    let refreshed = client.refresh(&repo).unwrap();
    assert_eq!(
        (refreshed.root, refreshed.roots_followed, refreshed.walk_cut),
        (18, 1, false)
    );
    assert_eq!(Limits::node().root_rotations, 256);
}

/// A chain of delegations `r0` → `r1` → …; the last lists the target.
fn chain(length: usize) -> Repo {
    let mut repo = Repo::new();
    let mut delegator = "targets".to_string();
    for at in 0..length {
        let role = format!("r{at}");
        repo.delegate(&delegator, &role, &[Key::new(50)], 1, &["*"], false);
        delegator = role;
    }
    repo.add_target(&delegator, "file", b"content");
    repo.publish();
    repo
}

#[test]
fn the_33rd_delegation_is_not_visited() {
    let mut repo = chain(32);
    assert!(Client::of(&repo).find(&repo, "file").unwrap().is_some());
    repo = chain(33);
    let expected = TufError::TooManyDelegations {
        target: "file".into(),
        limit: 32,
    };
    let mut client = Client::of(&repo);
    assert_eq!(client.find(&repo, "file"), Err(expected));
    assert_eq!(client.version("r31"), Some(1));
    assert_eq!(client.version("r32"), None);
}

#[test]
fn one_role_may_not_delegate_to_more_than_1024() {
    for (count, fits) in [(1024, true), (1025, false)] {
        let mut repo = Repo::new();
        repo.delegate(
            "targets",
            "first",
            &[Key::new(50)],
            1,
            &["nothing/*"],
            false,
        );
        for at in 1..count {
            let entry = repo
                .delegation("targets", "first")
                .clone()
                .with("name", format!("d{at}"));
            repo.delegate_entry("targets", &[], entry);
        }
        repo.publish();
        let result = Client::of(&repo)
            .refresh(&repo)
            .map(|_| ())
            .map_err(|error| error.code());
        assert_eq!(
            result,
            if fits {
                Ok(())
            } else {
                Err("malformed-metadata")
            },
            "{count}"
        );
    }
}

#[test]
fn a_signed_length_above_the_limit_is_refused_before_the_fetch() {
    let mut repo = Repo::with_delegation();
    let meta = repo
        .timestamp
        .signed
        .get_mut("meta")
        .and_then(Value::as_object_mut)
        .unwrap();
    meta.insert(
        "snapshot.json",
        Object::new()
            .with("version", 1u32)
            .with("length", 1u64 << 40),
    );
    repo.serve();
    let mut client = Client::of(&repo);
    assert_eq!(
        client.update(&repo).expect_err("1 TiB").code(),
        "endless-data"
    );
    assert_eq!(
        client.requests.last().map(String::as_str),
        Some("timestamp.json")
    );
}

#[test]
fn patterns_that_make_naive_matchers_run_for_ever_are_matched_quickly() {
    let mut repo = Repo::new();
    let evil = "*a".repeat(2000);
    repo.delegate("targets", "r", &[Key::new(50)], 1, &[&evil], false);
    repo.publish();
    let name = "a".repeat(250) + "b";
    assert_eq!(Client::of(&repo).find(&repo, &name), Ok(None));
}
