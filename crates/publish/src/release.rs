//! Publication: complete drafts become what clients see, in an order that a crash cannot break.
//!
//! Every role file but the timestamp has a name of its own (consistent snapshots), so writing one
//! changes nothing that clients see. `timestamp.json` is renamed over the old one last: that one
//! rename is the moment of publication. A new root goes after it: everything before is signed for
//! the old root and for the new one, so clients on either side of that second rename are content.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use twinroot_trust::time::UnixTime;

use crate::documents::{Envelope, Snapshot, SnapshotEntry, Timestamp};
use crate::error::{Error, Result};
use crate::files;
use crate::keys::PublicKey;
use crate::layout::Layout;
use crate::repository::Repository;
use crate::ring::Ring;
use crate::signing::{DraftStatus, add_signature};
use crate::verdict::{self, Staged};

/// What to publish, and how.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these drafts, which must be complete; empty means every complete one.
    pub roles: Vec<String>,
    /// Publish although a lost online key of the old root cannot sign: between two renames
    /// clients then find a pair that does not fit. They retry, and so can this command.
    pub accept_gap: bool,
}

/// What was published.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Role and version of everything that is new, snapshot and timestamp included.
    pub published: Vec<(String, u64)>,
    /// Drafts that still lack signatures.
    pub waiting: Vec<DraftStatus>,
    /// When the timestamp expires: `refresh` must run before.
    pub expires: String,
}

impl Repository {
    /// Publishes the complete drafts.
    ///
    /// # Errors
    /// [`Error::DraftMissing`], [`Error::DraftIncomplete`], [`Error::OnlineKeyMissing`];
    /// [`Error::WouldBeRefused`] when the node's own reader finds fault: then nothing has changed.
    pub fn release(&mut self, selection: &Selection, ring: &Ring, now: UnixTime) -> Result<Report> {
        let (ready, waiting) = self.choose_drafts(selection)?;
        let mut staged = Staged::new();
        let mut published = Vec::new();
        let mut meta = self
            .published
            .snapshot
            .as_ref()
            .map(|role| role.document.meta.clone())
            .unwrap_or_default();
        for draft in &ready {
            let envelope = self
                .draft(&draft.role)?
                .ok_or_else(|| Error::DraftMissing(draft.role.clone()))?;
            let bytes = envelope.to_bytes();
            if draft.role != "root" {
                meta.insert(draft.role.clone(), SnapshotEntry::of(draft.version, &bytes));
            }
            staged.insert(Layout::role_file(&draft.role, draft.version), bytes);
            published.push((draft.role.clone(), draft.version));
        }
        let with_root = ready.iter().any(|draft| draft.role == "root");
        let signing = Signing {
            ring,
            with_root,
            accept_gap: selection.accept_gap,
        };
        let snapshot = self.stage_snapshot(meta, &signing, now, &mut staged)?;
        published.push(("snapshot".into(), snapshot.version));
        let timestamp = self.stage_timestamp(snapshot, &signing, now, &mut staged)?;
        published.push(("timestamp".into(), timestamp.version));

        verdict::read_back(self, &staged, selection.accept_gap, now)?;
        self.write_staged(&staged)?;
        for draft in &ready {
            let path = self.layout.draft(&draft.role);
            self.files
                .remove(&path)
                .map_err(|cause| Error::io("remove", &path, cause))?;
        }
        self.reload()?;
        Ok(Report {
            published,
            waiting,
            expires: timestamp.expires.to_string(),
        })
    }

    /// Signs the timestamp again, and the snapshot too when less than a third of its period is
    /// left: the rest is time to notice that this command no longer runs.
    ///
    /// # Errors
    /// [`Error::RepositoryMissing`] before the first publication; as [`Repository::release`].
    pub fn refresh(&mut self, ring: &Ring, now: UnixTime) -> Result<Report> {
        let Some(current) = self.published.snapshot.clone() else {
            return Err(Error::damaged(
                "snapshot",
                "nothing has been published yet; use `release`",
            ));
        };
        let signing = Signing {
            ring,
            with_root: false,
            accept_gap: false,
        };
        let mut staged = Staged::new();
        let mut published = Vec::new();
        let left = current.document.expires.since(now);
        let entry = if left.0 < self.settings.expiry.snapshot.0 / 3 {
            let entry = self.stage_snapshot(current.document.meta, &signing, now, &mut staged)?;
            published.push(("snapshot".into(), entry.version));
            entry
        } else {
            current.entry
        };
        let timestamp = self.stage_timestamp(entry, &signing, now, &mut staged)?;
        published.push(("timestamp".into(), timestamp.version));
        verdict::read_back(self, &staged, false, now)?;
        self.write_staged(&staged)?;
        self.reload()?;
        Ok(Report {
            published,
            waiting: Vec::new(),
            expires: timestamp.expires.to_string(),
        })
    }

    fn choose_drafts(&self, selection: &Selection) -> Result<(Vec<DraftStatus>, Vec<DraftStatus>)> {
        let chosen = match selection.roles.is_empty() {
            true => self.drafts()?,
            false => selection.roles.clone(),
        };
        if chosen.is_empty() {
            return Err(Error::DraftMissing("any role".into()));
        }
        let statuses: Result<Vec<DraftStatus>> =
            chosen.iter().map(|role| self.draft_status(role)).collect();
        let (ready, waiting): (Vec<_>, Vec<_>) =
            statuses?.into_iter().partition(|draft| draft.complete);
        match waiting.first() {
            Some(draft) if ready.is_empty() || !selection.roles.is_empty() => {
                Err(Error::DraftIncomplete {
                    draft: draft.role.clone(),
                    missing: missing_in_words(draft),
                })
            }
            _ => Ok((ready, waiting)),
        }
    }

    fn stage_snapshot(
        &self,
        meta: BTreeMap<String, SnapshotEntry>,
        signing: &Signing<'_>,
        now: UnixTime,
        staged: &mut Staged,
    ) -> Result<SnapshotEntry> {
        let version = self.next_version("snapshot")?;
        let snapshot = Snapshot {
            version,
            expires: now.plus(self.settings.expiry.snapshot),
            meta,
        };
        let bytes = self.sign_online("snapshot", Envelope::new(&snapshot), signing)?;
        let entry = SnapshotEntry::of(version, &bytes);
        staged.insert(Layout::role_file("snapshot", version), bytes);
        Ok(entry)
    }

    fn stage_timestamp(
        &self,
        snapshot: SnapshotEntry,
        signing: &Signing<'_>,
        now: UnixTime,
        staged: &mut Staged,
    ) -> Result<Timestamp> {
        let version = self.published.version("timestamp") + 1;
        let timestamp = Timestamp {
            version,
            expires: now.plus(self.settings.expiry.timestamp),
            snapshot,
        };
        let bytes = self.sign_online("timestamp", Envelope::new(&timestamp), signing)?;
        staged.insert(Layout::role_file("timestamp", version), bytes);
        Ok(timestamp)
    }

    /// Signs with every key of the role that is at hand, for the old root and for a new one.
    fn sign_online(
        &self,
        role: &str,
        mut envelope: Envelope,
        signing: &Signing<'_>,
    ) -> Result<Vec<u8>> {
        let requirements = self.requirements_of_top_level(role, signing.with_root)?;
        let public = requirements.iter().flat_map(|one| one.public.iter());
        let wanted = |id: &String| requirements.iter().any(|one| one.keys.key_ids.contains(id));
        let candidates: Vec<PublicKey> = public
            .filter(|(id, _)| wanted(id))
            .map(|(_, key)| key.clone())
            .collect();
        for id in requirements.iter().flat_map(|one| &one.keys.key_ids) {
            let signed = envelope.signatures.iter().any(|one| one.key_id == *id);
            if let (false, Some(signer)) = (signed, signing.ring.signer(self.key_name(id))?) {
                add_signature(&mut envelope, &candidates, role, &*signer)?;
            }
        }
        let last = requirements.len().saturating_sub(1);
        for (at, requirement) in requirements.iter().enumerate() {
            // The newest root's keys are never optional; those of the old one only on request.
            let optional = signing.accept_gap && at < last;
            if !optional && !requirement.is_met(&envelope) {
                return Err(Error::OnlineKeyMissing {
                    role: role.into(),
                    have: requirement.met_by(&envelope).len(),
                    need: requirement.keys.threshold,
                    dir: signing.ring.place(),
                });
            }
        }
        Ok(envelope.to_bytes())
    }

    /// Writes in the order that makes every state between two writes a valid repository.
    fn write_staged(&self, staged: &Staged) -> Result<()> {
        let rank = |name: &str| match name {
            // Without the first root nobody can read anything; a later one waits for the rest.
            "1.root.json" => 0,
            "timestamp.json" => 3,
            name if name.ends_with(".root.json") => 4,
            name if name.ends_with(".snapshot.json") => 2,
            _ => 1,
        };
        let mut order: Vec<(&String, &Vec<u8>)> = staged.iter().collect();
        order.sort_by_key(|(name, _)| rank(name));
        for (name, bytes) in order {
            let path: PathBuf = self.layout.metadata().join(name);
            files::write_durably(&*self.files, &path, bytes)?;
        }
        Ok(())
    }
}

/// How online roles are signed in one publication.
struct Signing<'a> {
    ring: &'a Ring,
    with_root: bool,
    accept_gap: bool,
}

fn missing_in_words(draft: &DraftStatus) -> String {
    let sets = draft
        .requirements
        .iter()
        .filter(|one| (one.signed.len() as u64) < one.threshold);
    let words: Vec<String> = sets
        .map(|one| {
            let names: Vec<&str> = one.missing.iter().map(|key| key.name.as_str()).collect();
            format!(
                "{} of {} signatures wanted by the {} are there; {} could sign",
                one.signed.len(),
                one.threshold,
                one.by,
                names.join(", ")
            )
        })
        .collect();
    words.join("; ")
}
