//! What must be remembered of a release when its images are gone: `work/releases/VERSION/`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use crate::error::{Error, Result};
use crate::files;
use crate::keys::{hex, unhex};
use crate::repository::Repository;

/// `release.toml` of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Record {
    /// The release's version.
    pub version: Version,
    /// SHA-256 of its manifest: the release's id.
    pub manifest: Digest,
    /// Root hash of its image.
    pub root_hash: Digest,
    /// Salt of its hash tree, in hex.
    pub salt: String,
    /// SHA-256 of its UKI.
    pub uki: Digest,
}

impl Record {
    /// The record with its salt as bytes.
    pub fn new(
        version: Version,
        manifest: Digest,
        root_hash: Digest,
        salt: &[u8],
        uki: Digest,
    ) -> Self {
        Self {
            version,
            manifest,
            root_hash,
            salt: hex(salt),
            uki,
        }
    }

    /// The salt.
    pub fn salt(&self) -> Option<Vec<u8>> {
        unhex(&self.salt)
    }
}

impl Repository {
    /// The records of all releases that some channel lists or is about to list, oldest first. One
    /// that no channel lists belongs to an `add` that was interrupted or discarded.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn records(&self) -> Result<Vec<Record>> {
        let listed = self.listed_manifests()?;
        let mut records = Vec::new();
        for name in files::list(&self.layout.releases())? {
            let path = self.layout.releases().join(&name).join("release.toml");
            let Some(bytes) = files::read_if_there(&path)? else {
                continue;
            };
            let damaged = |why: String| Error::damaged(path.display().to_string(), why);
            let text = String::from_utf8(bytes).map_err(|cause| damaged(cause.to_string()))?;
            let record: Record =
                toml::from_str(&text).map_err(|cause| damaged(cause.to_string()))?;
            if listed.contains(&record.manifest) {
                records.push(record);
            }
        }
        records.sort_by(|one, other| one.version.cmp(&other.version));
        Ok(records)
    }

    pub(crate) fn save_record(&self, record: &Record, history: &[u8]) -> Result<()> {
        let dir = self.layout.releases().join(record.version.as_str());
        let text = toml::to_string(record).expect("a record holds strings only");
        files::write_durably(&*self.files, &dir.join("blocks.history"), history)?;
        files::write_durably(&*self.files, &dir.join("release.toml"), text.as_bytes())
    }

    /// Where the block history of a release is.
    pub(crate) fn history_path(&self, version: &Version) -> PathBuf {
        self.layout
            .releases()
            .join(version.as_str())
            .join("blocks.history")
    }

    fn listed_manifests(&self) -> Result<Vec<Digest>> {
        let mut listed = Vec::new();
        for channel in self.channels()? {
            let role = crate::layout::channel_role(&channel);
            let published = self
                .published
                .targets
                .get(&role)
                .map(|role| role.document.clone());
            let coming = self.coming_targets(&role)?;
            let both = published.into_iter().chain([coming]);
            listed.extend(
                both.flat_map(|targets| targets.targets.into_values().map(|file| file.digest)),
            );
        }
        Ok(listed)
    }
}
