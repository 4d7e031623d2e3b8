//! Versions raised out of reach, and the way back by key rotation.

use twinroot_trust::json::Value;

use crate::support::{Client, Key, Repo, role_object};

const HIGHEST: u64 = i64::MAX as u64;

fn rotate(repo: &mut Repo, role: &str, seed: u8) {
    let key = Key::new(seed);
    repo.keys_entry(role).insert(key.id(), key.object());
    *repo.role_entry(role) = role_object(std::slice::from_ref(&key), 1);
    repo.doc(role).signers = vec![key];
}

/// A repository that an attacker has fast-forwarded, and a client that has followed.
fn fast_forwarded(role: &str) -> (Client, Repo) {
    let mut repo = Repo::with_delegation();
    repo.doc(role).set("version", HIGHEST);
    repo.publish();
    let mut client = Client::of(&repo);
    client.update(&repo).expect("signed with the right keys");
    (client, repo)
}

#[test]
fn rotating_the_online_keys_brings_every_role_back() {
    for role in ["timestamp", "snapshot", "targets", "delegated"] {
        let (mut client, mut repo) = fast_forwarded(role);
        // Without rotation there is no way back.
        repo.doc(role).set("version", 2u32);
        let mut stuck = repo.clone();
        for above in ["snapshot", "timestamp"]
            .iter()
            .filter(|above| **above != role)
        {
            stuck.bump(above);
        }
        stuck.publish();
        assert_eq!(
            client.clone().update(&stuck).expect_err(role).code(),
            "metadata-rollback"
        );
        // With it, all versions start anew.
        repo.bump("root");
        rotate(&mut repo, "timestamp", 40);
        rotate(&mut repo, "snapshot", 41);
        repo.publish();
        client
            .update(&repo)
            .unwrap_or_else(|error| panic!("{role} is lost: {error}"));
        assert_eq!(client.version(role), Some(2), "{role}");
    }
}

#[test]
fn adding_a_key_or_rotating_others_forgets_nothing() {
    let mut repo = Repo::with_delegation();
    repo.bump_all();
    let mut client = Client::of(&repo);
    client.update(&repo).unwrap();
    let second = Key::new(42);
    repo.keys_entry("timestamp")
        .insert(second.id(), second.object());
    let both = [Key::new(4), second];
    *repo.role_entry("timestamp") = role_object(&both, 1);
    rotate(&mut repo, "targets", 43);
    repo.bump("root");
    repo.timestamp.set("version", 1u32);
    repo.publish();
    assert_eq!(
        client.update(&repo).expect_err("rollback").code(),
        "metadata-rollback"
    );
}

#[test]
fn the_stored_files_go_before_the_new_root_stands() {
    // Power lost at any point: the client ends on the new root with the new versions, never
    // beside fast-forwarded ones.
    for dies_before in 0..8 {
        let (mut client, mut repo) = fast_forwarded("timestamp");
        repo.timestamp.set("version", 2u32);
        repo.bump("root");
        rotate(&mut repo, "timestamp", 40);
        repo.publish();
        client.dies_before = Some(dies_before);
        _ = client.try_refresh(&repo);
        client.dies_before = None;
        client
            .update(&repo)
            .unwrap_or_else(|error| panic!("after {dies_before} changes: {error}"));
        assert_eq!(client.version("timestamp"), Some(2));
        assert_eq!(client.version("root"), Some(2));
    }
}

#[test]
fn a_jump_of_more_than_a_thousand_is_reported_and_not_refused() {
    for role in ["timestamp", "snapshot", "targets", "delegated"] {
        for (rise, alarmed) in [(1000, false), (1001, true), (HIGHEST - 1, true)] {
            let mut repo = Repo::with_delegation();
            let mut client = Client::of(&repo);
            client.update(&repo).unwrap();
            repo.doc(role).set("version", 1 + rise);
            for above in ["snapshot", "timestamp"]
                .iter()
                .filter(|above| **above != role)
            {
                repo.bump(above);
            }
            repo.publish();
            let refreshed = client.refresh(&repo).unwrap();
            let roles: Vec<_> = refreshed
                .jumps
                .iter()
                .map(|jump| (jump.role.as_str(), jump.from, jump.to))
                .collect();
            let expected = if alarmed {
                vec![(role, 1, 1 + rise)]
            } else {
                vec![]
            };
            assert_eq!(roles, expected, "{role} by {rise}");
        }
    }
}

#[test]
fn a_version_of_two_to_the_63_is_refused() {
    for role in ["root", "timestamp", "snapshot", "targets", "delegated"] {
        let mut repo = Repo::with_delegation();
        repo.doc(role)
            .signed
            .insert("version", Value::Integer(HIGHEST + 1));
        repo.publish();
        assert_eq!(
            Client::of(&repo).update(&repo).expect_err(role).code(),
            "malformed-metadata"
        );
    }
}

#[test]
fn an_image_with_a_newer_root_and_other_online_keys_forgets_what_the_old_keys_signed() {
    let (mut client, mut repo) = fast_forwarded("timestamp");
    repo.timestamp.set("version", 2u32);
    repo.bump("root");
    rotate(&mut repo, "snapshot", 41);
    repo.publish();
    client.image = Some(repo.root.bytes());
    client
        .update(&repo)
        .expect("the image's root is the anchor");
    assert_eq!(client.version("timestamp"), Some(2));
}
