//! Documents that do not belong together.

use twinroot_trust::json::{Object, Value};

use crate::support::{Client, Repo};

const PINNED: [&str; 3] = ["snapshot", "targets", "delegated"];

#[test]
fn another_version_than_the_pinned_one_is_refused() {
    for role in PINNED {
        for version in [1u32, 3] {
            let mut repo = Repo::with_delegation();
            repo.hashes = false;
            repo.bump_all();
            let file = repo.file_of(role);
            repo.doc(role).set("version", version);
            let bytes = repo.doc(role).bytes();
            repo.files.insert(file, bytes);
            let mut client = Client::of(&repo);
            let error = client.update(&repo).expect_err(role);
            assert_eq!(error.code(), "mix-and-match", "{role}: {error}");
            assert_eq!(client.version(role), None);
        }
    }
}

#[test]
fn bytes_with_another_digest_or_length_than_the_pinned_ones_are_refused_unparsed() {
    for role in PINNED {
        let mut repo = Repo::with_delegation();
        let file = repo.file_of(role);
        let good = repo.files[&file].clone();
        let mut longer = good.clone();
        longer.push(b' ');
        repo.files.insert(file.clone(), longer);
        assert_eq!(
            Client::of(&repo).update(&repo).expect_err(role).code(),
            "wrong-length"
        );
        repo.files
            .insert(file.clone(), good[..good.len() - 1].to_vec());
        assert_eq!(
            Client::of(&repo).update(&repo).expect_err(role).code(),
            "wrong-length"
        );
        repo.files.insert(file.clone(), vec![0xff; good.len()]);
        assert_eq!(
            Client::of(&repo).update(&repo).expect_err(role).code(),
            "wrong-digest"
        );
    }
}

/// Facts of two mirrors: the timestamp of one, the snapshot of the other.
#[test]
fn parts_of_two_snapshots_are_refused_and_what_was_verified_is_kept() {
    let mut old = Repo::with_delegation();
    old.root.set("consistent_snapshot", false);
    old.hashes = false;
    old.publish();
    let mut new = old.clone();
    new.bump_all();
    let mut client = Client::of(&old);
    let mut mixed = new.clone();
    for file in ["snapshot.json", "delegated.json"] {
        mixed.files.insert(file.into(), old.files[file].clone());
    }
    assert_eq!(
        client.update(&mixed).expect_err("mixed").code(),
        "mix-and-match"
    );
    assert_eq!(client.version("timestamp"), Some(2));
    mixed
        .files
        .insert("snapshot.json".into(), new.files["snapshot.json"].clone());
    assert_eq!(
        client.update(&mixed).expect_err("mixed").code(),
        "mix-and-match"
    );
    assert_eq!(client.version("snapshot"), Some(2));
    client.update(&new).unwrap();
}

#[test]
fn all_known_digests_must_match_and_one_must_be_known() {
    let sha512_of_nothing = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
    for role in PINNED {
        let bend = |change: &dyn Fn(&mut Object)| {
            let mut repo = Repo::with_delegation();
            let holder = if role == "snapshot" {
                "timestamp"
            } else {
                "snapshot"
            };
            let meta = repo
                .doc(holder)
                .signed
                .get_mut("meta")
                .and_then(Value::as_object_mut)
                .unwrap();
            change(
                meta.get_mut(&format!("{role}.json"))
                    .and_then(Value::as_object_mut)
                    .unwrap(),
            );
            if holder == "snapshot" {
                repo.pin_snapshot();
            }
            repo.serve();
            let result = Client::of(&repo).update(&repo);
            result.map_err(|error| error.code())
        };
        let hashes = |entry: &mut Object, name: &str, value: &str| {
            entry
                .get_mut("hashes")
                .and_then(Value::as_object_mut)
                .unwrap()
                .insert(name, value);
        };
        assert_eq!(bend(&|_| ()), Ok(()), "{role}");
        assert_eq!(
            bend(&|entry| hashes(entry, "sha512", sha512_of_nothing)),
            Err("wrong-digest")
        );
        assert_eq!(
            bend(&|entry| hashes(entry, "sha256", &sha512_of_nothing[..64])),
            Err("wrong-digest")
        );
        assert_eq!(
            bend(&|entry| hashes(entry, "sha256", "")),
            Err("malformed-metadata")
        );
        assert_eq!(bend(&|entry| hashes(entry, "blake3", "00")), Ok(()));
        assert_eq!(
            bend(&|entry| entry.insert("hashes", Object::new())),
            Err("no-usable-digest")
        );
        assert_eq!(
            bend(&|entry| entry.insert("hashes", Object::new().with("blake3", "00"))),
            Err("no-usable-digest")
        );
        assert_eq!(
            bend(&|entry| entry.insert("hashes", Value::Null)),
            Err("malformed-metadata")
        );
        assert_eq!(
            bend(&|entry| entry.insert("length", 0u32)),
            Err("malformed-metadata")
        );
        // root-signing #1372: both are optional.
        assert_eq!(
            bend(&|entry| drop((entry.remove("length"), entry.remove("hashes")))),
            Ok(())
        );
        assert_eq!(
            bend(&|entry| drop(entry.remove("version"))),
            Err("malformed-metadata")
        );
        assert_eq!(
            bend(&|entry| entry.insert("version", 0u32)),
            Err("malformed-metadata")
        );
    }
}
