//! `check`: every problem of a repository at once, so that one evening repairs them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Serialize;
use twinroot_trust::digest::Digest;
use twinroot_trust::json::{self, Value};
use twinroot_trust::manifest::{Coding, Manifest, Payload};
use twinroot_trust::policy::RolloutPolicy;
use twinroot_trust::time::UnixTime;

use crate::add::digest_of;
use crate::documents::{Document, TargetFile};
use crate::error::{Error, Result};
use crate::files;
use crate::keys::{PublicKey, hex};
use crate::layout::{Layout, ROLLOUT_ROLE};
use crate::repository::Repository;
use crate::settings::Settings;
use crate::verdict::{self, Found};

/// Whether nodes are hurt, or only will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Nodes refuse something now.
    Fault,
    /// Nothing is refused yet.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub weight: Weight,
    /// Which check found it: stable, kebab-case.
    pub check: &'static str,
    /// File, role or release.
    pub thing: String,
    /// What is wrong and what to do.
    pub finding: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Fault => "fault",
            Weight::Warning => "warning",
        };
        write!(
            f,
            "{weight}: {}: {} [{}]",
            self.thing, self.finding, self.check
        )
    }
}

/// Looks at everything. An empty list means: nothing wrong was found in any of the checks below.
///
/// # Errors
/// Only where the repository cannot be looked at: [`Error::RepositoryMissing`],
/// [`Error::RepositoryLocked`], [`Error::Io`]. Damage is a finding, not an error.
pub fn check(dir: &Path, now: UnixTime) -> Result<Vec<Problem>> {
    let layout = Layout::new(dir);
    let settings = Settings::load(&layout)?;
    let mut report = Report {
        problems: Vec::new(),
        layout: &layout,
    };
    report.key_ids()?;
    let found = match verdict::read_published(&layout, settings.allow_p256, now) {
        Ok(found) => found,
        Err(Error::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
            report.add(
                Weight::Fault,
                "unpublished",
                "metadata",
                "nothing is published; sign the drafts and `release`",
            );
            Found::new()
        }
        Err(refusal) => {
            report.add(
                Weight::Fault,
                "refused-by-nodes",
                "metadata",
                &refusal.to_string(),
            );
            Found::new()
        }
    };
    let named = report.targets(&found)?;
    match Repository::open(dir) {
        Ok(repository) => {
            report.expiry(&repository, now);
            report.thresholds(&repository);
            report.policies(&repository);
            report.drafts(&repository)?;
            if repository.published.timestamp.is_some() {
                report.strays(&repository, &named)?;
            }
        }
        Err(locked @ Error::RepositoryLocked(_)) => return Err(locked),
        Err(damage) => report.add(
            Weight::Fault,
            "unreadable",
            &dir.display().to_string(),
            &damage.to_string(),
        ),
    }
    report.problems.sort();
    Ok(report.problems)
}

struct Report<'a> {
    problems: Vec<Problem>,
    layout: &'a Layout,
}

impl Report<'_> {
    fn add(&mut self, weight: Weight, check: &'static str, thing: &str, finding: &str) {
        self.problems.push(Problem {
            weight,
            check,
            thing: thing.into(),
            finding: finding.into(),
        });
    }

    /// Every key id in every metadata file is what the key hashes to. Two public projects locked
    /// their strict clients out by editing keys after the ids were made.
    fn key_ids(&mut self) -> Result<()> {
        for name in files::list(&self.layout.metadata())? {
            if name.starts_with('.') {
                continue;
            }
            let tree = match json::parse(&files::read(&self.layout.metadata().join(&name))?) {
                Ok(tree) => tree,
                Err(cause) => {
                    self.add(
                        Weight::Fault,
                        "unreadable",
                        &name,
                        &format!("{cause}; restore it from a mirror"),
                    );
                    continue;
                }
            };
            for (id, key) in listed_keys(&tree) {
                let computed = hex(Digest::of(&json::canonical(key)).as_bytes());
                if computed != id {
                    self.add(Weight::Fault, "key-id", &name, &format!("key {id} has in truth the id {computed}; replace the key with `key rotate`"));
                }
                if PublicKey::from_value(key).is_none() {
                    self.add(
                        Weight::Warning,
                        "key-kind",
                        &name,
                        &format!("key {id} is of a kind that counts for nothing"),
                    );
                }
            }
        }
        Ok(())
    }

    /// Every manifest and policy reads, and every file they name is there with its digest. Gives
    /// back the paths below the targets directory that something names.
    fn targets(&mut self, found: &Found) -> Result<BTreeSet<String>> {
        let mut named = BTreeSet::new();
        let mut payloads: BTreeMap<String, (u64, Digest)> = BTreeMap::new();
        for (role, targets) in found {
            for (path, file) in targets {
                let on_disk = self.layout.target_file(path, &file.digest);
                let relative = on_disk
                    .strip_prefix(self.layout.targets())
                    .unwrap_or(&on_disk);
                named.insert(relative.display().to_string());
                if role != ROLLOUT_ROLE {
                    self.manifest(path, &files::read(&on_disk)?, &mut payloads);
                }
            }
        }
        for (path, (size, sha256)) in payloads {
            self.payload(&path, size, &sha256)?;
            named.insert(path);
        }
        Ok(named)
    }

    fn manifest(
        &mut self,
        path: &str,
        bytes: &[u8],
        payloads: &mut BTreeMap<String, (u64, Digest)>,
    ) {
        let manifest = match Manifest::parse(bytes) {
            Ok(manifest) => manifest,
            Err(cause) => return self.add(Weight::Fault, "manifest", path, &cause.to_string()),
        };
        let stated = format!(
            "/{}/{}/{}/",
            manifest.product, manifest.architecture, manifest.version
        );
        if !path.contains(&stated) {
            self.add(
                Weight::Fault,
                "manifest",
                path,
                &format!("it speaks of {stated}; nodes refuse it as wrong software"),
            );
        }
        for artefact in &manifest.artefacts {
            let all = std::iter::once(&artefact.full)
                .chain(artefact.deltas.iter().map(|delta| &delta.payload));
            for payload in all {
                payloads.insert(payload.path.clone(), (payload.size, payload.sha256));
                self.index(payload);
            }
        }
        if let Some(sbom) = &manifest.contents.sbom {
            payloads.insert(sbom.path.clone(), (sbom.size, sbom.sha256));
        }
    }

    /// The first bytes of a payload are the index that the manifest signs apart.
    fn index(&mut self, payload: &Payload) {
        let Coding::Segments { index, .. } = &payload.coding else {
            return;
        };
        let path = self.layout.targets().join(&payload.path);
        let mut start = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| {
            use std::io::Read;
            file.take(index.size).read_to_end(&mut start)
        });
        // A file that is missing or short is reported by `payload`, once.
        if read.is_ok() && start.len() as u64 == index.size && Digest::of(&start) != index.sha256 {
            self.add(
                Weight::Fault,
                "payload",
                &payload.path,
                "its index is not the one that the manifest names; restore the file",
            );
        }
    }

    fn payload(&mut self, path: &str, size: u64, sha256: &Digest) -> Result<()> {
        let on_disk = self.layout.targets().join(path);
        if !on_disk.is_file() {
            self.add(
                Weight::Fault,
                "payload",
                path,
                "a manifest names it and it is not there; restore the file",
            );
            return Ok(());
        }
        if digest_of(&on_disk)? != (size, *sha256) {
            self.add(
                Weight::Fault,
                "payload",
                path,
                "size or digest are not what the manifest says; restore the file",
            );
        }
        Ok(())
    }

    /// Expired, or less than a third of the period left: the publisher should have signed by then.
    fn expiry(&mut self, repository: &Repository, now: UnixTime) {
        let published = &repository.published;
        let mut dates: Vec<(&str, UnixTime)> = Vec::new();
        dates.extend(
            published
                .root
                .iter()
                .map(|role| ("root", role.document.expires())),
        );
        dates.extend(
            published
                .timestamp
                .iter()
                .map(|role| ("timestamp", role.document.expires())),
        );
        dates.extend(
            published
                .snapshot
                .iter()
                .map(|role| ("snapshot", role.document.expires())),
        );
        dates.extend(
            published
                .targets
                .iter()
                .map(|(name, role)| (name.as_str(), role.document.expires())),
        );
        for (role, expires) in dates {
            let period = repository.settings.expiry.of(role);
            let left = expires.since(now);
            if expires <= now {
                self.add(
                    Weight::Fault,
                    "expiry",
                    role,
                    &format!("expired at {expires}; sign it again"),
                );
            } else if left.0 < period.0 / 3 {
                self.add(
                    Weight::Warning,
                    "expiry",
                    role,
                    &format!("expires at {expires}; sign it again before"),
                );
            }
        }
    }

    fn thresholds(&mut self, repository: &Repository) {
        let mut sets = Vec::new();
        if let Some(root) = &repository.published.root {
            sets.extend(
                root.document
                    .roles
                    .iter()
                    .map(|(name, keys)| (name.clone(), keys.clone())),
            );
        }
        let mut strongest = 0;
        let targets = repository.published.targets.get("targets");
        for role in targets
            .iter()
            .filter_map(|role| role.document.delegations.as_ref())
            .flat_map(|all| &all.roles)
        {
            strongest = strongest.max(role.keys.threshold);
            sets.push((role.name.clone(), role.keys.clone()));
        }
        for (role, keys) in &sets {
            let distinct: BTreeSet<&String> = keys.key_ids.iter().collect();
            if keys.threshold == 0 || keys.threshold > distinct.len() as u64 {
                self.add(
                    Weight::Fault,
                    "threshold",
                    role,
                    &format!(
                        "{} of {} keys can never sign",
                        keys.threshold,
                        distinct.len()
                    ),
                );
            }
            if role == "targets" && keys.threshold < strongest {
                self.add(Weight::Warning, "threshold", role, &format!("{} signatures suffice to replace the keys of a channel that wants {strongest}", keys.threshold));
            }
        }
    }

    fn policies(&mut self, repository: &Repository) {
        let channels = repository.channels().unwrap_or_default();
        for channel in channels {
            match repository.policy(&channel) {
                Ok(Some(policy)) => self.policy(repository, &channel, &policy),
                Ok(None) => self.add(
                    Weight::Warning,
                    "policy",
                    &channel,
                    "it has no rollout policy; `rollout` offers a release",
                ),
                Err(cause) => self.add(Weight::Fault, "policy", &channel, &cause.to_string()),
            }
        }
    }

    fn policy(&mut self, repository: &Repository, channel: &str, policy: &RolloutPolicy) {
        let Some(offer) = &policy.offer else { return };
        match repository.manifest_of(channel, &offer.version) {
            Ok((manifest, bytes)) => {
                if let Err(cause) = policy.check_within(&manifest) {
                    self.add(Weight::Fault, "policy", channel, &cause.to_string());
                }
                if policy.withdrawn.contains(&TargetFile::of(&bytes).digest) {
                    self.add(
                        Weight::Warning,
                        "policy",
                        channel,
                        &format!(
                            "it offers {}, which is withdrawn; offer another release",
                            offer.version
                        ),
                    );
                }
            }
            Err(cause) => self.add(
                Weight::Fault,
                "policy",
                channel,
                &format!("it offers {}: {cause}", offer.version),
            ),
        }
    }

    fn drafts(&mut self, repository: &Repository) -> Result<()> {
        for role in repository.drafts()? {
            match repository.draft_status(&role) {
                Ok(draft) if draft.version <= repository.published.version(&role) => {
                    self.add(
                        Weight::Warning,
                        "draft",
                        &role,
                        "it is not newer than what is published; `draft discard` it",
                    );
                }
                Ok(draft) if !draft.complete => self.add(
                    Weight::Warning,
                    "draft",
                    &role,
                    "it awaits signatures (`status` lists them)",
                ),
                Ok(_) => self.add(
                    Weight::Warning,
                    "draft",
                    &role,
                    "it is complete and not published; `release`",
                ),
                Err(cause) => self.add(Weight::Fault, "draft", &role, &cause.to_string()),
            }
        }
        Ok(())
    }

    /// Published files that nothing refers to: harmless, but someone pays for the space.
    fn strays(&mut self, repository: &Repository, named: &BTreeSet<String>) -> Result<()> {
        let drafted = repository.records()?.iter().any(|record| {
            !named
                .iter()
                .any(|path| path.contains(&record.manifest.to_string()))
        });
        for name in files::list(&self.layout.payloads())? {
            let path = format!("payload/{name}");
            if name.starts_with('.') {
                self.add(
                    Weight::Warning,
                    "stray",
                    &path,
                    "left by an `add` that did not finish; it may be removed",
                );
            } else if !named.contains(&path) && !drafted {
                self.add(
                    Weight::Warning,
                    "stray",
                    &path,
                    "no published manifest names it; it may be removed",
                );
            }
        }
        Ok(())
    }
}

/// The key tables of a root or of delegations.
fn listed_keys(tree: &Value) -> Vec<(&str, &Value)> {
    let signed = tree
        .as_object()
        .and_then(|object| object.get("signed")?.as_object());
    let Some(signed) = signed else {
        return Vec::new();
    };
    let delegations = signed.get("delegations").and_then(Value::as_object);
    let tables = [
        signed.get("keys"),
        delegations.and_then(|object| object.get("keys")),
    ];
    tables
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(|keys| keys.iter())
        .collect()
}
