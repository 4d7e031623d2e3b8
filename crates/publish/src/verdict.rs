//! The node's own judgement of a repository, asked before every publication and by `check`.
//!
//! Whatever the writer's side believes, the `trust` crate decides: it walks the metadata exactly
//! as a node does, over the files on disk with those about to be written laid on top.

use std::collections::BTreeMap;

use twinroot_trust::keys::{KeyIdRule, KeyPolicy};
use twinroot_trust::time::UnixTime;
use twinroot_trust::tuf::{Action, Anchor, Answer, Expiry, Limits, Outcome, TufError, Workflow};

use crate::documents::TargetFile;
use crate::error::{Error, Result};
use crate::files;
use crate::layout::Layout;
use crate::repository::Repository;

/// File names in the metadata directory, and contents.
pub(crate) type Staged = BTreeMap<String, Vec<u8>>;

/// What a node finds in the repository: role name to target paths.
pub(crate) type Found = BTreeMap<String, BTreeMap<String, TargetFile>>;

/// One reading of the repository.
struct Reader<'a> {
    layout: &'a Layout,
    staged: &'a Staged,
    /// A staged file that is not there yet: the state between two renames.
    hidden: Option<&'a str>,
    /// What the client has kept from an earlier visit.
    store: BTreeMap<String, Vec<u8>>,
    policy: KeyPolicy,
    now: UnixTime,
}

/// Whether nodes will accept the repository once the staged files are written: a node that comes
/// for the first time, one that holds what is published now, and, unless `accept_gap`, one that
/// comes between the renames of the timestamp and of a new root.
///
/// # Errors
/// [`Error::WouldBeRefused`] with the node's reason.
pub(crate) fn read_back(
    repository: &Repository,
    staged: &Staged,
    accept_gap: bool,
    now: UnixTime,
) -> Result<Found> {
    let layout = &repository.layout;
    let policy = key_policy(repository.settings.allow_p256);
    let fresh = Reader {
        layout,
        staged,
        hidden: None,
        store: BTreeMap::new(),
        policy,
        now,
    };
    let first_root = layout.metadata().join("1.root.json");
    let anchor = match staged.get("1.root.json") {
        Some(bytes) => bytes.clone(),
        None => files::read(&first_root)?,
    };
    let found = fresh.read(anchor)?;
    if repository.published.timestamp.is_some() {
        let (anchor, store) = kept_by_clients(repository)?;
        Reader {
            store: store.clone(),
            ..fresh
        }
        .read(anchor.clone())?;
        let new_root = staged.keys().find(|name| name.ends_with(".root.json"));
        if let (Some(hidden), false) = (new_root, accept_gap) {
            let between = Reader {
                layout,
                staged,
                hidden: Some(hidden),
                store,
                policy,
                now,
            };
            between.read(anchor)?;
        }
    }
    Ok(found)
}

/// Whether nodes accept what is published now; for `check`.
pub(crate) fn read_published(layout: &Layout, allow_p256: bool, now: UnixTime) -> Result<Found> {
    let staged = Staged::new();
    let reader = Reader {
        layout,
        staged: &staged,
        hidden: None,
        store: BTreeMap::new(),
        policy: key_policy(allow_p256),
        now,
    };
    reader.read(files::read(&layout.metadata().join("1.root.json"))?)
}

/// Key ids are always computed again: a repository that only lenient clients can read is broken.
fn key_policy(p256: bool) -> KeyPolicy {
    KeyPolicy {
        p256,
        keyid: KeyIdRule::Strict,
    }
}

/// The store of a client that has seen everything that is published now.
fn kept_by_clients(repository: &Repository) -> Result<(Vec<u8>, Staged)> {
    let (metadata, published) = (repository.layout.metadata(), &repository.published);
    let read =
        |role: &str| files::read(&metadata.join(Layout::role_file(role, published.version(role))));
    let mut store = BTreeMap::new();
    for role in published
        .targets
        .keys()
        .map(String::as_str)
        .chain(["snapshot", "timestamp"])
    {
        store.insert(format!("{role}.json"), read(role)?);
    }
    Ok((read("root")?, store))
}

impl Reader<'_> {
    fn read(&self, anchor: Vec<u8>) -> Result<Found> {
        let expiry = Expiry::Judged(self.now);
        let mut flow = Workflow::start(Anchor::Stored(anchor), expiry, self.policy, Limits::node())
            .map_err(refused)?;
        self.drive(&mut flow)?;
        let trusted = flow.trusted();
        let targets = trusted
            .targets("targets", "root")
            .ok_or_else(|| Error::WouldBeRefused("it finds no targets role".into()))?;
        let roles: Vec<String> = targets
            .delegations
            .roles
            .iter()
            .map(|role| role.name.clone())
            .collect();
        let mut found = Found::new();
        for role in roles {
            flow.trust_role(&role).map_err(refused)?;
            self.drive(&mut flow)?;
            let trusted = flow.trusted();
            let targets = trusted
                .targets(&role, "targets")
                .ok_or_else(|| Error::WouldBeRefused(format!("it finds no role {role}")))?;
            let listed = targets.targets.values().filter_map(|info| {
                let digest = info.hashes.sha256?;
                Some((
                    info.path.clone(),
                    TargetFile {
                        length: info.length,
                        digest,
                    },
                ))
            });
            found.insert(role, listed.collect());
        }
        self.targets_are_there(&found)?;
        Ok(found)
    }

    fn drive(&self, flow: &mut Workflow) -> Result<Outcome> {
        loop {
            match flow.next_action().map_err(refused)? {
                Action::Load { file } => {
                    let answer = self
                        .store
                        .get(&file)
                        .map_or(Answer::Missing, |bytes| Answer::Bytes(bytes));
                    flow.answer(answer).map_err(refused)?;
                }
                Action::Fetch {
                    path, max_length, ..
                } => {
                    let bytes = self.fetch(&path)?;
                    if bytes
                        .as_ref()
                        .is_some_and(|bytes| bytes.len() as u64 > max_length)
                    {
                        return Err(Error::WouldBeRefused(format!(
                            "{path} is larger than the {max_length} bytes that nodes take"
                        )));
                    }
                    let answer = bytes
                        .as_ref()
                        .map_or(Answer::Missing, |bytes| Answer::Bytes(bytes));
                    flow.answer(answer).map_err(refused)?;
                }
                Action::Persist { .. } | Action::Forget { .. } => {}
                Action::Done(outcome) => return Ok(outcome),
            }
        }
    }

    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>> {
        if self.hidden == Some(path) {
            return Ok(None);
        }
        match self.staged.get(path) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => files::read_if_there(&self.layout.metadata().join(path)),
        }
    }

    /// Manifests and policies are small: read whole. What manifests name is `check`'s affair.
    fn targets_are_there(&self, found: &Found) -> Result<()> {
        for (path, file) in found.values().flatten() {
            let on_disk = self.layout.target_file(path, &file.digest);
            let bytes = files::read_if_there(&on_disk)?;
            if bytes.as_deref().map(TargetFile::of).as_ref() != Some(file) {
                return Err(Error::WouldBeRefused(format!(
                    "{path} is listed and {} is not that file",
                    on_disk.display()
                )));
            }
        }
        Ok(())
    }
}

fn refused(cause: TufError) -> Error {
    Error::WouldBeRefused(cause.to_string())
}
