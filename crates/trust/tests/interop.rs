//! Promise: repositories that other implementations made are read, target for target.
//!
//! The fixtures' own READMEs say who made them and how.
#![allow(clippy::disallowed_methods)] // fixtures are files; the crate itself is given bytes
#![allow(clippy::unwrap_used)] // a helper that cannot go on panics, as its test would

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::{Client, Stop};
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::tuf::{
    Anchor, Expiry, Limits, Outcome, Refreshed, TufError, Workflow, prove_target,
};

struct Foreign {
    folder: PathBuf,
    served: BTreeMap<String, Vec<u8>>,
    client: Client,
}

impl Foreign {
    fn open(origin: &str, name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(origin)
            .join(name);
        let mut served = BTreeMap::new();
        for entry in std::fs::read_dir(folder.join("metadata")).expect("the fixture is there") {
            let entry = entry.expect("a readable folder");
            let file = entry.file_name().into_string().expect("plain names");
            served.insert(file, std::fs::read(entry.path()).expect("a readable file"));
        }
        let store = [("root.json".to_string(), served["1.root.json"].clone())].into();
        let (now, limits, policy) = (support::NOW, Limits::foreign(), KeyPolicy::foreign());
        let client = Client {
            store,
            requests: vec![],
            now,
            policy,
            limits,
            image: None,
            dies_before: None,
        };
        Self {
            folder,
            served,
            client,
        }
    }

    fn start(&mut self) -> Result<(Workflow, Refreshed), TufError> {
        let anchor = Anchor::Stored(self.client.store["root.json"].clone());
        let mut flow = Workflow::start(
            anchor,
            Expiry::Judged(self.client.now),
            self.client.policy,
            self.client.limits,
        )?;
        match self.drive(&mut flow)? {
            Outcome::Refreshed(refreshed) => Ok((flow, refreshed)),
            other => panic!("a refresh ended with {other:?}"),
        }
    }

    fn drive(&mut self, flow: &mut Workflow) -> Result<Outcome, TufError> {
        self.client
            .drive(flow, &self.served)
            .map_err(|stop| match stop {
                Stop::Refused(error) => error,
                Stop::Died => unreachable!("this client does not die"),
            })
    }

    /// Finds a target, reads it as it is published, and proves it.
    fn fetch(&mut self, target: &str) -> Option<Vec<u8>> {
        let (mut flow, _) = self.start().expect("the repository is good");
        flow.find(target).expect("a plain name");
        match self
            .drive(&mut flow)
            .expect("every role on the way is good")
        {
            Outcome::Found(found) => {
                let name = found.published_path(flow.trusted().root().consistent_snapshot);
                let bytes =
                    std::fs::read(self.folder.join("targets").join(name)).expect("published");
                Some(
                    prove_target(&found, bytes)
                        .expect("the signed bytes")
                        .bytes()
                        .to_vec(),
                )
            }
            Outcome::NotFound { .. } => None,
            other => panic!("a search ended with {other:?}"),
        }
    }
}

#[test]
fn a_plain_repository_of_python_tuf_is_read() {
    let mut repo = Foreign::open("python-tuf", "plain");
    assert_eq!(
        repo.fetch("file.txt").as_deref(),
        Some(&b"plain content\n"[..])
    );
    assert_eq!(
        repo.fetch("dir/with space and ümlaut.txt").as_deref(),
        Some(&b"named with care\n"[..])
    );
    assert_eq!(repo.fetch("missing"), None);
}

#[test]
fn a_repository_without_consistent_snapshots_is_read() {
    let mut repo = Foreign::open("python-tuf", "not-consistent");
    assert_eq!(
        repo.fetch("file.txt").as_deref(),
        Some(&b"plain content\n"[..])
    );
    assert_eq!(repo.client.requests[..2], ["2.root.json", "timestamp.json"]);
}

#[test]
fn delegations_of_python_tuf_are_followed() {
    let mut repo = Foreign::open("python-tuf", "delegations");
    assert_eq!(
        repo.fetch("a/file").as_deref(),
        Some(&b"by two of three\n"[..])
    );
    assert_eq!(
        repo.fetch("a/b-1").as_deref(),
        Some(&b"by the nested role\n"[..])
    );
    assert_eq!(
        repo.fetch("c/file").as_deref(),
        Some(&b"by hash prefix\n"[..])
    );
    assert_eq!(
        repo.fetch("shared/file").as_deref(),
        Some(&b"by the last role\n"[..])
    );
    assert_eq!(repo.fetch("nowhere"), None);
    assert!(repo.client.store.contains_key("nested%2Frole.json"));
}

#[test]
fn a_repository_signed_with_p256_is_read_only_where_the_key_policy_allows_it() {
    let mut repo = Foreign::open("python-tuf", "p256");
    assert_eq!(
        repo.fetch("file.txt").as_deref(),
        Some(&b"signed with P-256\n"[..])
    );
    repo.client.policy = KeyPolicy {
        p256: true,
        ..KeyPolicy::node()
    };
    assert!(repo.start().is_ok(), "its key ids follow from its keys");
    repo.client.policy = KeyPolicy::node();
    assert_eq!(
        repo.start().map(|_| ()).expect_err("ed25519 only").code(),
        "threshold-not-met"
    );
}

#[test]
fn rotated_roots_of_python_tuf_are_followed_to_the_last() {
    let mut repo = Foreign::open("python-tuf", "rotated-roots");
    let (_, refreshed) = repo.start().unwrap();
    assert_eq!((refreshed.root, refreshed.roots_followed), (4, 3));
    assert_eq!(repo.client.store["root.json"], repo.served["4.root.json"]);
    assert_eq!(
        repo.fetch("file.txt").as_deref(),
        Some(&b"after four roots\n"[..])
    );
}

#[test]
fn a_step_missing_in_the_root_chain_is_not_jumped_over() {
    let mut repo = Foreign::open("python-tuf", "rotated-roots");
    let fourth = repo.served["4.root.json"].clone();
    repo.served.insert("2.root.json".into(), fourth);
    // Root 4 is not even signed by root 1's key.
    assert_eq!(
        repo.start().map(|_| ()).expect_err("a jump").code(),
        "threshold-not-met"
    );
    let third = repo.served["3.root.json"].clone();
    repo.served.insert("2.root.json".into(), third);
    assert_eq!(
        repo.start().map(|_| ()).expect_err("a jump").code(),
        "root-version-skipped"
    );
}

#[test]
fn ed25519_repositories_of_python_tuf_pass_the_strict_policy_too() {
    for name in ["plain", "not-consistent", "delegations", "rotated-roots"] {
        let mut repo = Foreign::open("python-tuf", name);
        repo.client.policy = KeyPolicy::node();
        repo.client.limits = Limits::node();
        assert!(repo.start().is_ok(), "{name}");
    }
}

#[test]
fn repositories_of_tough_are_read_with_their_delegation() {
    for name in ["ed25519", "p256"] {
        let mut repo = Foreign::open("tough", name);
        let top = repo.fetch("file.txt");
        assert_eq!(top.as_deref(), Some(&b"published by tough\n"[..]), "{name}");
        let delegated = repo.fetch("delegated.txt");
        assert_eq!(
            delegated.as_deref(),
            Some(&b"delegated by tough\n"[..]),
            "{name}"
        );
        assert_eq!(repo.fetch("delegated-missing"), None);
    }
}

#[test]
fn key_ids_of_tough_follow_from_its_keys_and_its_p256_keys_need_the_policy() {
    let mut plain = Foreign::open("tough", "ed25519");
    plain.client.policy = KeyPolicy::node();
    assert!(plain.start().is_ok());
    let mut mixed = Foreign::open("tough", "p256");
    mixed.client.policy = KeyPolicy::node();
    let error = mixed
        .start()
        .map(|_| ())
        .expect_err("online keys are P-256");
    assert_eq!(error.code(), "threshold-not-met");
}
