//! A small TUF repository and client for tests: documents are trees that a test may bend as it
//! likes before they are signed, and the client keeps its store in memory.
// Shared: each test program uses its part. A helper that cannot go on panics.
#![allow(dead_code, unreachable_pub, missing_debug_implementations)]
#![allow(clippy::unwrap_used, clippy::too_many_arguments)]

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey};
use twinroot_trust::digest::Digest;
use twinroot_trust::json::{Object, Value, canonical, compact};
use twinroot_trust::keys::{KeyPolicy, ed25519_key_object, key_id};
use twinroot_trust::time::UnixTime;
use twinroot_trust::tuf::{
    Action, Anchor, Answer, Expiry, Limits, Outcome, Refreshed, TargetInfo, TufError, Verified,
    Workflow,
};

/// 2026-11-23T10:00:00Z, "now" of every test unless it says otherwise.
pub const NOW: UnixTime = UnixTime(1_795_428_000);
pub const FAR: &str = "2099-01-01T00:00:00Z";
/// `NOW` as text: what expires then has expired.
pub const PAST: &str = "2026-11-23T10:00:00Z";

#[derive(Clone, Debug)]
pub struct Key(SigningKey);

impl Key {
    pub fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn object(&self) -> Object {
        ed25519_key_object(self.0.verifying_key().as_bytes())
    }

    pub fn id(&self) -> String {
        key_id(&self.object()).to_string()
    }

    pub fn sign(&self, message: &[u8]) -> String {
        self.0
            .sign(message)
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    pub fn signature(&self, signed: &Object) -> Object {
        let message = canonical(&Value::Object(signed.clone()));
        Object::new()
            .with("keyid", self.id())
            .with("sig", self.sign(&message))
    }
}

/// One document: what it says and who signs it.
#[derive(Clone, Debug)]
pub struct Doc {
    pub signed: Object,
    pub signers: Vec<Key>,
}

impl Doc {
    pub fn bytes(&self) -> Vec<u8> {
        let signatures = self.signers.iter().map(|key| key.signature(&self.signed));
        envelope(&self.signed, signatures.collect())
    }

    pub fn version(&self) -> u64 {
        self.signed
            .get("version")
            .and_then(Value::as_integer)
            .unwrap_or(0)
    }

    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.signed.insert(name, value);
    }
}

pub fn envelope(signed: &Object, signatures: Vec<Object>) -> Vec<u8> {
    let signatures: Value = signatures.into_iter().collect();
    compact(
        &Object::new()
            .with("signed", signed.clone())
            .with("signatures", signatures)
            .into(),
    )
    .into_bytes()
}

pub fn keys_object(keys: &[Key]) -> Object {
    keys.iter()
        .fold(Object::new(), |all, key| all.with(key.id(), key.object()))
}

pub fn role_object(keys: &[Key], threshold: u64) -> Object {
    let ids: Value = keys.iter().map(Key::id).collect();
    Object::new()
        .with("keyids", ids)
        .with("threshold", threshold)
}

fn header(kind: &str) -> Object {
    Object::new()
        .with("_type", kind)
        .with("spec_version", "1.0.34")
        .with("version", 1u32)
        .with("expires", FAR)
}

pub fn target_object(bytes: &[u8]) -> Object {
    let hashes = Object::new().with("sha256", Digest::of(bytes).to_string());
    Object::new()
        .with("length", bytes.len() as u64)
        .with("hashes", hashes)
}

/// A repository with root 2 of 3, the online roles 1 of 1, and delegations as added.
#[derive(Clone, Debug)]
pub struct Repo {
    pub root: Doc,
    pub timestamp: Doc,
    pub snapshot: Doc,
    /// `targets` and all delegated roles.
    pub targets: BTreeMap<String, Doc>,
    /// Everything that the server has.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether snapshot and timestamp state length and digest.
    pub hashes: bool,
}

impl Repo {
    pub fn new() -> Self {
        let root_keys = [Key::new(1), Key::new(2), Key::new(3)];
        let online = |seed| vec![Key::new(seed)];
        let keys: Vec<_> = root_keys
            .iter()
            .cloned()
            .chain([4, 5, 6].map(Key::new))
            .collect();
        let roles = Object::new()
            .with("root", role_object(&root_keys, 2))
            .with("timestamp", role_object(&online(4), 1))
            .with("snapshot", role_object(&online(5), 1))
            .with("targets", role_object(&online(6), 1));
        let root = header("root")
            .with("consistent_snapshot", true)
            .with("keys", keys_object(&keys))
            .with("roles", roles);
        let targets = Doc {
            signed: header("targets").with("targets", Object::new()),
            signers: online(6),
        };
        let mut repo = Self {
            root: Doc {
                signed: root,
                signers: root_keys[..2].to_vec(),
            },
            timestamp: Doc {
                signed: header("timestamp").with("meta", Object::new()),
                signers: online(4),
            },
            snapshot: Doc {
                signed: header("snapshot").with("meta", Object::new()),
                signers: online(5),
            },
            targets: [("targets".to_string(), targets)].into(),
            files: BTreeMap::new(),
            hashes: true,
        };
        repo.publish();
        repo
    }

    /// A repository in which the role `delegated` (2 of 3) lists `d/file`.
    pub fn with_delegation() -> Self {
        let mut repo = Self::new();
        repo.delegate(
            "targets",
            "delegated",
            &[7, 8, 9].map(Key::new),
            2,
            &["d/*"],
            false,
        );
        repo.add_target("delegated", "d/file", b"content");
        repo.add_target("targets", "file", b"content");
        repo.publish();
        repo
    }

    pub fn delegate(
        &mut self,
        delegator: &str,
        role: &str,
        keys: &[Key],
        threshold: u64,
        paths: &[&str],
        terminating: bool,
    ) {
        let entry = role_object(keys, threshold)
            .with("name", role)
            .with("paths", Value::from_iter(paths.iter().copied()))
            .with("terminating", terminating);
        self.delegate_entry(delegator, keys, entry);
        let document = Doc {
            signed: header("targets").with("targets", Object::new()),
            signers: keys.to_vec(),
        };
        self.targets.entry(role.into()).or_insert(document);
    }

    pub fn delegate_entry(&mut self, delegator: &str, keys: &[Key], entry: Object) {
        let document = self
            .targets
            .get_mut(delegator)
            .expect("the delegator exists");
        if document.signed.get("delegations").is_none() {
            let empty = Object::new()
                .with("keys", Object::new())
                .with("roles", Value::Array(vec![]));
            document.set("delegations", empty);
        }
        let delegations = document
            .signed
            .get_mut("delegations")
            .and_then(Value::as_object_mut)
            .unwrap();
        let known = delegations
            .get_mut("keys")
            .and_then(Value::as_object_mut)
            .unwrap();
        keys.iter()
            .for_each(|key| known.insert(key.id(), key.object()));
        let Some(Value::Array(roles)) = delegations.get_mut("roles") else {
            panic!("roles is a list")
        };
        roles.push(entry.into());
    }

    /// The entry of a delegation, for bending.
    pub fn delegation(&mut self, delegator: &str, role: &str) -> &mut Object {
        let document = self.targets.get_mut(delegator).unwrap();
        let delegations = document
            .signed
            .get_mut("delegations")
            .and_then(Value::as_object_mut)
            .unwrap();
        let Some(Value::Array(roles)) = delegations.get_mut("roles") else {
            panic!("roles is a list")
        };
        let named = |entry: &&mut Value| {
            entry.as_object().unwrap().get("name").unwrap().as_str() == Some(role)
        };
        roles
            .iter_mut()
            .find(named)
            .and_then(Value::as_object_mut)
            .unwrap()
    }

    pub fn add_target(&mut self, role: &str, path: &str, bytes: &[u8]) {
        let document = self.targets.get_mut(role).expect("the role exists");
        let listed = document
            .signed
            .get_mut("targets")
            .and_then(Value::as_object_mut)
            .unwrap();
        listed.insert(path, target_object(bytes));
    }

    pub fn doc(&mut self, role: &str) -> &mut Doc {
        match role {
            "root" => &mut self.root,
            "timestamp" => &mut self.timestamp,
            "snapshot" => &mut self.snapshot,
            other => self.targets.get_mut(other).expect("the role exists"),
        }
    }

    /// Where root, or a delegator, names keys and threshold of a role.
    pub fn role_entry(&mut self, role: &str) -> &mut Object {
        if role == "delegated" {
            return self.delegation("targets", "delegated");
        }
        let roles = self
            .root
            .signed
            .get_mut("roles")
            .and_then(Value::as_object_mut)
            .unwrap();
        roles.get_mut(role).and_then(Value::as_object_mut).unwrap()
    }

    /// The keys that root, or the delegator of `delegated`, holds.
    pub fn keys_entry(&mut self, role: &str) -> &mut Object {
        let holder = match role {
            "delegated" => {
                let signed = &mut self.targets.get_mut("targets").unwrap().signed;
                signed
                    .get_mut("delegations")
                    .and_then(Value::as_object_mut)
                    .unwrap()
            }
            _ => &mut self.root.signed,
        };
        holder
            .get_mut("keys")
            .and_then(Value::as_object_mut)
            .unwrap()
    }

    pub fn bump(&mut self, role: &str) {
        let next = self.doc(role).version() + 1;
        self.doc(role).set("version", next);
    }

    /// New versions of everything but root.
    pub fn bump_all(&mut self) {
        let targets: Vec<_> = self.targets.keys().cloned().collect();
        targets
            .iter()
            .map(String::as_str)
            .chain(["snapshot", "timestamp"])
            .for_each(|role| self.bump(role));
        self.publish();
    }

    fn consistent(&self) -> bool {
        self.root
            .signed
            .get("consistent_snapshot")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    pub fn file_of(&mut self, role: &str) -> String {
        match role {
            "root" => format!("{}.root.json", self.root.version()),
            "timestamp" => "timestamp.json".into(),
            other if self.consistent() => format!("{}.{other}.json", self.doc(other).version()),
            other => format!("{other}.json"),
        }
    }

    fn meta(&self, doc: &Doc) -> Object {
        let bytes = doc.bytes();
        let meta = Object::new().with("version", doc.version());
        if self.hashes {
            meta.with("length", bytes.len() as u64).with(
                "hashes",
                Object::new().with("sha256", Digest::of(&bytes).to_string()),
            )
        } else {
            meta
        }
    }

    /// Pins what is there (snapshot over targets, timestamp over snapshot), signs and serves it.
    pub fn publish(&mut self) {
        self.pin_targets();
        self.pin_snapshot();
        self.serve();
    }

    pub fn pin_targets(&mut self) {
        let listed = self
            .targets
            .iter()
            .map(|(role, doc)| (format!("{role}.json"), self.meta(doc)));
        let listed: Vec<_> = listed.collect();
        let meta = listed
            .into_iter()
            .fold(Object::new(), |all, (file, meta)| all.with(file, meta));
        self.snapshot.set("meta", meta);
    }

    pub fn pin_snapshot(&mut self) {
        let meta = Object::new().with("snapshot.json", self.meta(&self.snapshot));
        self.timestamp.set("meta", meta);
    }

    /// Signs and serves what is there, pinned or not.
    pub fn serve(&mut self) {
        let targets: Vec<_> = self.targets.keys().cloned().collect();
        for role in targets
            .iter()
            .map(String::as_str)
            .chain(["root", "snapshot", "timestamp"])
        {
            let file = self.file_of(role);
            let bytes = self.doc(role).bytes();
            self.files.insert(file, bytes);
        }
    }
}

/// A plain client with its store in memory.
#[derive(Clone, Debug)]
pub struct Client {
    pub store: BTreeMap<String, Vec<u8>>,
    pub requests: Vec<String>,
    pub now: UnixTime,
    pub policy: KeyPolicy,
    pub limits: Limits,
    /// The image's root; without one, `root.json` of the store is the anchor.
    pub image: Option<Vec<u8>>,
    /// Stop (as by loss of power) before this many changes of the store.
    pub dies_before: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    Refused(TufError),
    Died,
}

impl Client {
    pub fn of(repo: &Repo) -> Self {
        Self {
            store: [("root.json".to_string(), repo.root.bytes())].into(),
            requests: Vec::new(),
            now: NOW,
            policy: KeyPolicy::node(),
            limits: Limits::node(),
            image: None,
            dies_before: None,
        }
    }

    pub fn start(&self) -> Result<Workflow, TufError> {
        let anchor = match &self.image {
            Some(root) => Anchor::Image(root.clone()),
            None => Anchor::Stored(self.store["root.json"].clone()),
        };
        Workflow::start(anchor, Expiry::Judged(self.now), self.policy, self.limits)
    }

    pub fn drive(
        &mut self,
        flow: &mut Workflow,
        served: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Outcome, Stop> {
        loop {
            match flow.next_action().map_err(Stop::Refused)? {
                Action::Load { file } => {
                    let answer = self
                        .store
                        .get(&file)
                        .map_or(Answer::Missing, |bytes| Answer::Bytes(bytes));
                    flow.answer(answer).map_err(Stop::Refused)?;
                }
                Action::Fetch {
                    path, max_length, ..
                } => {
                    self.requests.push(path.clone());
                    // A transport cuts the stream one byte after the bound.
                    let cut = served
                        .get(&path)
                        .map(|bytes| &bytes[..bytes.len().min(max_length as usize + 1)]);
                    flow.answer(cut.map_or(Answer::Missing, Answer::Bytes))
                        .map_err(Stop::Refused)?;
                }
                Action::Persist { file, bytes } => {
                    self.survive()?;
                    self.store.insert(file, bytes);
                }
                Action::Forget { file } => {
                    self.survive()?;
                    self.store.remove(&file);
                }
                Action::Done(outcome) => return Ok(outcome),
            }
        }
    }

    fn survive(&mut self) -> Result<(), Stop> {
        match &mut self.dies_before {
            Some(0) => Err(Stop::Died),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub fn try_refresh(&mut self, repo: &Repo) -> Result<(Workflow, Refreshed), Stop> {
        self.requests.clear();
        let mut flow = self.start().map_err(Stop::Refused)?;
        match self.drive(&mut flow, &repo.files)? {
            Outcome::Refreshed(refreshed) => Ok((flow, refreshed)),
            other => panic!("a refresh ended with {other:?}"),
        }
    }

    pub fn refresh(&mut self, repo: &Repo) -> Result<Refreshed, TufError> {
        match self.try_refresh(repo) {
            Ok((_, refreshed)) => Ok(refreshed),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Died) => panic!("this client was not meant to die"),
        }
    }

    pub fn find(
        &mut self,
        repo: &Repo,
        target: &str,
    ) -> Result<Option<Verified<TargetInfo>>, TufError> {
        let (mut flow, _) = match self.try_refresh(repo) {
            Ok(found) => found,
            Err(Stop::Refused(error)) => return Err(error),
            Err(Stop::Died) => panic!("this client was not meant to die"),
        };
        flow.find(target)?;
        match self.drive(&mut flow, &repo.files) {
            Ok(Outcome::Found(found)) => Ok(Some(found)),
            Ok(Outcome::NotFound { .. }) => Ok(None),
            Ok(other) => panic!("a search ended with {other:?}"),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Died) => panic!("this client was not meant to die"),
        }
    }

    /// The same without an opinion on what is found.
    pub fn look(&mut self, repo: &Repo) -> Result<(), TufError> {
        self.find(repo, "d/file").map(|_| ())
    }

    /// Everything a client can be made to look at: a refresh and a delegated target.
    pub fn update(&mut self, repo: &Repo) -> Result<(), TufError> {
        self.find(repo, "d/file")
            .map(|found| assert!(found.is_some(), "d/file is listed"))
    }

    pub fn version(&self, role: &str) -> Option<u64> {
        let tree = twinroot_trust::json::parse(self.store.get(&format!("{role}.json"))?).ok()?;
        tree.as_object()?
            .get("signed")?
            .as_object()?
            .get("version")?
            .as_integer()
    }
}
