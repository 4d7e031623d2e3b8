//! The root chain: exactly one version at a time, signed by the old and the new keys.

use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::tuf::{Expiry, Limits, Trusted, TufError};

use crate::support::{Client, Key, NOW, Repo, keys_object, role_object};

fn serve_root(repo: &mut Repo, at: u64) {
    let bytes = repo.root.bytes();
    repo.files.insert(format!("{at}.root.json"), bytes);
}

fn root_keys(repo: &mut Repo, seeds: &[u8], threshold: u64) {
    let keys: Vec<_> = seeds.iter().map(|seed| Key::new(*seed)).collect();
    let all = keys_object(&keys);
    all.iter()
        .for_each(|(id, key)| repo.keys_entry("root").insert(id, key.clone()));
    *repo.role_entry("root") = role_object(&keys, threshold);
}

fn signed_by(repo: &mut Repo, seeds: &[u8]) {
    repo.root.signers = seeds.iter().map(|seed| Key::new(*seed)).collect();
}

/// CVE-2025-2885: the version was not compared.
#[test]
fn another_version_than_the_next_one_is_refused_in_its_place() {
    for version in [1u64, 3, 4, i64::MAX as u64] {
        let mut repo = Repo::with_delegation();
        let mut client = Client::of(&repo);
        repo.root.set("version", version);
        serve_root(&mut repo, 2);
        let expected = TufError::RootVersionSkipped {
            expected: 2,
            offered: version,
        };
        assert_eq!(client.update(&repo), Err(expected));
        assert_eq!(client.version("root"), Some(1));
    }
}

#[test]
fn a_new_root_needs_a_threshold_of_the_old_and_of_its_own_keys() {
    // (keys of root 2, threshold, signers, accepted); root 1 has keys 1, 2, 3 and threshold 2.
    let cases: [(&[u8], u64, &[u8], bool); 9] = [
        (&[1, 2, 3], 2, &[1, 3], true),
        (&[11, 12], 1, &[1, 2, 11], true),
        (&[11, 12], 1, &[11, 12], false),
        (&[11, 12], 1, &[1, 2], false),
        (&[11, 12], 2, &[1, 2, 11], false),
        (&[11, 12], 2, &[1, 11, 12], false),
        (&[1, 2, 3], 3, &[1, 2], false),
        (&[1, 2, 3], 1, &[1], false),
        (&[2, 3, 11], 2, &[1, 2, 11], true),
    ];
    for (keys, threshold, signers, accepted) in cases {
        let mut repo = Repo::with_delegation();
        let mut client = Client::of(&repo);
        repo.bump("root");
        root_keys(&mut repo, keys, threshold);
        signed_by(&mut repo, signers);
        repo.publish();
        let result = client.update(&repo).map_err(|error| error.code());
        let expected = if accepted {
            Ok(())
        } else {
            Err("threshold-not-met")
        };
        assert_eq!(
            result, expected,
            "keys {keys:?}, threshold {threshold}, signed by {signers:?}"
        );
        assert_eq!(client.version("root"), Some(if accepted { 2 } else { 1 }));
    }
}

#[test]
fn good_roots_before_a_bad_one_are_kept() {
    let mut repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    for _ in 0..3 {
        repo.bump("root");
        repo.publish();
    }
    repo.bump("root");
    signed_by(&mut repo, &[1]);
    serve_root(&mut repo, 5);
    assert_eq!(
        client.update(&repo).expect_err("bad root 5").code(),
        "threshold-not-met"
    );
    assert_eq!(client.version("root"), Some(4));
    signed_by(&mut repo, &[2, 3]);
    repo.publish();
    client.update(&repo).unwrap();
    assert_eq!(client.version("root"), Some(5));
}

#[test]
fn a_revoked_root_key_cannot_bring_itself_back() {
    let mut repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    repo.bump("root");
    root_keys(&mut repo, &[11, 12, 13], 2);
    signed_by(&mut repo, &[1, 2, 11, 12]);
    repo.publish();
    client.update(&repo).unwrap();
    repo.bump("root");
    root_keys(&mut repo, &[1, 2], 2);
    signed_by(&mut repo, &[1, 2]);
    serve_root(&mut repo, 3);
    assert_eq!(
        client.update(&repo).expect_err("revoked keys").code(),
        "threshold-not-met"
    );
    assert_eq!(client.version("root"), Some(2));
}

#[test]
fn an_anchor_that_is_not_signed_by_itself_is_no_anchor() {
    let mut repo = Repo::with_delegation();
    for signers in [&[][..], &[1], &[4, 5], &[20, 21]] {
        signed_by(&mut repo, signers);
        let mut client = Client::of(&repo);
        assert_eq!(
            client.update(&repo).expect_err("no anchor").code(),
            "threshold-not-met"
        );
        assert!(
            client.requests.is_empty(),
            "nothing is fetched without an anchor"
        );
    }
}

#[test]
fn a_role_that_root_does_not_name_makes_no_root() {
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let mut repo = Repo::new();
        let roles = repo
            .root
            .signed
            .get_mut("roles")
            .and_then(twinroot_trust::json::Value::as_object_mut);
        roles.unwrap().remove(role);
        let error =
            Trusted::from_root(&repo.root.bytes(), KeyPolicy::node(), Limits::node()).map(|_| ());
        assert_eq!(error.expect_err(role).code(), "malformed-metadata");
    }
}

#[test]
fn roles_applied_out_of_order_are_refused() {
    let mut repo = Repo::with_delegation();
    let root = repo.root.bytes();
    let fresh = || Trusted::from_root(&root, KeyPolicy::node(), Limits::node()).unwrap();
    let mut trusted = fresh();
    let code = |result: Result<(), TufError>| result.expect_err("out of order").code();
    assert_eq!(
        code(
            trusted
                .update_timestamp(&repo.timestamp.bytes())
                .map(|_| ())
        ),
        "metadata-out-of-order"
    );
    trusted.finish_roots(Expiry::Judged(NOW)).unwrap();
    assert_eq!(
        code(trusted.update_snapshot(&repo.snapshot.bytes())),
        "metadata-out-of-order"
    );
    trusted.update_timestamp(&repo.timestamp.bytes()).unwrap();
    let targets = repo.doc("targets").bytes();
    assert_eq!(
        code(trusted.update_targets("targets", "root", &targets)),
        "metadata-out-of-order"
    );
    trusted.update_snapshot(&repo.snapshot.bytes()).unwrap();
    let delegated = repo.doc("delegated").bytes();
    assert_eq!(
        code(trusted.update_targets("delegated", "targets", &delegated)),
        "not-delegated"
    );
    trusted.update_targets("targets", "root", &targets).unwrap();
    trusted
        .update_targets("delegated", "targets", &delegated)
        .unwrap();
    repo.bump("root");
    assert_eq!(
        code(trusted.update_root(&repo.root.bytes()).map(|_| ())),
        "metadata-out-of-order"
    );
}
