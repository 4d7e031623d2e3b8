//! Old versions offered again, for every role.

use twinroot_trust::json::{Object, Value};
use twinroot_trust::tuf::TufError;

use crate::support::{Client, Repo};

/// The repository at version 5 of everything, and a client that has seen it.
fn at_version_five() -> (Client, Repo) {
    let mut repo = Repo::with_delegation();
    for _ in 0..4 {
        repo.bump_all();
    }
    let mut client = Client::of(&repo);
    client.update(&repo).expect("the repository is good");
    (client, repo)
}

fn bump_pins(repo: &mut Repo) {
    repo.bump("snapshot");
    repo.bump("timestamp");
    repo.publish();
}

#[test]
fn a_lower_timestamp_is_refused() {
    let (mut client, mut repo) = at_version_five();
    repo.timestamp.set("version", 4u32);
    repo.publish();
    let expected = TufError::Rollback {
        role: "timestamp".into(),
        known: 5,
        offered: 4,
    };
    assert_eq!(client.update(&repo), Err(expected));
    assert_eq!(client.version("timestamp"), Some(5));
}

#[test]
fn a_lower_snapshot_under_a_new_timestamp_is_refused() {
    let (mut client, mut repo) = at_version_five();
    repo.snapshot.set("version", 4u32);
    repo.bump("timestamp");
    repo.publish();
    let expected = TufError::Rollback {
        role: "snapshot".into(),
        known: 5,
        offered: 4,
    };
    assert_eq!(client.update(&repo), Err(expected));
}

/// CVE-2025-2887: delegated roles were not compared.
#[test]
fn lower_targets_top_level_or_delegated_are_refused() {
    for role in ["targets", "delegated"] {
        let (mut client, mut repo) = at_version_five();
        repo.doc(role).set("version", 4u32);
        bump_pins(&mut repo);
        let expected = TufError::Rollback {
            role: role.into(),
            known: 5,
            offered: 4,
        };
        assert_eq!(client.update(&repo), Err(expected), "{role}");
        assert_eq!(client.version(role), Some(5));
        assert_eq!(
            client.version("snapshot"),
            Some(5),
            "the bad snapshot is not kept"
        );
    }
}

#[test]
fn a_role_that_is_no_longer_listed_is_refused() {
    for role in ["targets", "delegated"] {
        let (mut client, mut repo) = at_version_five();
        repo.bump("snapshot");
        repo.pin_targets();
        let meta = repo
            .snapshot
            .signed
            .get_mut("meta")
            .and_then(Value::as_object_mut)
            .unwrap();
        meta.remove(&format!("{role}.json"));
        repo.bump("timestamp");
        repo.pin_snapshot();
        repo.serve();
        let expected = TufError::RoleDropped { role: role.into() };
        assert_eq!(client.update(&repo), Err(expected));
    }
}

#[test]
fn a_snapshot_that_never_listed_a_role_is_no_source_for_it() {
    let mut repo = Repo::with_delegation();
    let meta = repo
        .snapshot
        .signed
        .get_mut("meta")
        .and_then(Value::as_object_mut)
        .unwrap();
    meta.remove("delegated.json");
    repo.pin_snapshot();
    repo.serve();
    let expected = TufError::RoleNotListed {
        role: "delegated".into(),
    };
    assert_eq!(Client::of(&repo).update(&repo), Err(expected));
}

/// CVE-2025-2888: a timestamp that was cached although its snapshot is a rollback froze the
/// client, since every later honest timestamp looked older or its snapshot looked rolled back.
#[test]
fn after_a_refused_rollback_the_next_good_update_succeeds() {
    for role in ["timestamp", "snapshot", "targets", "delegated"] {
        let (mut client, honest) = at_version_five();
        let mut attack = honest.clone();
        attack.doc(role).set("version", 2u32);
        // The attacker holds the online keys and makes its timestamp as new as it can.
        if role != "timestamp" {
            attack.bump("timestamp");
        }
        if matches!(role, "targets" | "delegated") {
            attack.bump("snapshot");
        }
        attack.publish();
        assert_eq!(
            client.update(&attack).expect_err(role).code(),
            "metadata-rollback"
        );
        let mut honest = honest;
        honest.bump_all();
        honest.bump_all();
        client
            .update(&honest)
            .unwrap_or_else(|error| panic!("frozen after {role}: {error}"));
        assert_eq!(client.version("timestamp"), Some(7));
    }
}

#[test]
fn a_lost_timestamp_does_not_open_the_way_to_an_older_snapshot() {
    let (mut client, mut repo) = at_version_five();
    client.store.remove("timestamp.json");
    repo.snapshot.set("version", 4u32);
    repo.publish();
    assert_eq!(
        client.update(&repo).expect_err("rollback").code(),
        "metadata-rollback"
    );
}

#[test]
fn an_expired_stored_timestamp_is_still_a_version_to_be_kept() {
    let mut repo = Repo::with_delegation();
    repo.bump_all();
    repo.timestamp.set("expires", "2026-11-24T00:00:00Z");
    repo.publish();
    let mut client = Client::of(&repo);
    client.update(&repo).unwrap();
    client.now.0 += 10 * 86_400;
    repo.timestamp.set("expires", crate::support::FAR);
    repo.timestamp.set("version", 1u32);
    repo.publish();
    assert_eq!(
        client.update(&repo).expect_err("rollback").code(),
        "metadata-rollback"
    );
}

#[test]
fn the_same_timestamp_version_with_other_content_changes_nothing() {
    let (mut client, mut repo) = at_version_five();
    let before = client.store.clone();
    let entry = Object::new().with("version", 100u32);
    repo.timestamp
        .set("meta", Object::new().with("snapshot.json", entry));
    repo.serve();
    client
        .update(&repo)
        .expect("an equal version is 'nothing new'");
    assert_eq!(client.store, before);
}
