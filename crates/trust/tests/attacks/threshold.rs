//! Too few, repeated, empty or foreign signatures, on every role.

use twinroot_trust::json::{Object, Value};
use twinroot_trust::keys::{KeyPolicy, key_id};

use crate::support::{Client, Key, Repo, envelope, keys_object, role_object};

/// Makes the signatures of a document out of what it says.
type Forger<'a> = Box<dyn Fn(&Object) -> Vec<Object> + 'a>;

const ROLES: [&str; 5] = ["root", "timestamp", "snapshot", "targets", "delegated"];

/// The keys that sign for a role in `Repo::with_delegation`, and how many must.
fn keys_of(role: &str) -> (Vec<Key>, u64) {
    match role {
        "root" => ([1, 2, 3].map(Key::new).to_vec(), 2),
        "timestamp" => (vec![Key::new(4)], 1),
        "snapshot" => (vec![Key::new(5)], 1),
        "targets" => (vec![Key::new(6)], 1),
        _ => ([7, 8, 9].map(Key::new).to_vec(), 2),
    }
}

/// A client that has seen the repository, and the repository one step further. For root the step
/// is a new root version.
fn next_step(role: &str) -> (Client, Repo) {
    let mut repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.update(&repo).expect("the repository is good");
    if role == "root" {
        repo.bump("root");
    }
    // No digests, so that a document can be served with other signatures than it was pinned with.
    repo.hashes = false;
    repo.bump_all();
    (client, repo)
}

/// Serves the document of `role` as it is, with these signatures. Nothing may pin its digest.
fn serve_with(repo: &mut Repo, role: &str, signatures: Vec<Object>) {
    assert!(
        !repo.hashes,
        "a digest would be refused before the signatures are"
    );
    let bytes = envelope(&repo.doc(role).signed.clone(), signatures);
    let file = repo.file_of(role);
    repo.files.insert(file, bytes);
}

fn refused(role: &str, client: &mut Client, repo: &Repo, what: &str) {
    let error = client.update(repo).expect_err(what);
    let malformed = what.contains("repeated") && error.code() == "malformed-metadata";
    assert!(
        error.code() == "threshold-not-met" || malformed,
        "{role}, {what}: {error}"
    );
    assert!(
        error.to_string().contains(role),
        "the message names the role: {error}"
    );
}

/// The refused step has done no harm: the same step, properly signed, is accepted.
fn recovers(role: &str, mut client: Client) {
    let (_, good) = next_step(role);
    client
        .update(&good)
        .unwrap_or_else(|error| panic!("{role}: the good update fails: {error}"));
}

#[test]
#[allow(clippy::too_many_lines)] // one table
fn a_role_without_a_full_threshold_of_good_signatures_is_refused_whatever_stands_in_their_place() {
    for role in ROLES {
        let (keys, _) = keys_of(role);
        let cases: Vec<(&str, Forger)> = vec![
            ("no signatures", Box::new(|_| vec![])),
            (
                "signatures of strangers",
                Box::new(|signed| {
                    [20, 21, 22]
                        .map(|seed| Key::new(seed).signature(signed))
                        .to_vec()
                }),
            ),
            (
                "empty signatures",
                Box::new(|signed| {
                    keys.iter()
                        .map(|key| key.signature(signed).with("sig", ""))
                        .collect()
                }),
            ),
            (
                "signatures that are no hex",
                Box::new(|signed| {
                    keys.iter()
                        .map(|key| key.signature(signed).with("sig", "zz".repeat(64)))
                        .collect()
                }),
            ),
            (
                "signatures of 63 bytes",
                Box::new(|signed| keys.iter().map(|key| shortened(key, signed, 126)).collect()),
            ),
            (
                "signatures of 65 bytes",
                Box::new(|signed| keys.iter().map(|key| lengthened(key, signed)).collect()),
            ),
            (
                "signatures of zeros",
                Box::new(|signed| {
                    keys.iter()
                        .map(|key| key.signature(signed).with("sig", "0".repeat(128)))
                        .collect()
                }),
            ),
            (
                "signatures over something else",
                Box::new(|signed| {
                    let other = signed.clone().with("version", 99u32);
                    keys.iter().map(|key| key.signature(&other)).collect()
                }),
            ),
            (
                "a stranger's signature under a good key id",
                Box::new(|signed| {
                    let stranger = Key::new(20).signature(signed);
                    keys.iter()
                        .map(|key| stranger.clone().with("keyid", key.id()))
                        .collect()
                }),
            ),
            (
                "signatures without a key id",
                Box::new(|signed| {
                    keys.iter()
                        .map(|key| without(key.signature(signed), "keyid"))
                        .collect()
                }),
            ),
            (
                "signatures without a signature",
                Box::new(|signed| {
                    keys.iter()
                        .map(|key| without(key.signature(signed), "sig"))
                        .collect()
                }),
            ),
        ];
        for (what, signatures) in cases {
            let (mut client, mut repo) = next_step(role);
            let signatures = signatures(&repo.doc(role).signed);
            serve_with(&mut repo, role, signatures);
            let before = client.version(role);
            refused(role, &mut client, &repo, what);
            assert_eq!(
                client.version(role),
                before,
                "{role} stays as it was, {what}"
            );
            recovers(role, client);
        }
    }
}

fn shortened(key: &Key, signed: &Object, digits: usize) -> Object {
    let signature = key.signature(signed);
    let text = signature.get("sig").unwrap().as_str().unwrap()[..digits].to_string();
    signature.with("sig", text)
}

fn lengthened(key: &Key, signed: &Object) -> Object {
    let signature = key.signature(signed);
    let text = signature.get("sig").unwrap().as_str().unwrap().to_string() + "00";
    signature.with("sig", text)
}

fn without(mut object: Object, name: &str) -> Object {
    object.remove(name);
    object
}

#[test]
fn one_signer_does_not_become_two_by_repeating_its_signature() {
    for role in ["root", "delegated"] {
        let (keys, _) = keys_of(role);
        let (mut client, mut repo) = next_step(role);
        let one = keys[0].signature(&repo.doc(role).signed);
        serve_with(&mut repo, role, vec![one.clone(), one.clone(), one.clone()]);
        refused(role, &mut client, &repo, "repeated signature");
        serve_with(&mut repo, role, vec![one]);
        refused(role, &mut client, &repo, "one signature of two");
        recovers(role, client);
    }
}

#[test]
fn a_repeated_key_id_in_signatures_is_refused_even_where_the_threshold_is_met() {
    for role in ROLES {
        let (keys, _) = keys_of(role);
        let (mut client, mut repo) = next_step(role);
        let mut all: Vec<_> = keys
            .iter()
            .map(|key| key.signature(&repo.doc(role).signed))
            .collect();
        all.push(all[0].clone());
        serve_with(&mut repo, role, all);
        assert_eq!(
            client.update(&repo).expect_err(role).code(),
            "malformed-metadata"
        );
        recovers(role, client);
    }
}

#[test]
fn a_key_id_that_stands_twice_in_a_role_counts_once() {
    for role in ROLES {
        let mut repo = Repo::with_delegation();
        let (keys, _) = keys_of(role);
        let twice: Value = [keys[0].id(), keys[0].id()].into_iter().collect();
        repo.role_entry(role).insert("keyids", twice);
        repo.role_entry(role).insert("threshold", 2u32);
        repo.doc(role).signers = vec![keys[0].clone()];
        repo.publish();
        let mut client = Client::of(&repo);
        let error = client.update(&repo).expect_err(role);
        assert_eq!(error.code(), "threshold-not-met", "{role}: {error}");
    }
}

/// GHSA-3633-5h82-39pq and its kin: strict key ids do not stop this, since a member more makes
/// another id for the same key.
#[test]
fn one_key_under_two_key_ids_is_refused_under_either_key_id_rule() {
    for role in ROLES {
        for policy in [KeyPolicy::node(), KeyPolicy::foreign()] {
            let mut repo = Repo::with_delegation();
            let (keys, _) = keys_of(role);
            let twin = keys[0].object().with("x-note", "the same key again");
            let twin_id = key_id(&twin).to_string();
            repo.keys_entry(role).insert(twin_id.clone(), twin);
            let ids: Value = [keys[0].id(), twin_id.clone()].into_iter().collect();
            repo.role_entry(role).insert("keyids", ids);
            repo.role_entry(role).insert("threshold", 2u32);
            repo.doc(role).signers = keys.clone();
            repo.hashes = false;
            repo.publish();
            let signed = repo.doc(role).signed.clone();
            let first = keys[0].signature(&signed);
            let second = first.clone().with("keyid", twin_id);
            serve_with(&mut repo, role, vec![first, second]);
            let mut client = Client::of(&repo);
            client.policy = policy;
            let error = client.update(&repo).expect_err(role);
            assert_eq!(error.code(), "duplicate-key", "{role}: {error}");
        }
    }
}

/// GHSA-fphv-w9fq-2525: a threshold of 0 lets everything pass.
#[test]
fn thresholds_that_are_not_at_least_one_are_refused() {
    let bad: [Value; 7] = [
        0u32.into(),
        Value::Null,
        "1".into(),
        true.into(),
        Value::Array(vec![1u32.into()]),
        Value::Integer(1 << 63),
        Value::Integer(u64::MAX),
    ];
    for role in ROLES {
        for threshold in &bad {
            let mut repo = Repo::with_delegation();
            repo.role_entry(role).insert("threshold", threshold.clone());
            repo.publish();
            let error = Client::of(&repo).update(&repo).expect_err(role);
            assert_eq!(
                error.code(),
                "malformed-metadata",
                "{role}, {threshold:?}: {error}"
            );
        }
        let mut repo = Repo::with_delegation();
        repo.role_entry(role).remove("threshold");
        repo.publish();
        assert_eq!(
            Client::of(&repo).update(&repo).expect_err(role).code(),
            "malformed-metadata"
        );
        // Negative numbers and 2^64 cannot be built as trees; as text they are refused too.
        for text in ["-1", "18446744073709551616", "1.0", "1e0"] {
            let mut repo = Repo::with_delegation();
            repo.role_entry(role).insert("threshold", 77_777u32);
            repo.publish();
            let holder = if role == "delegated" {
                "targets"
            } else {
                "root"
            };
            let file = repo.file_of(holder);
            let bytes = String::from_utf8(repo.doc(holder).bytes()).unwrap();
            let bytes = bytes.replace("77777", text).into_bytes();
            repo.hashes = false;
            repo.publish();
            repo.files.insert(file, bytes.clone());
            let mut client = Client::of(&repo);
            if holder == "root" {
                client.store.insert("root.json".into(), bytes);
            }
            assert_eq!(
                client.update(&repo).expect_err(role).code(),
                "malformed-metadata",
                "{role}, {text}"
            );
        }
    }
}

#[test]
fn a_threshold_above_the_number_of_keys_cannot_be_met() {
    for role in ROLES {
        let mut repo = Repo::with_delegation();
        let (keys, _) = keys_of(role);
        repo.role_entry(role)
            .insert("threshold", keys.len() as u64 + 1);
        repo.doc(role).signers = keys;
        repo.publish();
        let error = Client::of(&repo).update(&repo).expect_err(role);
        assert_eq!(error.code(), "threshold-not-met", "{role}: {error}");
    }
}

#[test]
fn keys_of_another_role_do_not_count() {
    for role in ROLES {
        let (mut client, mut repo) = next_step(role);
        let others = ROLES
            .iter()
            .filter(|other| **other != role)
            .flat_map(|other| keys_of(other).0);
        let signed = repo.doc(role).signed.clone();
        let signatures = others.map(|key| key.signature(&signed)).collect();
        serve_with(&mut repo, role, signatures);
        refused(role, &mut client, &repo, "signatures of all other roles");
        recovers(role, client);
    }
}

#[test]
fn bad_signatures_beside_a_full_threshold_do_no_harm() {
    for role in ROLES {
        let (keys, threshold) = keys_of(role);
        let (mut client, mut repo) = next_step(role);
        let signed = repo.doc(role).signed.clone();
        let mut signatures: Vec<_> = keys
            .iter()
            .take(threshold as usize)
            .map(|key| key.signature(&signed))
            .collect();
        signatures.insert(0, Key::new(20).signature(&signed));
        signatures.insert(0, Object::new().with("keyid", "someone").with("sig", ""));
        signatures.insert(0, Object::new().with("nonsense", 1u32));
        if let Some(third) = keys.get(threshold as usize) {
            signatures.push(third.signature(&signed).with("sig", "00"));
        }
        serve_with(&mut repo, role, signatures);
        client
            .update(&repo)
            .unwrap_or_else(|error| panic!("{role}: {error}"));
    }
}

#[test]
fn any_two_of_three_signers_will_do() {
    for pair in [[1, 2], [1, 3], [2, 3]] {
        let mut repo = Repo::with_delegation();
        let mut client = Client::of(&repo);
        repo.bump("root");
        repo.root.signers = pair.map(Key::new).to_vec();
        repo.targets.get_mut("delegated").unwrap().signers =
            pair.map(|seed| Key::new(seed + 6)).to_vec();
        repo.bump_all();
        client.update(&repo).unwrap();
        assert_eq!(client.version("root"), Some(2));
    }
}

#[test]
fn keys_of_kinds_that_are_not_known_are_kept_and_count_for_nothing() {
    for role in ROLES {
        let mut repo = Repo::with_delegation();
        let (keys, _) = keys_of(role);
        let future = Object::new()
            .with("keytype", "ml-dsa")
            .with("scheme", "ml-dsa-65")
            .with("keyval", Object::new().with("public", "00"));
        let future_id = key_id(&future).to_string();
        repo.keys_entry(role).insert(future_id.clone(), future);
        let mut ids: Vec<_> = keys.iter().map(Key::id).collect();
        ids.push(future_id.clone());
        repo.role_entry(role)
            .insert("keyids", Value::from_iter(ids));
        repo.publish();
        Client::of(&repo)
            .update(&repo)
            .unwrap_or_else(|error| panic!("{role}: {error}"));
        repo.role_entry(role)
            .insert("threshold", keys.len() as u64 + 1);
        repo.hashes = false;
        repo.publish();
        let signed = repo.doc(role).signed.clone();
        let mut signatures: Vec<_> = keys.iter().map(|key| key.signature(&signed)).collect();
        signatures.push(Object::new().with("keyid", future_id).with("sig", "00"));
        serve_with(&mut repo, role, signatures);
        let mut client = Client::of(&repo);
        if role == "root" {
            client
                .store
                .insert("root.json".into(), repo.files["1.root.json"].clone());
        }
        assert_eq!(
            client.update(&repo).expect_err(role).code(),
            "threshold-not-met"
        );
    }
}

#[test]
fn a_role_whose_keys_are_not_in_the_document_cannot_be_signed() {
    let mut repo = Repo::with_delegation();
    let strangers = [Key::new(30), Key::new(31)];
    *repo.role_entry("delegated") = role_object(&strangers, 1)
        .with("name", "delegated")
        .with("terminating", false)
        .with("paths", Value::from_iter(["d/*"]));
    repo.doc("delegated").signers = strangers.to_vec();
    repo.publish();
    assert_eq!(
        Client::of(&repo).update(&repo).expect_err("no keys").code(),
        "threshold-not-met"
    );
    // With the keys in place the same repository is good: the test sees what it means to see.
    let keys = keys_object(&strangers);
    keys.iter()
        .for_each(|(id, key)| repo.keys_entry("delegated").insert(id, key.clone()));
    repo.publish();
    Client::of(&repo).update(&repo).expect("the keys are there");
}
