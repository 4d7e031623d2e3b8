//! A node's view of a repository, through the node's own reader, and files that die on demand.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use twinroot_publish::fake::{ARCHITECTURE, NoSync, PRODUCT};
use twinroot_publish::files::Files;
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::release::{self, Identity, Release};
use twinroot_trust::time::UnixTime;
use twinroot_trust::tuf::{Action, Anchor, Answer, Expiry, Limits, Outcome, TufError, Workflow};

/// What a node that starts from `anchor` finds: versions and, per channel, releases with their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub root: u64,
    pub timestamp: u64,
    pub releases: BTreeMap<String, Vec<String>>,
}

pub type Store = BTreeMap<String, Vec<u8>>;

/// Reads `published` as a node of each channel would, keeping in `store` what a node keeps.
pub fn view(
    published: &Path,
    anchor: &[u8],
    store: &mut Store,
    now: UnixTime,
) -> Result<View, String> {
    view_with(published, anchor, store, now, KeyPolicy::node())
}

pub fn view_with(
    published: &Path,
    anchor: &[u8],
    store: &mut Store,
    now: UnixTime,
    policy: KeyPolicy,
) -> Result<View, String> {
    let anchor = store
        .get("root.json")
        .cloned()
        .unwrap_or_else(|| anchor.to_vec());
    let mut flow = Workflow::start(
        Anchor::Stored(anchor),
        Expiry::Judged(now),
        policy,
        Limits::node(),
    )
    .map_err(text)?;
    let Outcome::Refreshed(refreshed) = drive(&mut flow, published, store)? else {
        return Err("no refresh".into());
    };
    let targets = flow
        .trusted()
        .targets("targets", "root")
        .ok_or("no targets")?;
    let roles: Vec<String> = targets
        .delegations
        .roles
        .iter()
        .map(|role| role.name.clone())
        .collect();
    let mut releases = BTreeMap::new();
    for role in roles {
        flow.trust_role(&role).map_err(text)?;
        drive(&mut flow, published, store)?;
        let Some(channel) = role.strip_prefix("channel-") else {
            continue;
        };
        let identity = Identity {
            product: PRODUCT.parse().unwrap(),
            variant: None,
            architecture: ARCHITECTURE.parse().unwrap(),
            channel: channel.parse().unwrap(),
        };
        let mut found = Vec::new();
        for listed in release::channel_releases(flow.trusted(), &identity)
            .map_err(|cause| cause.to_string())?
        {
            let path = listed.manifest.published_path(true);
            let bytes = std::fs::read(published.join("targets").join(&path))
                .map_err(|cause| format!("{path}: {cause}"))?;
            let release =
                Release::admit(&listed, bytes, &identity).map_err(|cause| cause.to_string())?;
            for artefact in &release.manifest.artefacts {
                let payload = published.join("targets").join(&artefact.full.path);
                let size = std::fs::metadata(&payload)
                    .map_err(|cause| format!("{}: {cause}", payload.display()))?
                    .len();
                assert_eq!(size, artefact.full.size);
            }
            found.push(format!("{}", release.manifest.version));
        }
        releases.insert(channel.to_owned(), found);
    }
    Ok(View {
        root: refreshed.root,
        timestamp: refreshed.timestamp,
        releases,
    })
}

fn drive(flow: &mut Workflow, published: &Path, store: &mut Store) -> Result<Outcome, String> {
    loop {
        match flow.next_action().map_err(text)? {
            Action::Load { file } => {
                let kept = store.get(&file).cloned();
                let answer = kept
                    .as_ref()
                    .map_or(Answer::Missing, |bytes| Answer::Bytes(bytes));
                flow.answer(answer).map_err(text)?;
            }
            Action::Fetch { path, .. } => {
                let bytes = std::fs::read(published.join("metadata").join(&path)).ok();
                let answer = bytes
                    .as_ref()
                    .map_or(Answer::Missing, |bytes| Answer::Bytes(bytes));
                flow.answer(answer).map_err(text)?;
            }
            Action::Persist { file, bytes } => {
                store.insert(file, bytes);
            }
            Action::Forget { file } => {
                store.remove(&file);
            }
            Action::Done(outcome) => return Ok(outcome),
        }
    }
}

fn text(cause: TufError) -> String {
    cause.to_string()
}

/// How the file system dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The process ends before the n-th operation; what was done before stays.
    Killed,
    /// The power goes: the n-th operation is half done if it is a write, and everything that was
    /// not synced is lost.
    PowerCut,
}

/// A file system that dies before the n-th operation.
#[derive(Debug)]
pub struct Mortal {
    left: AtomicUsize,
    dead: AtomicBool,
    death: Death,
    /// A publisher that forgets to sync: for showing that such a fault is seen.
    forgetful: bool,
    /// Names changed since their directory was synced: what was there before.
    unsynced_names: Mutex<Vec<(PathBuf, Option<Vec<u8>>)>>,
    /// Files written and not synced.
    unsynced_files: Mutex<BTreeSet<PathBuf>>,
}

impl Mortal {
    pub fn new(operations: usize, death: Death) -> Self {
        Self {
            left: AtomicUsize::new(operations),
            dead: AtomicBool::new(false),
            death,
            forgetful: false,
            unsynced_names: Mutex::default(),
            unsynced_files: Mutex::default(),
        }
    }

    /// Takes every sync for done and does none.
    pub fn forgetful(operations: usize) -> Self {
        Self {
            forgetful: true,
            ..Self::new(operations, Death::PowerCut)
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Ok while alive; at the last operation dies, with the losses that belong to it.
    fn live(&self) -> io::Result<()> {
        if !self.is_dead() && self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        if !self.dead.swap(true, Ordering::SeqCst) && self.death == Death::PowerCut {
            self.lose_unsynced();
        }
        Err(io::Error::other("the file system is dead"))
    }

    fn lose_unsynced(&self) {
        for path in self.unsynced_files.lock().unwrap().iter() {
            if path.is_file() {
                std::fs::write(path, b"").unwrap();
            }
        }
        for (path, before) in self.unsynced_names.lock().unwrap().drain(..).rev() {
            match before {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None if path.is_dir() => std::fs::remove_dir_all(&path).unwrap(),
                None => drop(std::fs::remove_file(&path)),
            }
        }
    }

    fn changes_name(&self, path: &Path) {
        let before = std::fs::read(path).ok();
        self.unsynced_names
            .lock()
            .unwrap()
            .push((path.to_owned(), before));
    }
}

impl Files for Mortal {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        if !path.exists() {
            self.changes_name(path);
        }
        NoSync.create_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(dead) = self.live() {
            if self.death == Death::PowerCut {
                drop(NoSync.write(path, &bytes[..bytes.len() / 2]));
            }
            return Err(dead);
        }
        self.unsynced_files.lock().unwrap().insert(path.to_owned());
        NoSync.write(path, bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        if !self.forgetful {
            self.unsynced_files.lock().unwrap().remove(path);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.live()?;
        self.changes_name(to);
        let unsynced = self.unsynced_files.lock().unwrap().remove(from);
        if unsynced {
            self.unsynced_files.lock().unwrap().insert(to.to_owned());
        }
        NoSync.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        self.unsynced_names
            .lock()
            .unwrap()
            .retain(|(name, _)| name.parent() != Some(path));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        self.changes_name(path);
        NoSync.remove(path)
    }
}

/// Copies a directory tree.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
