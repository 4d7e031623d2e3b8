//! Keys that verify what nobody signed, and the forms in which keys are written.

use twinroot_trust::json::{Object, parse};
use twinroot_trust::keys::{KeyPolicy, Keys, PublicKey, ed25519_key_object, key_id};

use crate::support::{Client, Key, Repo};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// The eight points of small order, and encodings of points that have another encoding.
/// Source: the list in "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), table 1.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn keys_of_small_order_or_of_a_second_encoding_verify_nothing() {
    // With a small-order key A and R = A or the identity, s = 0 passes plain verification of
    // some messages; none may pass here.
    for key in SMALL_ORDER {
        let public = PublicKey::ed25519(&bytes(key));
        for r in SMALL_ORDER {
            let signature = [bytes(r), vec![0; 32]].concat();
            for message in 0u8..32 {
                assert!(
                    !public.verifies(&[message], &signature),
                    "{key} verifies with R = {r}"
                );
            }
        }
    }
}

#[test]
fn keys_and_signatures_of_another_length_verify_nothing_and_do_not_panic() {
    let key = Key::new(1);
    let object = key.object();
    let public = bytes(
        object
            .get("keyval")
            .unwrap()
            .as_object()
            .unwrap()
            .get("public")
            .unwrap()
            .as_str()
            .unwrap(),
    );
    let signature = bytes(&key.sign(b"message"));
    assert!(PublicKey::ed25519(&public).verifies(b"message", &signature));
    for length in [0, 1, 31, 33, 64, 1000] {
        let mut other = public.clone();
        other.resize(length, 0);
        assert!(!PublicKey::ed25519(&other).verifies(b"message", &signature));
    }
    for length in [0, 1, 63, 65, 128, 1000] {
        let mut other = signature.clone();
        other.resize(length, 0);
        assert!(!PublicKey::ed25519(&public).verifies(b"message", &other));
    }
}

/// S + L is the same signature in plain arithmetic; malleable signatures are refused.
#[test]
fn a_signature_with_s_not_below_the_group_order_is_refused() {
    let key = Key::new(1);
    let object = key.object();
    let public = bytes(
        object
            .get("keyval")
            .unwrap()
            .as_object()
            .unwrap()
            .get("public")
            .unwrap()
            .as_str()
            .unwrap(),
    );
    let order = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut signature = bytes(&key.sign(b"message"));
    let mut carry = 0u16;
    for at in 0..32 {
        let sum = u16::from(signature[32 + at]) + u16::from(order[at]) + carry;
        signature[32 + at] = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!PublicKey::ed25519(&public).verifies(b"message", &signature));
}

/// One documented answer: hex of keys and signatures may be of either case; the key is the same.
#[test]
fn hex_of_either_case_is_the_same_key() {
    let key = Key::new(1);
    let text = key
        .object()
        .get("keyval")
        .unwrap()
        .as_object()
        .unwrap()
        .get("public")
        .unwrap()
        .as_str()
        .unwrap()
        .to_uppercase();
    let upper = key
        .object()
        .with("keyval", Object::new().with("public", text));
    let both = Object::new()
        .with(key.id(), key.object())
        .with(key_id(&upper).to_string(), upper);
    let error = Keys::from_object(&both, KeyPolicy::node()).expect_err("one key under two ids");
    assert!(
        matches!(error, twinroot_trust::keys::KeyError::DuplicateKey { .. }),
        "{error}"
    );
}

#[test]
fn a_key_id_that_does_not_follow_from_its_key_is_refused_where_ids_are_computed() {
    for role in ["root", "delegated"] {
        let mut repo = Repo::with_delegation();
        let key = if role == "root" {
            Key::new(1)
        } else {
            Key::new(7)
        };
        // A member added after the id was made, as a public repository once did.
        repo.keys_entry(role)
            .insert(key.id(), key.object().with("x-added-later", "1"));
        repo.publish();
        let mut client = Client::of(&repo);
        assert_eq!(
            client.update(&repo).expect_err(role).code(),
            "keyid-mismatch"
        );
        client.policy = KeyPolicy::foreign();
        client
            .update(&repo)
            .unwrap_or_else(|error| panic!("declared ids are believed: {error}"));
    }
}

#[test]
fn the_key_id_is_the_one_that_other_implementations_compute() {
    // Key and id from the ed25519 example in section 4.2 of the TUF specification.
    let public = bytes("72378e5bc588793e58f81c8533da64a2e8f1565c1fcc7f253496394ffc52542c");
    let object = ed25519_key_object(public.as_slice().try_into().unwrap());
    assert_eq!(
        key_id(&object).to_string(),
        "1bf1c6e3cdd3d3a8420b19199e27511999850f4b376c4547b2f32fba7e80fca3"
    );
}

/// Key, digest and signature made with the `cryptography` package of Python (fixtures/p256).
const P256: &str = include_str!("../fixtures/p256/keys.json");

#[test]
fn p256_keys_count_only_where_the_policy_says_so_in_all_their_written_forms() {
    let tree = parse(P256.as_bytes()).unwrap();
    let fixture = tree.as_object().unwrap();
    let text = |name: &str| fixture.get(name).unwrap().as_str().unwrap().to_string();
    let (message, signature) = (text("message").into_bytes(), bytes(&text("signature")));
    let forms = [
        ("ecdsa", "pem"),
        ("ecdsa-sha2-nistp256", "pem"),
        ("ecdsa-sha2-nistp256", "hex"),
        ("ecdsa-sha2-nistp256", "hex-compressed"),
    ];
    for (keytype, form) in forms {
        let object = Object::new()
            .with("keytype", keytype)
            .with("scheme", "ecdsa-sha2-nistp256")
            .with("keyval", Object::new().with("public", text(form)));
        let foreign = PublicKey::from_object("id", &object, KeyPolicy::foreign()).unwrap();
        assert!(foreign.verifies(&message, &signature), "{keytype}, {form}");
        assert!(!foreign.verifies(b"other", &signature));
        let node = PublicKey::from_object("id", &object, KeyPolicy::node()).unwrap();
        assert!(
            !node.verifies(&message, &signature),
            "a node takes ed25519 only"
        );
        let other = object.clone().with("scheme", "ecdsa-sha2-nistp384");
        let other = PublicKey::from_object("id", &other, KeyPolicy::foreign()).unwrap();
        assert!(!other.verifies(&message, &signature));
    }
    let pem = |text: String| {
        let object = Object::new()
            .with("keytype", "ecdsa")
            .with("scheme", "ecdsa-sha2-nistp256")
            .with("keyval", Object::new().with("public", text));
        PublicKey::from_object("id", &object, KeyPolicy::foreign()).unwrap()
    };
    let good = text("pem");
    assert!(pem(good.clone()).verifies(&message, &signature));
    for at in 0..signature.len() {
        let mut bent = signature.clone();
        bent[at] ^= 1;
        assert!(!pem(good.clone()).verifies(&message, &bent), "byte {at}");
    }
    assert!(!pem(good.clone()).verifies(&message, &[signature.clone(), vec![0]].concat()));
    assert!(!pem(good.clone()).verifies(&message, &[]));
    for bad in [
        String::new(),
        good.replace("PUBLIC", "PRIVATE"),
        good.replace('M', "N"),
        "04".repeat(65),
        "zz".into(),
    ] {
        assert!(!pem(bad).verifies(&message, &signature));
    }
    assert!(!pem(text("other-pem")).verifies(&message, &signature));
}

#[test]
fn one_p256_key_in_two_forms_is_one_key() {
    let tree = parse(P256.as_bytes()).unwrap();
    let fixture = tree.as_object().unwrap();
    let object = |form: &str| {
        Object::new()
            .with("keytype", "ecdsa-sha2-nistp256")
            .with("scheme", "ecdsa-sha2-nistp256")
            .with(
                "keyval",
                Object::new().with("public", fixture.get(form).unwrap().as_str().unwrap()),
            )
    };
    for other in ["hex", "hex-compressed"] {
        let both = Object::new()
            .with("a", object("pem"))
            .with("b", object(other));
        let error = Keys::from_object(&both, KeyPolicy::foreign()).expect_err("one key");
        assert!(
            matches!(error, twinroot_trust::keys::KeyError::DuplicateKey { .. }),
            "{error}"
        );
    }
}
