//! Expired metadata shown for ever (indefinite freeze), for every role.

use twinroot_trust::time::UnixTime;
use twinroot_trust::tuf::TufError;

use crate::support::{Client, NOW, PAST, Repo};

const ROLES: [&str; 5] = ["root", "timestamp", "snapshot", "targets", "delegated"];

/// CVE-2026-6967: expiry was not asked of delegated roles.
#[test]
fn an_expired_role_is_refused_from_the_very_second_on() {
    for role in ROLES {
        let mut repo = Repo::with_delegation();
        repo.doc(role).set("expires", PAST);
        repo.publish();
        let mut client = Client::of(&repo);
        let expected = TufError::Expired {
            role: role.into(),
            expires: NOW,
            now: NOW,
        };
        assert_eq!(client.update(&repo), Err(expected));
        assert_eq!(
            client.version(role),
            (role == "root").then_some(1),
            "{role} is not kept"
        );
        client.now = UnixTime(NOW.0 - 1);
        client
            .update(&repo)
            .unwrap_or_else(|error| panic!("{role}, one second earlier: {error}"));
    }
}

#[test]
fn a_stored_role_that_has_expired_since_is_not_used() {
    for role in ROLES {
        let mut repo = Repo::with_delegation();
        repo.doc(role).set("expires", "2026-12-01T00:00:00Z");
        repo.publish();
        let mut client = Client::of(&repo);
        client.update(&repo).unwrap();
        client.now = UnixTime(NOW.0 + 8 * 86_400);
        assert_eq!(
            client.update(&repo).expect_err(role).code(),
            "metadata-expired"
        );
        // The store is as good as before: with a fresh repository the client goes on.
        repo.doc(role).set("expires", crate::support::FAR);
        if role == "root" {
            repo.bump("root");
        }
        repo.bump_all();
        client
            .update(&repo)
            .unwrap_or_else(|error| panic!("{role}: {error}"));
    }
}

#[test]
fn a_refused_expired_role_does_not_replace_the_stored_one() {
    for role in ["timestamp", "snapshot", "targets", "delegated"] {
        let mut repo = Repo::with_delegation();
        let mut client = Client::of(&repo);
        client.update(&repo).unwrap();
        repo.bump_all();
        repo.doc(role).set("expires", PAST);
        repo.publish();
        assert_eq!(
            client.update(&repo).expect_err(role).code(),
            "metadata-expired"
        );
        assert_eq!(client.version(role), Some(1));
    }
}

#[test]
fn expired_roots_on_the_way_to_a_fresh_one_are_followed() {
    let mut repo = Repo::with_delegation();
    repo.root.set("expires", PAST);
    let mut client = Client::of(&repo);
    repo.bump("root");
    repo.publish();
    repo.bump("root");
    repo.root.set("expires", crate::support::FAR);
    repo.publish();
    client
        .update(&repo)
        .expect("only the last root must be fresh");
    assert_eq!(client.version("root"), Some(3));
}

#[test]
fn an_expired_last_root_is_kept_and_nothing_else_is_touched() {
    let mut repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.update(&repo).unwrap();
    repo.bump("root");
    repo.root.set("expires", PAST);
    repo.bump_all();
    assert_eq!(
        client.update(&repo).expect_err("expired").code(),
        "metadata-expired"
    );
    assert_eq!(
        (client.version("root"), client.version("timestamp")),
        (Some(2), Some(1))
    );
}

#[test]
fn dates_that_are_not_in_the_one_form_are_refused() {
    for role in ROLES {
        for date in [
            "",
            "never",
            "2099-01-01",
            "2099-01-01T00:00:00",
            "2099-01-01T00:00:00+00:00",
            "2099-01-01 00:00:00Z",
            "2099-02-30T00:00:00Z",
            "2099-01-01T00:00:00.000Z",
            "99999-01-01T00:00:00Z",
        ] {
            let mut repo = Repo::with_delegation();
            repo.doc(role).set("expires", date);
            repo.publish();
            assert_eq!(
                Client::of(&repo).update(&repo).expect_err(role).code(),
                "malformed-metadata",
                "{role}: {date}"
            );
        }
    }
}
