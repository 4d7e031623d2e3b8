//! What is asked for, in which order, and what the store holds.

use crate::support::{Client, Key, NOW, Repo, role_object};

#[test]
fn a_first_refresh_asks_for_four_files_and_keeps_exactly_what_it_got() {
    let repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.refresh(&repo).unwrap();
    assert_eq!(
        client.requests,
        [
            "2.root.json",
            "timestamp.json",
            "1.snapshot.json",
            "1.targets.json"
        ]
    );
    for (stored, served) in [
        ("root.json", "1.root.json"),
        ("timestamp.json", "timestamp.json"),
        ("snapshot.json", "1.snapshot.json"),
        ("targets.json", "1.targets.json"),
    ] {
        assert_eq!(client.store[stored], repo.files[served], "{stored}");
    }
    assert_eq!(
        client.store.len(),
        4,
        "no role is fetched that nobody asked for"
    );
}

#[test]
fn what_is_stored_and_good_is_not_asked_for_again() {
    let repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.update(&repo).unwrap();
    assert_eq!(client.requests.last().unwrap(), "1.delegated.json");
    let before = client.store.clone();
    client.update(&repo).unwrap();
    assert_eq!(client.requests, ["2.root.json", "timestamp.json"]);
    assert_eq!(client.store, before);
}

#[test]
fn only_what_changed_is_asked_for() {
    let mut repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.update(&repo).unwrap();
    for role in ["delegated", "snapshot", "timestamp"] {
        repo.bump(role);
    }
    repo.publish();
    client.update(&repo).unwrap();
    assert_eq!(
        client.requests,
        [
            "2.root.json",
            "timestamp.json",
            "2.snapshot.json",
            "2.delegated.json"
        ]
    );
}

#[test]
fn a_repository_without_consistent_snapshots_is_asked_for_plain_names() {
    let mut repo = Repo::with_delegation();
    for absent in [false, true] {
        if absent {
            repo.root.signed.remove("consistent_snapshot");
        } else {
            repo.root.set("consistent_snapshot", false);
        }
        repo.publish();
        let mut client = Client::of(&repo);
        client.update(&repo).unwrap();
        assert_eq!(
            client.requests,
            [
                "2.root.json",
                "timestamp.json",
                "snapshot.json",
                "targets.json",
                "delegated.json"
            ]
        );
    }
}

#[test]
fn a_damaged_stored_file_is_as_good_as_absent() {
    let repo = Repo::with_delegation();
    let mut good = Client::of(&repo);
    good.update(&repo).unwrap();
    for file in [
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "delegated.json",
    ] {
        for damage in [
            &b""[..],
            b"{",
            b"\0\0\0\0",
            b"{\"signed\":{},\"signatures\":[]}",
        ] {
            let mut client = good.clone();
            client.store.insert(file.into(), damage.to_vec());
            client
                .update(&repo)
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(client.store, good.store, "{file} is whole again");
        }
        let mut client = good.clone();
        client.store.remove(file);
        client.update(&repo).unwrap();
        assert_eq!(client.store, good.store);
    }
}

#[test]
fn a_stored_file_that_an_attacker_wrote_is_not_believed() {
    let repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.update(&repo).unwrap();
    let good = client.store.clone();
    let mut forged = repo.clone();
    for role in ["timestamp", "snapshot", "targets", "delegated"] {
        forged.doc(role).set("version", 99u32);
        forged.doc(role).signers = vec![Key::new(66)];
    }
    forged.publish();
    for (stored, served) in [
        ("timestamp.json", "timestamp.json"),
        ("snapshot.json", "99.snapshot.json"),
        ("targets.json", "99.targets.json"),
        ("delegated.json", "99.delegated.json"),
    ] {
        client
            .store
            .insert(stored.into(), forged.files[served].clone());
    }
    client.update(&repo).unwrap();
    assert_eq!(client.store, good);
}

#[test]
fn a_damaged_stored_root_is_no_anchor_and_nothing_is_fetched() {
    let repo = Repo::with_delegation();
    for damage in [&b""[..], b"{", b"{\"signed\":{},\"signatures\":[]}"] {
        let mut client = Client::of(&repo);
        client.store.insert("root.json".into(), damage.to_vec());
        assert!(client.update(&repo).is_err());
        assert!(client.requests.is_empty());
    }
}

fn with_three_roots() -> (Repo, Vec<u8>) {
    let mut repo = Repo::with_delegation();
    let anchor = repo.root.bytes();
    for _ in 0..2 {
        repo.bump("root");
        repo.publish();
    }
    (repo, anchor)
}

#[test]
fn from_the_images_root_the_chain_is_walked_again_on_every_start() {
    let (repo, anchor) = with_three_roots();
    let mut client = Client::of(&repo);
    client.store.clear();
    client.image = Some(anchor);
    client.update(&repo).unwrap();
    assert_eq!(
        client.requests[..3],
        ["2.root.json", "3.root.json", "4.root.json"]
    );
    assert_eq!(
        client.store["root_history/2.root.json"],
        repo.files["2.root.json"]
    );
    assert_eq!(client.store["root.json"], repo.files["3.root.json"]);
    let before = client.store.clone();
    client.update(&repo).unwrap();
    assert_eq!(
        client.requests,
        ["4.root.json", "timestamp.json"],
        "kept roots are not fetched"
    );
    assert_eq!(client.store, before);
}

#[test]
fn beside_an_images_root_the_stored_root_is_never_trusted() {
    let (repo, anchor) = with_three_roots();
    let mut evil = Repo::with_delegation();
    *evil.role_entry("root") = role_object(&[Key::new(2)], 1);
    evil.root.signers = vec![Key::new(2)];
    evil.bump("root");
    evil.publish();
    for file in [
        "root.json",
        "root_history/2.root.json",
        "root_history/3.root.json",
    ] {
        let mut client = Client::of(&repo);
        client.image = Some(anchor.clone());
        client.update(&repo).unwrap();
        client.store.insert(file.into(), evil.root.bytes());
        client
            .update(&repo)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(client.version("root"), Some(3), "{file} is as it was");
        assert_eq!(client.refresh(&repo).unwrap().root, 3, "{file}");
    }
}

#[test]
fn a_refused_answer_can_be_asked_of_another_mirror_in_the_same_transaction() {
    use twinroot_trust::tuf::{Action, Answer};
    let repo = Repo::with_delegation();
    let client = Client::of(&repo);
    let mut flow = client.start().unwrap();
    let mut refusals = 0;
    let done = loop {
        match flow.next_action().unwrap() {
            Action::Load { .. } => flow.answer(Answer::Missing).unwrap(),
            Action::Fetch { path, .. } => {
                // The first mirror serves a login page for everything.
                flow.answer(Answer::Bytes(b"<html>"))
                    .expect_err("not metadata");
                refusals += 1;
                let again = flow.next_action().unwrap();
                assert!(
                    matches!(&again, Action::Fetch { path: same, .. } if *same == path),
                    "{again:?}"
                );
                let served = repo.files.get(&path);
                flow.answer(served.map_or(Answer::Missing, |bytes| Answer::Bytes(bytes)))
                    .unwrap();
            }
            Action::Persist { .. } | Action::Forget { .. } => {}
            Action::Done(outcome) => break outcome,
        }
    };
    assert_eq!(refusals, 4);
    assert!(matches!(done, twinroot_trust::tuf::Outcome::Refreshed(_)));
}

#[test]
fn missing_files_are_refused_by_name_and_what_came_before_is_kept() {
    for (role, kept) in [
        ("timestamp", 0),
        ("snapshot", 1),
        ("targets", 2),
        ("delegated", 3),
    ] {
        let mut repo = Repo::with_delegation();
        let file = repo.file_of(role);
        repo.files.remove(&file);
        let mut client = Client::of(&repo);
        let error = client.update(&repo).expect_err(role);
        assert_eq!(error.code(), "metadata-unavailable");
        assert!(error.to_string().contains(role), "{error}");
        assert_eq!(client.store.len(), 1 + kept, "{role}");
    }
}

#[test]
fn a_search_before_the_refresh_is_refused() {
    let repo = Repo::with_delegation();
    let mut flow = Client::of(&repo).start().unwrap();
    assert_eq!(
        flow.find("d/file").expect_err("too early").code(),
        "metadata-out-of-order"
    );
    assert_eq!(
        flow.trust_role("delegated").expect_err("too early").code(),
        "metadata-out-of-order"
    );
}

#[test]
fn the_report_says_when_the_first_role_expires() {
    let mut repo = Repo::with_delegation();
    repo.snapshot.set("expires", "2026-12-24T00:00:00Z");
    repo.publish();
    let refreshed = Client::of(&repo).refresh(&repo).unwrap();
    assert_eq!(refreshed.expires.to_string(), "2026-12-24T00:00:00Z");
    assert!(refreshed.expires > NOW);
}
