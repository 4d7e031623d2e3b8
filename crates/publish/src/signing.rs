//! Drafts and their signatures: which keys a draft needs, which have signed, adding one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::documents::{Delegations, Envelope, RoleKeys};
use crate::error::{Error, Result};
use crate::keys::{PublicKey, Signer};
use crate::repository::Repository;

/// One set of keys that must reach its threshold.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// Who asks for it, in words: `published root`, `drafted root`, `targets`.
    pub by: &'static str,
    /// The keys and the threshold.
    pub keys: RoleKeys,
    /// The public halves, by id.
    pub public: BTreeMap<String, PublicKey>,
}

impl Requirement {
    /// The ids of keys whose signature under this document is good. Keys are told apart by their
    /// bytes (an id is a hash of them), and a bad signature simply does not count.
    pub fn met_by(&self, envelope: &Envelope) -> Vec<&str> {
        let message = envelope.message();
        let good = |id: &&String| {
            let signature = envelope.signatures.iter().find(|one| one.key_id == **id);
            let key = self.public.get(*id);
            key.zip(signature)
                .is_some_and(|(key, signature)| key.verifies(&message, &signature.bytes))
        };
        self.keys
            .key_ids
            .iter()
            .filter(good)
            .map(String::as_str)
            .collect()
    }

    /// Whether the threshold is reached.
    pub fn is_met(&self, envelope: &Envelope) -> bool {
        self.met_by(envelope).len() as u64 >= self.keys.threshold
    }
}

/// The state of one draft, for people and as JSON.
#[derive(Debug, Clone, Serialize)]
pub struct DraftStatus {
    /// The role.
    pub role: String,
    /// The version it will have.
    pub version: u64,
    /// Whether every threshold is reached.
    pub complete: bool,
    /// One line for each set of keys.
    pub requirements: Vec<RequirementStatus>,
}

/// The state of one set of keys under one draft.
#[derive(Debug, Clone, Serialize)]
pub struct RequirementStatus {
    /// Who asks for it.
    pub by: String,
    /// Signatures wanted.
    pub threshold: u64,
    /// Keys that have signed.
    pub signed: Vec<KeyLabel>,
    /// Keys that have not.
    pub missing: Vec<KeyLabel>,
}

/// A key as people know it and as documents do.
#[derive(Debug, Clone, Serialize)]
pub struct KeyLabel {
    /// Its name in this repository.
    pub name: String,
    /// Its id.
    pub id: String,
}

impl Repository {
    /// What must sign the draft of a role.
    ///
    /// A drafted root needs the old and the new root keys (TUF 1.0.34 section 5.3.4). A drafted
    /// `targets` needs the keys of the published root and, when a root draft changes them, the new
    /// ones too: so it holds on both sides of the moment at which the root changes.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the documents that name the keys cannot be read.
    pub fn requirements(&self, role: &str) -> Result<Vec<Requirement>> {
        match role {
            "root" | "targets" | "snapshot" | "timestamp" => {
                self.requirements_of_top_level(role, true)
            }
            delegated => {
                let delegations = self.delegations_in_force()?;
                let Some(delegation) = delegations.role(delegated) else {
                    return Err(Error::damaged(
                        format!("draft {delegated}"),
                        "targets does not delegate to this role",
                    ));
                };
                Ok(vec![Requirement {
                    by: "targets",
                    keys: delegation.keys.clone(),
                    public: delegations.keys,
                }])
            }
        }
    }

    /// The delegations that the next publication will carry: those of a `targets` draft only once
    /// it is complete. Until then the published keys decide, so that a key ceremony that takes
    /// days stops neither releases nor a pause at night.
    fn delegations_in_force(&self) -> Result<Delegations> {
        let published = self.published.targets.get("targets");
        let published = published.and_then(|role| role.document.delegations.clone());
        match (published, self.draft("targets")?) {
            (Some(published), Some(draft)) => {
                let requirements = self.requirements("targets")?;
                let complete = requirements.iter().all(|one| one.is_met(&draft));
                if complete {
                    self.coming_delegations()
                } else {
                    Ok(published)
                }
            }
            (Some(published), None) => Ok(published),
            (None, _) => self.coming_delegations(),
        }
    }

    /// Every key whose signature may be of use under a draft, now or once other drafts are complete.
    fn possible_signers(&self, role: &str) -> Result<Vec<PublicKey>> {
        let requirements = self.requirements(role)?;
        let of = |keys: &RoleKeys, public: &BTreeMap<String, PublicKey>| -> Vec<PublicKey> {
            keys.key_ids
                .iter()
                .filter_map(|id| public.get(id).cloned())
                .collect()
        };
        let mut keys: Vec<PublicKey> = requirements
            .iter()
            .flat_map(|one| of(&one.keys, &one.public))
            .collect();
        let coming = self.coming_delegations()?;
        if let Some(delegation) = coming.role(role) {
            keys.extend(of(&delegation.keys, &coming.keys));
        }
        Ok(keys)
    }

    /// What must sign a top-level role; `with_draft` counts a drafted root in.
    ///
    /// # Errors
    /// As [`Repository::requirements`].
    pub(crate) fn requirements_of_top_level(
        &self,
        role: &str,
        with_draft: bool,
    ) -> Result<Vec<Requirement>> {
        let drafted = if with_draft {
            self.draft_of("root")?
        } else {
            None
        };
        let published = self
            .published
            .root
            .as_ref()
            .map(|root| root.document.clone());
        let mut requirements: Vec<Requirement> = Vec::new();
        for (by, root) in [("published root", published), ("drafted root", drafted)] {
            let Some(root) = root else { continue };
            let Some(keys) = root.roles.get(role) else {
                return Err(Error::damaged(by, format!("it has no role '{role}'")));
            };
            if requirements.iter().any(|known| known.keys == *keys) {
                continue;
            }
            requirements.push(Requirement {
                by,
                keys: keys.clone(),
                public: root.keys.clone(),
            });
        }
        Ok(requirements)
    }

    /// The state of the draft of a role.
    ///
    /// # Errors
    /// [`Error::DraftMissing`]; as [`Repository::requirements`].
    pub fn draft_status(&self, role: &str) -> Result<DraftStatus> {
        let envelope = self
            .draft(role)?
            .ok_or_else(|| Error::DraftMissing(role.into()))?;
        let version = envelope
            .signed
            .as_object()
            .and_then(|signed| signed.get("version")?.as_integer());
        let label = |id: &str| KeyLabel {
            name: self.key_name(id).to_owned(),
            id: id.to_owned(),
        };
        let requirements: Vec<RequirementStatus> = self
            .requirements(role)?
            .iter()
            .map(|requirement| {
                let signed = requirement.met_by(&envelope);
                let missing = requirement
                    .keys
                    .key_ids
                    .iter()
                    .filter(|id| !signed.contains(&id.as_str()));
                RequirementStatus {
                    by: requirement.by.into(),
                    threshold: requirement.keys.threshold,
                    missing: by_name(missing.map(|id| label(id))),
                    signed: by_name(signed.iter().map(|id| label(id))),
                }
            })
            .collect();
        let complete = requirements
            .iter()
            .all(|one| one.signed.len() as u64 >= one.threshold);
        Ok(DraftStatus {
            role: role.into(),
            version: version.unwrap_or_default(),
            complete,
            requirements,
        })
    }

    /// The names of all keys that could still sign a draft.
    ///
    /// # Errors
    /// As [`Repository::draft_status`].
    pub fn missing_signers(&self, role: &str) -> Result<Vec<String>> {
        let status = self.draft_status(role)?;
        let missing = status.requirements.into_iter().flat_map(|one| one.missing);
        let mut names: Vec<String> = missing.map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Takes over the good signatures of a copy of the draft that was signed elsewhere; gives
    /// back the names of their keys.
    ///
    /// # Errors
    /// [`Error::DraftMissing`]; [`Error::SignatureUseless`] when the copy is of another draft or
    /// brings no signature that counts.
    pub fn import_signatures(&self, role: &str, copy: &Envelope) -> Result<Vec<String>> {
        let mut envelope = self
            .draft(role)?
            .ok_or_else(|| Error::DraftMissing(role.into()))?;
        let useless = |signer: &str| Error::SignatureUseless {
            draft: role.into(),
            signer: signer.into(),
        };
        if copy.message() != envelope.message() {
            return Err(useless(
                "the file was made from another draft, and what signed it",
            ));
        }
        let mut names = Vec::new();
        let message = copy.message();
        for key in self.possible_signers(role)? {
            let id = key.id();
            let found = copy.signatures.iter().find(|one| one.key_id == id);
            if let Some(signature) = found.filter(|one| key.verifies(&message, &one.bytes)) {
                names.push(self.key_name(&id).to_owned());
                envelope.sign(id, signature.bytes.clone());
            }
        }
        if names.is_empty() {
            return Err(useless("whoever signed the file"));
        }
        names.sort_unstable();
        names.dedup();
        self.save_draft(role, &envelope)?;
        Ok(names)
    }

    /// Removes a draft.
    ///
    /// # Errors
    /// [`Error::DraftMissing`], [`Error::Io`].
    pub fn discard_draft(&self, role: &str) -> Result<()> {
        let path = self.layout.draft(role);
        if !path.is_file() {
            return Err(Error::DraftMissing(role.into()));
        }
        self.files
            .remove(&path)
            .map_err(|cause| Error::io("remove", &path, cause))
    }

    /// Adds one signature to a draft; gives back the name of the key that made it.
    ///
    /// # Errors
    /// [`Error::DraftMissing`]; [`Error::SignatureUseless`] when no key of the role made it;
    /// [`Error::SignerFailed`].
    pub fn sign_draft(&self, role: &str, signer: &dyn Signer) -> Result<String> {
        let mut envelope = self
            .draft(role)?
            .ok_or_else(|| Error::DraftMissing(role.into()))?;
        let key_id = add_signature(&mut envelope, &self.possible_signers(role)?, role, signer)?;
        self.save_draft(role, &envelope)?;
        Ok(self.key_name(&key_id).to_owned())
    }
}

/// Ids are in the order of their digits, which means nothing to people.
fn by_name(keys: impl Iterator<Item = KeyLabel>) -> Vec<KeyLabel> {
    let mut keys: Vec<KeyLabel> = keys.collect();
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    keys
}

/// Signs and checks the signature before it is kept: an external signer may hold another key than
/// everyone thinks, and a wrong signature must not be found by the nodes.
///
/// # Errors
/// [`Error::SignatureUseless`], [`Error::SignerFailed`].
pub fn add_signature(
    envelope: &mut Envelope,
    candidates: &[PublicKey],
    role: &str,
    signer: &dyn Signer,
) -> Result<String> {
    let useless = || Error::SignatureUseless {
        draft: role.into(),
        signer: signer.describe(),
    };
    // A key that is known not to belong here is not asked: it may cost somebody a PIN or a touch.
    if signer
        .public()
        .is_some_and(|public| !candidates.contains(public))
    {
        return Err(useless());
    }
    let message = envelope.message();
    let bytes = signer.sign(&message)?;
    let key = candidates
        .iter()
        .find(|key| key.verifies(&message, &bytes))
        .ok_or_else(useless)?;
    let key_id = key.id();
    envelope.sign(key_id.clone(), bytes);
    Ok(key_id)
}

/// What somebody is about to sign, in one line: enough to compare over the telephone.
pub fn summary(
    kind: &str,
    version: &str,
    expires: &str,
    digest: &twinroot_trust::digest::Digest,
    signatures: usize,
) -> String {
    format!(
        "{kind} version {version}, expires {expires}, {signatures} signatures, SHA-256 of what is signed {digest}"
    )
}
