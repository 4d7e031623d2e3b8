//! The pairs of images that are measured.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::keep::digest_of;

/// How the trees of a pair are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// EROFS, uncompressed: what a twinroot host should use.
    Erofs,
    /// EROFS with lz4hc: half the slot, and changes that spread.
    ErofsLz4,
    /// ext4, 1 GiB.
    Ext4,
}

impl Format {
    /// As rows name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::ErofsLz4 => "erofs-lz4",
            Self::Ext4 => "ext4",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::ErofsLz4 => "lz4.erofs",
            Self::Ext4 => "ext4",
        }
    }
}

/// A kind of update: which tree follows which. `images/make.sh` makes the trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// As rows name it.
    pub name: &'static str,
    /// Tree of the release that runs.
    pub old: &'static str,
    /// Tree of the release that comes.
    pub new: &'static str,
}

/// Four months of security updates, kernel included (v1→v2).
pub const REFRESH: Kind = kind("refresh", "old", "new");
/// The same with the kernel stored unpacked in both.
pub const UNPACKED: Kind = kind("refresh-unpacked", "old-unpacked", "new-unpacked");
/// One package (v2h→v2).
pub const HOTFIX: Kind = kind("hotfix", "middle", "new");
/// The next release of the distribution (v2→v3).
pub const MAJOR: Kind = kind("major", "new", "next");
/// Only large Go programs change, in a rebuild: containerd, and one as large as a kubelet (snapd).
pub const REBUILT: Kind = kind("go-rebuilt", "go-before", "go-after");
/// What a week brought: five source packages.
pub const WEEK: Kind = kind("week", "week", "new");

const fn kind(name: &'static str, old: &'static str, new: &'static str) -> Kind {
    Kind { name, old, new }
}

/// A pair of images that are there.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Which update.
    pub kind: Kind,
    /// How it is stored.
    pub format: Format,
    /// The image that runs.
    pub old: PathBuf,
    /// The image that comes.
    pub new: PathBuf,
    /// SHA-256 of both, for the cache.
    pub digests: [String; 2],
}

impl Pair {
    /// Looks for the two images in `folder`.
    pub fn find(folder: &Path, kind: Kind, format: Format) -> Result<Self> {
        let image = |tree: &str| -> Result<PathBuf> {
            let path = folder.join(format!("{tree}.{}", format.suffix()));
            if path.is_file() {
                return Ok(path);
            }
            bail!("{} is missing: images/make.sh makes it", path.display())
        };
        let (old, new) = (image(kind.old)?, image(kind.new)?);
        let digests = [digest_of(&old)?, digest_of(&new)?];
        Ok(Self {
            kind,
            format,
            old,
            new,
            digests,
        })
    }
}
