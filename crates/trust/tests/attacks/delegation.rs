//! Who may speak for which target, and in which order they are asked.

use twinroot_trust::digest::Digest;
use twinroot_trust::json::{Object, Value};
use twinroot_trust::tuf::Pattern;

use crate::support::{Client, Key, Repo, role_object};

const ANY: &[&str] = &["*"];

/// Edges (delegator, role, patterns, terminating), each role with a key of its own.
fn graph(edges: &[(&str, &str, &[&str], bool)]) -> Repo {
    let mut repo = Repo::new();
    for (delegator, role, paths, terminating) in edges {
        let seed = role.bytes().fold(100u8, u8::wrapping_add);
        repo.delegate(delegator, role, &[Key::new(seed)], 1, paths, *terminating);
    }
    repo.publish();
    repo
}

/// The delegated roles that were fetched while looking for a target, in order.
fn visited(repo: &Repo, target: &str) -> Vec<String> {
    let mut client = Client::of(repo);
    client
        .find(repo, target)
        .unwrap_or_else(|error| panic!("{target}: {error}"));
    let names = client
        .requests
        .iter()
        .skip(4)
        .map(|path| path.split('.').nth(1).unwrap().to_string());
    names.collect()
}

/// CVE-2024-47534: delegations were traced in the wrong order.
#[test]
fn roles_are_asked_in_pre_order() {
    let order = |edges: &[_]| visited(&graph(edges), "x").concat();
    assert_eq!(
        order(&[("targets", "A", ANY, false), ("targets", "B", ANY, false)]),
        "AB"
    );
    assert_eq!(
        order(&[
            ("targets", "A", ANY, false),
            ("targets", "B", ANY, false),
            ("A", "C", ANY, false),
            ("A", "D", ANY, false)
        ]),
        "ACDB"
    );
    assert_eq!(
        order(&[
            ("targets", "A", ANY, false),
            ("targets", "B", ANY, false),
            ("A", "C", ANY, false),
            ("C", "D", ANY, false)
        ]),
        "ACDB"
    );
    assert_eq!(
        order(&[
            ("targets", "A", &["y"], false),
            ("targets", "B", ANY, false),
            ("A", "C", ANY, false)
        ]),
        "B"
    );
    assert_eq!(
        order(&[
            ("targets", "A", ANY, false),
            ("targets", "B", ANY, false),
            ("B", "C", ANY, false),
            ("A", "C", &["y"], false)
        ]),
        "ABC"
    );
}

/// CVE-2025-2886: a terminating delegation did not end the search.
#[test]
fn a_terminating_delegation_ends_the_search() {
    let order = |edges: &[_]| visited(&graph(edges), "x").concat();
    assert_eq!(
        order(&[("targets", "A", ANY, true), ("targets", "B", ANY, false)]),
        "A"
    );
    assert_eq!(
        order(&[
            ("targets", "A", ANY, true),
            ("targets", "B", ANY, false),
            ("A", "C", ANY, false)
        ]),
        "AC"
    );
    assert_eq!(
        order(&[
            ("targets", "A", ANY, false),
            ("targets", "B", ANY, false),
            ("A", "C", ANY, true),
            ("A", "D", ANY, false)
        ]),
        "AC"
    );
    // It ends the search only for targets that it covers.
    assert_eq!(
        order(&[("targets", "A", &["y"], true), ("targets", "B", ANY, false)]),
        "B"
    );
    let mut repo = graph(&[("targets", "A", ANY, true), ("targets", "B", ANY, false)]);
    repo.add_target("B", "x", b"later match");
    repo.publish();
    assert_eq!(Client::of(&repo).find(&repo, "x"), Ok(None));
}

#[test]
fn cycles_and_self_delegation_end() {
    let order = |edges: &[_]| visited(&graph(edges), "x").concat();
    assert_eq!(
        order(&[("targets", "A", ANY, false), ("A", "A", ANY, false)]),
        "A"
    );
    assert_eq!(
        order(&[
            ("targets", "A", ANY, false),
            ("targets", "B", ANY, false),
            ("B", "C", ANY, false),
            ("C", "D", ANY, false),
            ("D", "B", ANY, false)
        ]),
        "ABCD"
    );
}

#[test]
fn the_first_role_in_order_wins() {
    let mut repo = graph(&[("targets", "A", ANY, false), ("targets", "B", ANY, false)]);
    repo.add_target("A", "x", b"from A");
    repo.add_target("B", "x", b"from B");
    repo.publish();
    let found = Client::of(&repo).find(&repo, "x").unwrap().unwrap();
    assert_eq!(found.hashes.sha256, Some(Digest::of(b"from A")));
    repo.add_target("targets", "x", b"from the top");
    repo.publish();
    let found = Client::of(&repo).find(&repo, "x").unwrap().unwrap();
    assert_eq!(found.hashes.sha256, Some(Digest::of(b"from the top")));
}

#[test]
fn a_target_outside_its_delegators_paths_is_not_found() {
    let mut repo = graph(&[("targets", "A", &["a/*"], false), ("A", "B", ANY, false)]);
    repo.add_target("A", "b/x", b"not A's business");
    repo.add_target("B", "a/x", b"B's pattern does not cross the slash");
    repo.publish();
    assert_eq!(Client::of(&repo).find(&repo, "b/x"), Ok(None));
    assert_eq!(Client::of(&repo).find(&repo, "a/x"), Ok(None));
    assert!(
        visited(&repo, "b/x").is_empty(),
        "no prefetch of roles that cannot matter"
    );
}

/// Diamond delegation: a role verified through one delegator was taken for verified through
/// another, whose keys had never signed it.
#[test]
fn a_role_reached_through_another_delegator_is_verified_with_that_delegators_keys() {
    let mut repo = graph(&[
        ("targets", "A", &["a/*", "b/*"], false),
        ("targets", "B", &["b/*"], false),
        ("A", "C", &["a/*"], false),
    ]);
    // B trusts a role of the same name, but with a key that has not signed it.
    let own = Key::new(77);
    let entry = role_object(std::slice::from_ref(&own), 1)
        .with("name", "C")
        .with("terminating", false)
        .with("paths", Value::from_iter(["b/*"]));
    repo.delegate_entry("B", std::slice::from_ref(&own), entry);
    repo.add_target("C", "a/x", b"content");
    repo.add_target("C", "b/x", b"content");
    repo.publish();
    let mut client = Client::of(&repo);
    let (mut flow, _) = client.try_refresh(&repo).unwrap();
    flow.find("a/x").unwrap();
    client
        .drive(&mut flow, &repo.files)
        .expect("C is trusted through A");
    // The same transaction, the same stored file: through B it is not trusted.
    flow.find("b/x").unwrap();
    match client.drive(&mut flow, &repo.files) {
        Err(crate::support::Stop::Refused(error)) => assert_eq!(error.code(), "threshold-not-met"),
        other => panic!("C was taken through B: {other:?}"),
    }
    assert_eq!(
        Client::of(&repo)
            .find(&repo, "b/x")
            .expect_err("wrong parent")
            .code(),
        "threshold-not-met"
    );
    // Signed by B's key as well, it is trusted on both ways.
    repo.doc("C").signers.push(own);
    repo.publish();
    assert!(Client::of(&repo).find(&repo, "b/x").unwrap().is_some());
}

#[test]
fn path_hash_prefixes_cover_by_the_digest_of_the_name() {
    let mut repo = Repo::new();
    let key = Key::new(60);
    let digest = Digest::of(b"a/x").to_string();
    let with = |prefixes: &[&str]| {
        role_object(std::slice::from_ref(&key), 1)
            .with("name", "bin")
            .with("terminating", false)
            .with(
                "path_hash_prefixes",
                Value::from_iter(prefixes.iter().copied()),
            )
    };
    repo.delegate("targets", "bin", std::slice::from_ref(&key), 1, ANY, false);
    repo.add_target("bin", "a/x", b"content");
    for (prefixes, covered) in [
        (vec![&digest[..2]], true),
        (vec!["zz", &digest[..]], true),
        (vec!["", "zz"], true),
        (vec!["zz"], false),
        (vec![], false),
    ] {
        *repo.delegation("targets", "bin") = with(&prefixes);
        repo.publish();
        assert_eq!(
            Client::of(&repo).find(&repo, "a/x").unwrap().is_some(),
            covered,
            "{prefixes:?}"
        );
    }
}

#[test]
fn delegations_that_cannot_be_understood_are_refused() {
    let bend = |change: &dyn Fn(&mut Object)| {
        let mut repo = Repo::with_delegation();
        change(repo.delegation("targets", "delegated"));
        repo.publish();
        Client::of(&repo)
            .update(&repo)
            .map_err(|error| error.code())
    };
    let malformed = Err("malformed-metadata");
    assert_eq!(bend(&|_| ()), Ok(()));
    for name in ["", "root", "timestamp", "snapshot", "targets"] {
        assert_eq!(
            bend(&|entry| entry.insert("name", name)),
            malformed,
            "{name:?}"
        );
    }
    assert_eq!(
        bend(&|entry| entry.insert("name", "n".repeat(226))),
        malformed
    );
    assert_eq!(
        bend(&|entry| entry.insert("name", "/".repeat(80))),
        malformed
    );
    for name in ["name", "terminating", "keyids", "threshold", "paths"] {
        assert_eq!(bend(&|entry| drop(entry.remove(name))), malformed, "{name}");
        assert_eq!(
            bend(&|entry| entry.insert(name, Value::Null)),
            malformed,
            "{name}"
        );
    }
    assert_eq!(
        bend(&|entry| entry.insert("path_hash_prefixes", Value::Array(vec![]))),
        malformed
    );
    for pattern in ["d/[a-f]*", "[", "d/[!x]"] {
        assert_eq!(
            bend(&|entry| entry.insert("paths", Value::from_iter(["d/*", pattern]))),
            malformed,
            "{pattern}"
        );
    }
    let mut repo = Repo::with_delegation();
    let again = repo.delegation("targets", "delegated").clone();
    repo.delegate_entry("targets", &[], again);
    repo.publish();
    assert_eq!(
        Client::of(&repo).update(&repo).expect_err("twice").code(),
        "malformed-metadata"
    );
}

#[test]
fn stars_and_question_marks_stay_between_slashes() {
    let cases = [
        ("*", "x", true),
        ("*", "", true),
        ("*", "a/x", false),
        ("a/*", "a/x", true),
        ("a/*", "a/b/x", false),
        ("a/*", "b/x", false),
        ("*/*", "a/x", true),
        ("a/?", "a/x", true),
        ("a/?", "a/", false),
        ("a/?", "a/xy", false),
        ("a?b", "a/b", false),
        ("*.tgz", "foo.tgz", true),
        ("*.tgz", "foo.tgz.sig", false),
        ("foo-version-?.tgz", "foo-version-a.tgz", true),
        ("foo-version-?.tgz", "foo-version-alpha.tgz", false),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b*", "xxbxxaxx", false),
        ("a**b", "ab", true),
        ("ä?", "äö", true),
        ("A", "a", false),
        (
            "channels/stable/*/*/*/manifest.toml",
            "channels/stable/p/a/1.0/manifest.toml",
            true,
        ),
        (
            "channels/stable/*/*/*/manifest.toml",
            "channels/stable/p/a/manifest.toml",
            false,
        ),
        (".", "x", false),
        ("x", "x/", false),
    ];
    for (pattern, target, expected) in cases {
        let pattern = Pattern::new(pattern.into()).unwrap();
        assert_eq!(
            pattern.matches(target),
            expected,
            "{pattern:?} on {target:?}"
        );
    }
}
