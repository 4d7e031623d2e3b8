//! Where things lie in a repository directory. What is published is apart from what is not.

use std::path::{Path, PathBuf};

use twinroot_trust::digest::Digest;

/// The paths of one repository directory:
///
/// ```text
/// publish.toml           settings
/// repo/metadata/         published: N.ROLE.json and timestamp.json
/// repo/targets/          published: manifests and rollout policies, DIGEST.NAME
/// repo/targets/payload/  published: payloads, UKIs and what else manifests name, by digest
/// work/drafts/           documents that await signatures, ROLE.json
/// work/keys/             public keys with their names, NAME.pub
/// work/releases/         what must be remembered of each release: root hash, block history
/// work/lock              one process at a time
/// ```
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout below this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Settings.
    pub fn settings(&self) -> PathBuf {
        self.dir.join("publish.toml")
    }

    /// Everything that a web server hands out.
    pub fn published(&self) -> PathBuf {
        self.dir.join("repo")
    }

    /// Published metadata.
    pub fn metadata(&self) -> PathBuf {
        self.published().join("metadata")
    }

    /// Published targets.
    pub fn targets(&self) -> PathBuf {
        self.published().join("targets")
    }

    /// Published payloads.
    pub fn payloads(&self) -> PathBuf {
        self.targets().join("payload")
    }

    /// The path of a payload as manifests name it: relative to the targets URL.
    pub fn payload_name(digest: &Digest) -> String {
        format!("payload/{digest}")
    }

    /// Drafts.
    pub fn drafts(&self) -> PathBuf {
        self.dir.join("work/drafts")
    }

    /// The draft of a role.
    pub fn draft(&self, role: &str) -> PathBuf {
        self.drafts().join(format!("{role}.json"))
    }

    /// Public keys by name.
    pub fn public_keys(&self) -> PathBuf {
        self.dir.join("work/keys")
    }

    /// Records of releases.
    pub fn releases(&self) -> PathBuf {
        self.dir.join("work/releases")
    }

    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("work/lock")
    }

    /// The name of a published role file. Consistent snapshots (TUF 1.0.34 section 6.2): every
    /// role but timestamp carries its version in the file name, so nothing is overwritten.
    pub fn role_file(role: &str, version: u64) -> String {
        match role {
            "timestamp" => "timestamp.json".into(),
            role => format!("{version}.{role}.json"),
        }
    }

    /// The file of a target: with consistent snapshots its digest precedes its name.
    pub fn target_file(&self, target: &str, digest: &Digest) -> PathBuf {
        let mut path = self.targets();
        match target.rsplit_once('/') {
            Some((directory, name)) => {
                path.push(directory);
                path.push(format!("{digest}.{name}"));
            }
            None => path.push(format!("{digest}.{target}")),
        }
        path
    }
}

/// The delegated role of a channel.
pub fn channel_role(channel: &str) -> String {
    format!("channel-{channel}")
}

/// The delegated role of all rollout policies.
pub const ROLLOUT_ROLE: &str = "rollout";
