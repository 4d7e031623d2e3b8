//! Names that could leave the directory they are written to.

use twinroot_trust::tuf::{Outcome, prove_target, quoted_role};

use crate::support::{Client, Key, Repo};

/// CVE-2026-6968: targets were written outside the output directory.
#[test]
fn target_names_that_leave_a_directory_are_not_looked_up_even_if_signed() {
    let long = "x".repeat(256);
    for name in [
        "", "/etc/x", "../x", "a/../x", "a/..", ".", "./x", "a//x", "a/", "a\\x", "..\\x", "a\0x",
        "a\nx", "a\u{7f}x", "a\u{85}x", &long,
    ] {
        let mut repo = Repo::new();
        repo.add_target("targets", name, b"content");
        repo.publish();
        let error = Client::of(&repo).find(&repo, name).expect_err(name);
        // A NUL is refused earlier, by the JSON reader.
        let expected = if name.contains('\0') {
            "malformed-metadata"
        } else {
            "unsafe-target-name"
        };
        assert_eq!(error.code(), expected, "{name:?}");
    }
    for name in [
        "x",
        "a/b/c.tar.gz",
        "with space",
        "..x",
        "x..",
        "ünïcode",
        "?",
        "%2e%2e/x",
        &"x".repeat(255),
    ] {
        let mut repo = Repo::new();
        repo.add_target("targets", name, b"content");
        repo.publish();
        assert!(
            Client::of(&repo).find(&repo, name).unwrap().is_some(),
            "{name:?}"
        );
    }
}

#[test]
fn role_names_are_quoted_wherever_they_become_files_or_urls() {
    for (role, quoted) in [
        ("?", "%3F"),
        ("#", "%23"),
        ("/r", "%2Fr"),
        ("../r", "..%2Fr"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("a%2Fb", "a%252Fb"),
        ("a~b-c_d.e", "a~b-c_d.e"),
        ("..", ".."),
    ] {
        assert_eq!(quoted_role(role), quoted);
        let mut repo = Repo::new();
        repo.delegate("targets", role, &[Key::new(60)], 1, &["*"], false);
        repo.publish();
        let bytes = repo.doc(role).bytes();
        repo.files.insert(format!("1.{quoted}.json"), bytes.clone());
        let mut client = Client::of(&repo);
        assert_eq!(client.find(&repo, "nothing"), Ok(None));
        assert_eq!(client.requests.last(), Some(&format!("1.{quoted}.json")));
        assert_eq!(client.store.get(&format!("{quoted}.json")), Some(&bytes));
    }
}

#[test]
fn published_names_bear_the_digest_where_the_repository_is_consistent() {
    let mut repo = Repo::with_delegation();
    let found = Client::of(&repo).find(&repo, "d/file").unwrap().unwrap();
    // SHA-256 of "content".
    let digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    assert_eq!(found.published_path(true), format!("d/{digest}.file"));
    assert_eq!(found.published_path(false), "d/file");
    let top = Client::of(&repo).find(&repo, "file").unwrap().unwrap();
    assert_eq!(top.published_path(true), format!("{digest}.file"));
    repo.bump_all();
}

#[test]
fn a_target_is_proven_by_length_and_digest() {
    let repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    let (mut flow, _) = client.try_refresh(&repo).unwrap();
    flow.find("d/file").unwrap();
    let Ok(Outcome::Found(found)) = client.drive(&mut flow, &repo.files) else {
        panic!("d/file is listed")
    };
    assert_eq!(
        prove_target(&found, b"content".to_vec()).unwrap().bytes(),
        b"content"
    );
    for (bytes, code) in [
        (&b""[..], "wrong-length"),
        (b"conten", "wrong-length"),
        (b"content ", "wrong-length"),
        (b"Content", "wrong-digest"),
    ] {
        assert_eq!(
            prove_target(&found, bytes.to_vec())
                .expect_err("not the target")
                .code(),
            code
        );
    }
}
