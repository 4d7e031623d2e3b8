//! Documents that are broken, twisted or from the future: refused by name, never a panic.

use twinroot_trust::json::{Object, Value, compact, parse};

use crate::support::{Client, Key, Repo, envelope};

const ROLES: [&str; 5] = ["root", "timestamp", "snapshot", "targets", "delegated"];

fn code_of(repo: &Repo) -> Result<(), &'static str> {
    Client::of(repo).update(repo).map_err(|error| error.code())
}

/// Every single byte of every document, changed in one of three ways. Either it is refused, or
/// what is trusted is what was signed.
#[test]
fn no_changed_byte_of_any_document_is_ever_believed() {
    let (mut repo, first) = two_roots();
    let (mut tried, mut harmless) = (0, 0);
    for role in ROLES {
        let file = repo.file_of(role);
        let good = repo.files[&file].clone();
        let signed = signed_part(&good);
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] = [good[at] ^ 1, b'"', b' '][at % 3];
            if bytes == good {
                continue;
            }
            repo.files.insert(file.clone(), bytes.clone());
            tried += 1;
            match first.clone().look(&repo) {
                Err(error) => assert!(!error.to_string().is_empty()),
                Ok(()) => {
                    assert_eq!(
                        signed_part(&bytes),
                        signed,
                        "{role}: byte {at} changed what is signed"
                    );
                    // It alone carries a signature more than its threshold asks for.
                    assert_eq!(role, "delegated", "byte {at} does not matter");
                    harmless += 1;
                }
            }
        }
        repo.files.insert(file, good);
    }
    assert!(
        tried > 4000 && harmless > 0,
        "{harmless} of {tried} changes were harmless"
    );
}

/// A repository at root version 2 without pinned digests, and a client that knows root 1.
fn two_roots() -> (Repo, Client) {
    let mut repo = Repo::with_delegation();
    repo.hashes = false;
    let first = Client::of(&repo);
    repo.bump("root");
    repo.publish();
    (repo, first)
}

fn signed_part(bytes: &[u8]) -> Option<Value> {
    parse(bytes).ok()?.as_object()?.get("signed").cloned()
}

/// Every truncation of every document.
#[test]
fn no_truncated_document_is_believed() {
    for role in ROLES {
        let (mut repo, first) = two_roots();
        let file = repo.file_of(role);
        let good = repo.files[&file].clone();
        for length in 0..good.len() {
            repo.files.insert(file.clone(), good[..length].to_vec());
            let mut client = first.clone();
            assert_eq!(
                client.update(&repo).expect_err(role).code(),
                "malformed-metadata"
            );
        }
    }
}

/// The hostile corpus of the JSON reader, inside an envelope that would be good otherwise.
#[test]
fn ambiguous_json_is_refused_before_any_signature_is_looked_at() {
    for role in ROLES {
        let (mut repo, first) = two_roots();
        let file = repo.file_of(role);
        let good = String::from_utf8(repo.files[&file].clone()).unwrap();
        let deep = format!("{{\"x\":{}{},", "[".repeat(1000), "]".repeat(1000));
        let version = format!("\"version\":{}", repo.doc(role).version());
        assert!(good.contains(&version));
        let bent: Vec<Vec<u8>> = vec![
            format!("\u{feff}{good}").into_bytes(),
            format!("{good} {{}}").into_bytes(),
            format!("{good}\0").into_bytes(),
            good.replacen(&version, &format!("{version},\"vers\\u0069on\":99"), 1)
                .into_bytes(),
            good.replacen(&version, &format!("{version},{version}"), 1)
                .into_bytes(),
            good.replacen(&version, &format!("{version}.0"), 1)
                .into_bytes(),
            good.replacen(&version, "\"version\":-0", 1).into_bytes(),
            good.replacen(&version, "\"version\":1e0", 1).into_bytes(),
            good.replacen('{', &deep, 1).into_bytes(),
            good.replacen('{', "{\"x\":\"\\ud800\",", 1).into_bytes(),
            good.replacen('{', "{\"x\":\"\\u0000\",", 1).into_bytes(),
            good.replacen('{', "{\"signed\":{},", 1).into_bytes(),
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            b"<html>Please log in</html>".to_vec(),
            b"[]".to_vec(),
            b"null".to_vec(),
            b"{}".to_vec(),
            Vec::new(),
            vec![0; 100],
        ];
        for bytes in bent {
            repo.files.insert(file.clone(), bytes.clone());
            let mut client = first.clone();
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            assert_eq!(
                client.update(&repo).expect_err(&shown).code(),
                "malformed-metadata",
                "{role}: {shown}"
            );
        }
    }
}

/// go-tuf #710, #713, #721, #739: panics on members of an unexpected kind. Here every member at
/// every place is replaced by every kind of value and by nothing, properly signed.
#[test]
fn members_of_an_unexpected_kind_never_panic() {
    let odd = [
        Value::Null,
        Value::Integer(0),
        "x".into(),
        Value::Array(vec![Value::Null]),
        Value::from(Object::new().with("x", Value::Null)),
    ];
    let mut tried = 0;
    for role in ROLES {
        let mut template = Repo::with_delegation();
        template.hashes = false;
        template.publish();
        let places = places_in(&Value::Object(template.doc(role).signed.clone()));
        for place in &places {
            for value in odd.iter().map(Some).chain([None]) {
                let mut repo = template.clone();
                let mut tree = Value::Object(repo.doc(role).signed.clone());
                replace(&mut tree, place, value);
                repo.doc(role).signed = tree.as_object().unwrap().clone();
                repo.serve();
                // Any refusal will do, and so will acceptance where the member does not matter.
                _ = Client::of(&repo).look(&repo);
                tried += 1;
            }
        }
        for value in &odd {
            let mut repo = template.clone();
            let file = repo.file_of(role);
            let whole = Object::new()
                .with("signed", value.clone())
                .with("signatures", Value::Array(vec![]));
            repo.files
                .insert(file.clone(), compact(&whole.into()).into_bytes());
            let mut client = Client::of(&repo);
            assert!(role == "root" || client.update(&repo).is_err());
            let odd_signatures = Object::new()
                .with("signed", repo.doc(role).signed.clone())
                .with("signatures", value.clone());
            repo.files
                .insert(file, compact(&odd_signatures.into()).into_bytes());
            assert!(role == "root" || Client::of(&repo).update(&repo).is_err());
        }
    }
    assert!(tried > 500, "only {tried} documents were tried");
}

/// The paths (member names) to every member in a tree.
fn places_in(tree: &Value) -> Vec<Vec<String>> {
    let Some(object) = tree.as_object() else {
        return vec![];
    };
    let mut places = Vec::new();
    for (name, value) in object.iter() {
        places.push(vec![name.to_string()]);
        for mut below in places_in(value) {
            below.insert(0, name.to_string());
            places.push(below);
        }
    }
    places
}

fn replace(tree: &mut Value, place: &[String], value: Option<&Value>) {
    let object = tree.as_object_mut().unwrap();
    match place {
        [last] => match value {
            Some(value) => object.insert(last.clone(), value.clone()),
            None => drop(object.remove(last)),
        },
        [first, rest @ ..] => replace(object.get_mut(first).unwrap(), rest, value),
        [] => unreachable!("places are not empty"),
    }
}

#[test]
fn members_that_must_be_there_are_asked_for() {
    for role in ROLES {
        for member in ["_type", "spec_version", "version", "expires"] {
            let mut repo = Repo::with_delegation();
            repo.doc(role).signed.remove(member);
            repo.hashes = false;
            repo.publish();
            let serve_as_first = repo.doc(role).bytes();
            if role != "root" && member == "version" {
                let file = if role == "timestamp" {
                    "timestamp.json".into()
                } else {
                    format!("1.{role}.json")
                };
                repo.files.insert(file, serve_as_first);
            }
            assert!(code_of(&repo).is_err(), "{role} without {member}");
        }
    }
}

#[test]
fn a_document_of_one_role_does_not_pass_for_another() {
    for role in ROLES {
        for kind in ["root", "timestamp", "snapshot", "targets", "mirrors", ""] {
            let own = if role == "delegated" { "targets" } else { role };
            let mut repo = Repo::with_delegation();
            repo.doc(role).set("_type", kind);
            repo.publish();
            let expected = if kind == own {
                Ok(())
            } else {
                Err("malformed-metadata")
            };
            assert_eq!(code_of(&repo), expected, "{role} that says it is {kind:?}");
        }
    }
}

#[test]
fn only_specification_1_is_followed() {
    for (spec, followed) in [
        ("1.0.34", true),
        ("1.0", true),
        ("1.99.7", true),
        ("2.0.0", false),
        ("0.9.0", false),
        ("1", false),
        ("", false),
        ("1.0.0.0", false),
        ("1.0.x", false),
        ("1.-1.0", false),
        ("01.0.0", false),
        ("11.0.0", false),
    ] {
        for role in ROLES {
            let mut repo = Repo::with_delegation();
            repo.doc(role).set("spec_version", spec);
            repo.publish();
            let expected = if followed {
                Ok(())
            } else {
                Err("client-too-old")
            };
            assert_eq!(code_of(&repo), expected, "{role} of specification {spec:?}");
        }
    }
}

#[test]
fn members_that_nobody_knows_are_covered_by_the_signature_and_kept() {
    for role in ROLES {
        let mut repo = Repo::with_delegation();
        repo.doc(role).set("x-tuf-on-ci-expiry-period", 365u32);
        repo.doc(role).set(
            "nested",
            Object::new().with("ünïcode", Value::from_iter(["\n", "\"", "\\", "\u{7f}"])),
        );
        repo.hashes = false;
        repo.publish();
        assert_eq!(code_of(&repo), Ok(()), "{role}");
        // Changing such a member breaks the signature.
        let file = repo.file_of(role);
        let mut signed = repo.doc(role).signed.clone();
        let honest: Vec<_> = repo
            .doc(role)
            .signers
            .iter()
            .map(|key| key.signature(&signed))
            .collect();
        signed.insert("x-tuf-on-ci-expiry-period", 366u32);
        let bytes = envelope(&signed, honest);
        let mut client = Client::of(&repo);
        if role == "root" {
            client.store.insert("root.json".into(), bytes.clone());
        }
        repo.files.insert(file, bytes);
        assert_eq!(
            client.update(&repo).expect_err(role).code(),
            "threshold-not-met"
        );
    }
}

#[test]
fn versions_start_at_one() {
    for role in ROLES {
        let mut repo = Repo::with_delegation();
        repo.doc(role).set("version", 0u32);
        repo.publish();
        assert_eq!(code_of(&repo), Err("malformed-metadata"), "{role}");
    }
}

#[test]
fn targets_need_a_length_and_a_digest() {
    let bend = |change: &dyn Fn(&mut Object)| {
        let mut repo = Repo::with_delegation();
        let listed = repo
            .doc("delegated")
            .signed
            .get_mut("targets")
            .and_then(Value::as_object_mut)
            .unwrap();
        change(
            listed
                .get_mut("d/file")
                .and_then(Value::as_object_mut)
                .unwrap(),
        );
        repo.publish();
        code_of(&repo)
    };
    assert_eq!(bend(&|_| ()), Ok(()));
    assert_eq!(
        bend(&|target| target.insert("custom", Object::new().with("any", "thing"))),
        Ok(())
    );
    assert_eq!(bend(&|target| target.insert("length", 0u32)), Ok(()));
    assert_eq!(
        bend(&|target| drop(target.remove("length"))),
        Err("malformed-metadata")
    );
    assert_eq!(
        bend(&|target| target.insert("length", "7")),
        Err("malformed-metadata")
    );
    assert_eq!(
        bend(&|target| drop(target.remove("hashes"))),
        Err("malformed-metadata")
    );
    assert_eq!(
        bend(&|target| target.insert("hashes", Object::new())),
        Err("no-usable-digest")
    );
    assert_eq!(
        bend(&|target| target.insert("hashes", Object::new().with("md5", "00"))),
        Err("no-usable-digest")
    );
}

#[test]
fn the_reason_names_role_and_member() {
    let mut repo = Repo::with_delegation();
    repo.delegation("targets", "delegated")
        .insert("threshold", 0u32);
    repo.doc("targets").signers = vec![Key::new(6)];
    repo.publish();
    let error = Client::of(&repo)
        .update(&repo)
        .expect_err("threshold 0")
        .to_string();
    assert!(
        error.contains("targets") && error.contains("threshold"),
        "{error}"
    );
}
