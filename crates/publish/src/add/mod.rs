//! `add`: from image, tree and UKI to payloads, a manifest and a draft of the channel.
//!
//! Everything that others computed is computed again. The draft is written last: an `add` that
//! dies before has left files that nothing refers to.

mod deltas;
mod image;
mod payloads;
mod record;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use twinroot_core::bootfmt::pe;
use twinroot_payload::encode::delta::DeltaParams;
use twinroot_payload::encode::{Layout as PayloadLayout, Params};
use twinroot_trust::digest::Digest;
use twinroot_trust::manifest::{
    Artefact, Coding, Contents, Delta, FileRef, Kind, Manifest, Payload, Requires, RolloutLimit,
    Seal, Severity, StateFormat, Verity,
};
use twinroot_trust::policy::Schedule;
use twinroot_trust::time::{Day, Seconds, UnixTime};
use twinroot_trust::version::Version;

pub use deltas::AddedDelta;
pub use payloads::{Progress, digest_of};
pub use record::Record;

use crate::documents::TargetFile;
use crate::error::{Error, Result};
use crate::files;
use crate::keys::hex;
use crate::repository::Repository;
use image::ImageFile;
use payloads::Work;

/// How many releases back deltas are made unless the caller says otherwise: a node that looks once a
/// day is rarely further behind, and any other node reuses what blocks it has.
pub const DELTA_FROM: usize = 3;

/// A release to be added: its input files and what its manifest says.
#[derive(Debug, Clone)]
pub struct AddPlan {
    /// The channel that lists it.
    pub channel: String,
    /// Its version.
    pub version: Version,
    /// The root (or usr) image.
    pub image: PathBuf,
    /// Whether the image is the root or `/usr` alone.
    pub kind: Kind,
    /// The hash tree as built; compared when given.
    pub tree: Option<PathBuf>,
    /// The UKI; its command line carries the root hash.
    pub uki: PathBuf,
    /// The salt of the tree; taken from the tree or from earlier releases when not given.
    pub salt: Option<Vec<u8>>,
    /// One line for people.
    pub summary: String,
    /// How urgent it is.
    pub severity: Severity,
    /// What a machine needs.
    pub requires: Requires,
    /// The floor rises to this at commit.
    pub revokes_below: Option<Version>,
    /// Until when it gets fixes.
    pub supported_until: Option<Day>,
    /// How long health must hold.
    pub probation: Option<Seconds>,
    /// No rollout may start before this; now when not given.
    pub earliest: Option<UnixTime>,
    /// The fastest rollout allowed.
    pub schedule: Schedule,
    /// State formats of components.
    pub state: BTreeMap<String, StateFormat>,
    /// Versions of components, for people.
    pub components: BTreeMap<String, String>,
    /// The bill of materials.
    pub sbom: Option<PathBuf>,
    /// How payloads are coded.
    pub params: Params,
    /// How many of the channel's last releases get a delta to this one.
    pub delta_from: usize,
    /// zstd's level of deltas, where it shall not follow from that of the full payload.
    pub delta_level: Option<i32>,
    /// Threads that code.
    pub threads: usize,
}

impl AddPlan {
    /// A plan with the defaults of the command line: a routine release for everyone at once.
    pub fn new(
        channel: impl Into<String>,
        version: Version,
        image: impl Into<PathBuf>,
        uki: impl Into<PathBuf>,
    ) -> Self {
        Self {
            channel: channel.into(),
            version,
            image: image.into(),
            kind: Kind::Root,
            tree: None,
            uki: uki.into(),
            salt: None,
            summary: String::new(),
            severity: Severity::Routine,
            requires: Requires::default(),
            revokes_below: None,
            supported_until: None,
            probation: None,
            earliest: None,
            schedule: Schedule::at_once(),
            state: BTreeMap::new(),
            components: BTreeMap::new(),
            sbom: None,
            params: Params::default(),
            delta_from: DELTA_FROM,
            delta_level: None,
            threads: 1,
        }
    }

    /// Deltas are coded at zstd's highest level, unless the full payload is coded at less than is
    /// usual: then somebody is in a hurry. Segments are never larger than those of the full payload.
    pub(crate) fn delta_params(&self) -> DeltaParams {
        let mut params = DeltaParams::default();
        params.segment_blocks = params.segment_blocks.min(self.params.segment_blocks);
        let hurried = (self.params.level < Params::default().level).then_some(self.params.level);
        if let Some(level) = self.delta_level.or(hurried) {
            params.level = level;
        }
        params
    }
}

/// What was added.
#[derive(Debug, Clone, Serialize)]
pub struct Added {
    /// The target path of the manifest.
    pub target: String,
    /// SHA-256 of the manifest: the release's id.
    pub release: String,
    /// Root hash of the image.
    pub root_hash: String,
    /// SHA-256 of the UKI.
    pub uki: String,
    /// Bytes of the full payload.
    pub payload_bytes: u64,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// What became of the deltas from earlier releases.
    pub deltas: Vec<AddedDelta>,
    /// The draft to be signed.
    pub draft: String,
}

impl Repository {
    /// Adds a release to a channel's draft.
    ///
    /// # Errors
    /// [`Error::RootHashMismatch`], [`Error::RootHashUsed`], [`Error::SaltChanged`],
    /// [`Error::ReleaseExists`], [`Error::InputFile`], [`Error::ChannelUnknown`], …
    pub fn add(&mut self, plan: &AddPlan, progress: Progress<'_>, now: UnixTime) -> Result<Added> {
        let role = self.role_of_channel(&plan.channel)?;
        let records = self.records()?;
        if records.iter().any(|record| record.version == plan.version) {
            return Err(Error::ReleaseExists {
                channel: plan.channel.clone(),
                version: plan.version.to_string(),
            });
        }
        let image = ImageFile::open(&plan.image)?;
        let shape = image.shape()?;
        let salt = self.salt_for(plan, &records)?;
        let history = self.history_for(plan, &records, &salt)?;
        let planned = PayloadLayout::make(&image, &salt, history.as_ref(), &plan.params)
            .map_err(|cause| image.wrong(cause))?;
        let root_hash = Digest::from_bytes(*planned.root_hash());
        if let Some(tree) = &plan.tree {
            image::check_tree(&ImageFile::open(tree)?, &shape, &salt, &root_hash)?;
        }
        self.check_uki(plan, &root_hash)?;
        if let Some(used) = records.iter().find(|record| record.root_hash == root_hash) {
            return Err(Error::RootHashUsed {
                root_hash: root_hash.to_string(),
                version: used.version.to_string(),
            });
        }

        let work = Work {
            params: &plan.params,
            threads: plan.threads,
            progress,
        };
        let (full, metas) = payloads::cut_full(&*self.files, &self.layout, &image, &planned, work)?;
        let (uki_bytes, uki) = payloads::copy_plain(&*self.files, &self.layout, &plan.uki)?;
        let payload_bytes = full.size;
        let inputs = deltas::Inputs {
            plan,
            image: &image,
            planned: &planned,
            metas: &metas,
            root_hash,
            uki,
            progress,
        };
        let made = self.deltas(&inputs, &records)?;
        let verity = Verity {
            root_hash,
            salt: salt.clone(),
        };
        let artefacts = vec![
            image_artefact(plan.kind, image.length(), verity, (full, made.image)),
            uki_artefact(uki_bytes, uki, made.uki),
        ];
        let manifest = self.manifest(plan, artefacts, now)?;
        let bytes = checked_toml(&manifest)?;
        let target = self.target_of(&plan.channel, &plan.version);
        let file = TargetFile::of(&bytes);
        files::write_durably(
            &*self.files,
            &self.layout.target_file(&target, &file.digest),
            &bytes,
        )?;
        let record = Record::new(plan.version.clone(), file.digest, root_hash, &salt, uki);
        self.save_record(&record, &planned.history().encode())?;
        self.edit_targets(&role, now, |targets| {
            targets.targets.insert(target.clone(), file.clone());
            Ok(())
        })?;
        Ok(Added {
            target,
            release: file.digest.to_string(),
            root_hash: root_hash.to_string(),
            uki: uki.to_string(),
            payload_bytes,
            image_bytes: image.length(),
            deltas: made.all,
            draft: role,
        })
    }

    /// Lists the bytes of a release under another channel as well: the same manifest, so the same
    /// release id, to be signed by that channel's keys.
    ///
    /// # Errors
    /// [`Error::ReleaseMissing`], [`Error::ReleaseExists`], [`Error::ChannelUnknown`].
    pub fn promote(
        &mut self,
        from: &str,
        to: &str,
        version: &Version,
        now: UnixTime,
    ) -> Result<String> {
        let source = self.coming_targets(&self.role_of_channel(from)?)?;
        let role = self.role_of_channel(to)?;
        let (found, target) = (self.target_of(from, version), self.target_of(to, version));
        let Some(file) = source.targets.get(&found).cloned() else {
            return Err(Error::ReleaseMissing {
                channel: from.into(),
                version: version.to_string(),
            });
        };
        if self.coming_targets(&role)?.targets.contains_key(&target) {
            return Err(Error::ReleaseExists {
                channel: to.into(),
                version: version.to_string(),
            });
        }
        let bytes = files::read(&self.layout.target_file(&found, &file.digest))?;
        if TargetFile::of(&bytes) != file {
            return Err(Error::damaged(
                found,
                "the manifest is not the one that is listed",
            ));
        }
        files::write_durably(
            &*self.files,
            &self.layout.target_file(&target, &file.digest),
            &bytes,
        )?;
        self.edit_targets(&role, now, |targets| {
            targets.targets.insert(target, file);
            Ok(())
        })?;
        Ok(role)
    }

    /// The target path of a release's manifest.
    pub fn target_of(&self, channel: &str, version: &Version) -> String {
        let (product, architecture) = (&self.settings.product, &self.settings.architecture);
        format!("channels/{channel}/{product}/{architecture}/{version}/manifest.toml")
    }

    /// The manifest of a release that a channel lists or is about to list, with its bytes.
    ///
    /// # Errors
    /// [`Error::ReleaseMissing`]; [`Error::Damaged`] when the file is not the one listed.
    pub fn manifest_of(&self, channel: &str, version: &Version) -> Result<(Manifest, Vec<u8>)> {
        let target = self.target_of(channel, version);
        let listed = self.coming_targets(&self.role_of_channel(channel)?)?;
        let Some(file) = listed.targets.get(&target) else {
            return Err(Error::ReleaseMissing {
                channel: channel.into(),
                version: version.to_string(),
            });
        };
        let bytes = files::read(&self.layout.target_file(&target, &file.digest))?;
        if TargetFile::of(&bytes) != *file {
            return Err(Error::damaged(
                target,
                "the file is not the one that is listed",
            ));
        }
        let manifest = Manifest::parse(&bytes).map_err(|cause| Error::damaged(target, cause))?;
        Ok((manifest, bytes))
    }

    /// The product's salt where it has one; a first release brings it.
    fn salt_for(&self, plan: &AddPlan, records: &[Record]) -> Result<Vec<u8>> {
        let known = records.last().and_then(Record::salt);
        let stated = match (&plan.salt, &plan.tree) {
            (Some(salt), _) => Some(salt.clone()),
            (None, Some(tree)) => Some(image::salt_of_tree(&ImageFile::open(tree)?)?),
            (None, None) => None,
        };
        match (known, stated) {
            (Some(known), Some(stated)) if known != stated => Err(Error::SaltChanged {
                found: hex(&stated),
                product: self.settings.product.to_string(),
                known: hex(&known),
            }),
            (Some(salt), _) | (None, Some(salt)) => Ok(salt),
            (None, None) => Err(Error::argument(
                "salt",
                "the first release must bring it: give --salt or --verity",
            )),
        }
    }

    /// The history of the release before: the highest below this one.
    fn history_for(
        &self,
        plan: &AddPlan,
        records: &[Record],
        salt: &[u8],
    ) -> Result<Option<twinroot_payload::encode::History>> {
        let before = records
            .iter()
            .rev()
            .find(|record| record.version < plan.version);
        match before {
            Some(record) => payloads::history(&self.history_path(&record.version), salt),
            None => Ok(None),
        }
    }

    fn check_uki(&self, plan: &AddPlan, computed: &Digest) -> Result<()> {
        let subject = plan.uki.display().to_string();
        let info = pe::read_uki(&subject, &files::read(&plan.uki)?)?;
        if info.root_hash != *computed {
            return Err(Error::RootHashMismatch {
                what: format!("the command line of {subject}"),
                found: info.root_hash.to_string(),
                computed: computed.to_string(),
            });
        }
        match info.machine.architecture() == self.settings.architecture.as_str() {
            true => Ok(()),
            false => Err(Error::InputFile {
                path: plan.uki.clone(),
                why: format!(
                    "it is for {}, the repository for {}",
                    info.machine.architecture(),
                    self.settings.architecture
                ),
            }),
        }
    }

    fn manifest(
        &self,
        plan: &AddPlan,
        artefacts: Vec<Artefact>,
        now: UnixTime,
    ) -> Result<Manifest> {
        let sbom = match &plan.sbom {
            Some(path) => {
                let (size, sha256) = payloads::copy_plain(&*self.files, &self.layout, path)?;
                Some(FileRef {
                    path: crate::layout::Layout::payload_name(&sha256),
                    size,
                    sha256,
                })
            }
            None => None,
        };
        Ok(Manifest {
            product: self.settings.product.clone(),
            variant: self.settings.variant.clone(),
            architecture: self.settings.architecture.clone(),
            version: plan.version.clone(),
            released: now,
            supported_until: plan.supported_until,
            summary: plan.summary.clone(),
            severity: plan.severity,
            requires: plan.requires.clone(),
            revokes_below: plan.revokes_below.clone(),
            artefacts,
            probation: plan.probation,
            rollout_limit: RolloutLimit {
                earliest: plan.earliest.unwrap_or(now),
                schedule: plan.schedule.clone(),
            },
            state: plan.state.clone(),
            contents: Contents {
                sbom,
                components: plan.components.clone(),
            },
        })
    }
}

fn image_artefact(
    kind: Kind,
    size: u64,
    verity: Verity,
    (full, deltas): (Payload, Vec<Delta>),
) -> Artefact {
    let seal = match kind {
        Kind::Usr => Seal::Usr(verity),
        Kind::Root | Kind::Uki => Seal::Root(verity),
    };
    Artefact {
        size,
        seal,
        full,
        deltas,
    }
}

/// The full payload of a UKI is the UKI: kernel and initramfs inside are compressed already.
fn uki_artefact(size: u64, sha256: Digest, deltas: Vec<Delta>) -> Artefact {
    let path = crate::layout::Layout::payload_name(&sha256);
    let full = Payload {
        path,
        size,
        sha256,
        coding: Coding::Plain,
    };
    Artefact {
        size,
        seal: Seal::Uki(sha256),
        full,
        deltas,
    }
}

/// The manifest's text, read back by the reader that nodes use before anyone signs it.
fn checked_toml(manifest: &Manifest) -> Result<Vec<u8>> {
    let bytes = manifest.to_toml().into_bytes();
    match Manifest::parse(&bytes) {
        Ok(read) if read == *manifest => Ok(bytes),
        Ok(_) => Err(Error::WouldBeRefused(
            "the manifest does not read back as it was written".into(),
        )),
        Err(cause) => Err(Error::WouldBeRefused(cause.to_string())),
    }
}
