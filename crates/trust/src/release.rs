//! Releases as a node sees them: listed by its own channel's role, proven by digest, made for it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::digest::Digest;
use crate::error::BadValue;
use crate::keys::KeyPolicy;
use crate::manifest::{MAX_BYTES, Manifest, ManifestError};
use crate::name::Name;
use crate::tuf::{
    Delegation, Expiry, Limits, TargetInfo, Targets, Trusted, TufError, Verified, prove_target,
};
use crate::version::Version;

/// The role that signs rollout policies.
pub const ROLLOUT_ROLE: &str = "rollout";

/// The role that signs the releases of a channel.
pub fn channel_role(channel: &Name) -> String {
    format!("channel-{channel}")
}

/// What a node is: burnt into its image, never taken from a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The product.
    pub product: Name,
    /// The flavour, if the product has flavours.
    pub variant: Option<Name>,
    /// The machine architecture.
    pub architecture: Name,
    /// The channel that the node follows.
    pub channel: Name,
}

/// Where a release stands: `channels/<channel>/<product>/<architecture>/<version>/manifest.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ReleasePath {
    pub channel: Name,
    pub product: Name,
    pub architecture: Name,
    pub version: Version,
}

impl fmt::Display for ReleasePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            channel,
            product,
            architecture,
            version,
        } = self;
        write!(
            formatter,
            "channels/{channel}/{product}/{architecture}/{version}/manifest.toml"
        )
    }
}

impl FromStr for ReleasePath {
    type Err = BadValue;

    fn from_str(path: &str) -> Result<Self, BadValue> {
        let parts: Vec<_> = path.split('/').collect();
        match parts[..] {
            [
                "channels",
                channel,
                product,
                architecture,
                version,
                "manifest.toml",
            ] => Ok(Self {
                channel: channel.parse()?,
                product: product.parse()?,
                architecture: architecture.parse()?,
                version: version.parse()?,
            }),
            _ => {
                let form = "channels/<channel>/<product>/<architecture>/<version>/manifest.toml is required";
                Err(BadValue::new("release path", path, form))
            }
        }
    }
}

/// Where a rollout policy stands: `rollout/<product>/<architecture>/<channel>.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PolicyPath {
    pub product: Name,
    pub architecture: Name,
    pub channel: Name,
}

impl fmt::Display for PolicyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "rollout/{}/{}/{}.toml",
            self.product, self.architecture, self.channel
        )
    }
}

impl FromStr for PolicyPath {
    type Err = BadValue;

    fn from_str(path: &str) -> Result<Self, BadValue> {
        let parts: Vec<_> = path.split('/').collect();
        if let ["rollout", product, architecture, file] = parts[..]
            && let Some(channel) = file.strip_suffix(".toml")
        {
            let (product, architecture) = (product.parse()?, architecture.parse()?);
            return Ok(Self {
                product,
                architecture,
                channel: channel.parse()?,
            });
        }
        let form = "rollout/<product>/<architecture>/<channel>.toml is required";
        Err(BadValue::new("rollout path", path, form))
    }
}

impl Identity {
    /// Where the rollout policy of this node stands.
    pub fn policy_path(&self) -> PolicyPath {
        let Self {
            product,
            architecture,
            channel,
            ..
        } = self.clone();
        PolicyPath {
            product,
            architecture,
            channel,
        }
    }
}

/// Why a release is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the fields are named in the messages
pub enum ReleaseError {
    #[error(transparent)]
    Metadata(#[from] TufError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the repository has no role {role}; check the channel's name, or publish to it first")]
    ChannelUnknown { role: String },
    #[error(
        "release {version} is not listed by channel {channel}; only the node's own channel can offer it"
    )]
    NotInChannel { version: Version, channel: Name },
    #[error(
        "{path} lists two releases that compare as the same version; publish one of them under another version"
    )]
    AmbiguousVersion { path: String },
    #[error(
        "the release is for {what} {found}, this node is {expected}; publish the right release to this channel"
    )]
    WrongSoftware {
        what: &'static str,
        expected: String,
        found: String,
    },
}

impl ReleaseError {
    /// The stable code of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Metadata(cause) => cause.code(),
            Self::Manifest(cause) => cause.code(),
            Self::ChannelUnknown { .. } => "channel-unknown",
            Self::NotInChannel { .. } => "release-not-in-channel",
            Self::AmbiguousVersion { .. } => "ambiguous-version",
            Self::WrongSoftware { .. } => "wrong-software",
        }
    }
}

/// A release that the node's own channel lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path, which names channel, product, architecture and version.
    pub path: ReleasePath,
    /// What is signed of the manifest.
    pub manifest: TargetInfo,
}

/// The releases for this node, oldest first, out of its own channel's role and no other: whatever
/// another role lists under this channel's paths does not count, not even in the top-level role.
///
/// # Errors
/// If the channel's role is not trusted yet ([`crate::tuf::Workflow::trust_role`] does that) or
/// does not exist, or two listed versions compare as equal.
pub fn channel_releases(
    trusted: &Trusted,
    identity: &Identity,
) -> Result<Vec<Verified<Listed>>, ReleaseError> {
    let role = channel_role(&identity.channel);
    let (delegation, document) = delegated(trusted, &role)?;
    let mut releases: Vec<Verified<Listed>> = Vec::new();
    for (name, target) in &document.targets {
        // Names that are no release of this channel, product and architecture are other people's.
        let Ok(path) = name.parse::<ReleasePath>() else {
            continue;
        };
        let ours = path.channel == identity.channel
            && path.product == identity.product
            && path.architecture == identity.architecture;
        if ours && delegation.scope.covers(name) && target.length <= MAX_BYTES as u64 {
            releases.push(document.derive(|_| Listed {
                path,
                manifest: target.clone(),
            }));
        }
    }
    releases.sort_by(|a, b| a.path.version.cmp(&b.path.version));
    match releases
        .windows(2)
        .find(|pair| pair[0].path.version == pair[1].path.version)
    {
        Some(pair) => Err(ReleaseError::AmbiguousVersion {
            path: pair[1].path.to_string(),
        }),
        None => Ok(releases),
    }
}

/// The rollout policy for this node, if the rollout role lists one.
///
/// # Errors
/// If the rollout role is not trusted yet or does not exist.
pub fn rollout_target(
    trusted: &Trusted,
    identity: &Identity,
) -> Result<Option<Verified<TargetInfo>>, ReleaseError> {
    let (delegation, document) = delegated(trusted, ROLLOUT_ROLE)?;
    let path = identity.policy_path().to_string();
    let target = document
        .targets
        .get(&path)
        .filter(|_| delegation.scope.covers(&path));
    Ok(target.map(|target| document.derive(|_| target.clone())))
}

/// A role that the top-level targets role delegates to, with its delegation.
fn delegated<'a>(
    trusted: &'a Trusted,
    role: &str,
) -> Result<(&'a Delegation, &'a Verified<Targets>), ReleaseError> {
    let unknown = || ReleaseError::ChannelUnknown { role: role.into() };
    let top = trusted.targets("targets", "root").ok_or_else(unknown)?;
    let delegation = top.delegations.get(role).ok_or_else(unknown)?;
    let document = trusted.targets(role, "targets");
    let document = document.ok_or_else(|| TufError::OutOfOrder {
        role: role.into(),
        before: "its delegation",
    })?;
    Ok((delegation, document))
}

/// A release: proven, of the node's channel, and made for this kind of node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The SHA-256 of the manifest: the identity of the release whatever the channel.
    pub id: Digest,
    /// Where it is listed.
    pub path: ReleasePath,
    /// What it says.
    pub manifest: Manifest,
}

impl Release {
    /// The release behind a listed manifest, once its bytes are there.
    ///
    /// # Errors
    /// Wrong length or digest, a malformed manifest, or a release for another product, variant,
    /// architecture or version than where it stands.
    pub fn admit(
        listed: &Verified<Listed>,
        bytes: Vec<u8>,
        identity: &Identity,
    ) -> Result<Verified<Self>, ReleaseError> {
        let proven = prove_target(&listed.derive(|listed| listed.manifest.clone()), bytes)?;
        let manifest = Manifest::read(&proven)?;
        let path = &listed.path;
        let variant = |variant: &Option<Name>| {
            variant
                .as_ref()
                .map_or("without variant".to_string(), Name::to_string)
        };
        agree("channel", identity.channel.as_str(), path.channel.as_str())?;
        agree(
            "product",
            identity.product.as_str(),
            manifest.product.as_str(),
        )?;
        agree(
            "variant",
            &variant(&identity.variant),
            &variant(&manifest.variant),
        )?;
        agree(
            "architecture",
            identity.architecture.as_str(),
            manifest.architecture.as_str(),
        )?;
        agree("product", path.product.as_str(), manifest.product.as_str())?;
        agree(
            "architecture",
            path.architecture.as_str(),
            manifest.architecture.as_str(),
        )?;
        agree("version", path.version.as_str(), manifest.version.as_str())?;
        let id = proven.digest();
        Ok(manifest.derive(|manifest| Self {
            id,
            path: path.clone(),
            manifest: manifest.clone(),
        }))
    }
}

fn agree(what: &'static str, expected: &str, found: &str) -> Result<(), ReleaseError> {
    if expected != found {
        let (expected, found) = (expected.into(), found.into());
        return Err(ReleaseError::WrongSoftware {
            what,
            expected,
            found,
        });
    }
    Ok(())
}

/// The raw bytes from which a release is proven again after a restart. Keeping bytes instead of
/// conclusions means that no file on the node can claim to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRelease {
    /// Root versions after the anchor, in order.
    pub roots: Vec<Vec<u8>>,
    /// The timestamp.
    pub timestamp: Vec<u8>,
    /// The snapshot.
    pub snapshot: Vec<u8>,
    /// The top-level targets role.
    pub targets: Vec<u8>,
    /// The channel's role.
    pub channel: Vec<u8>,
    /// The release's version, as listed.
    pub version: Version,
    /// The manifest.
    pub manifest: Vec<u8>,
}

impl SavedRelease {
    /// Proves the release again, from the anchor on. Whether expiry is judged is the caller's
    /// choice: it was when staging started, and is again at the refresh before the reboot.
    ///
    /// # Errors
    /// The same as on the way here the first time.
    pub fn prove(
        &self,
        anchor: &[u8],
        identity: &Identity,
        expiry: Expiry,
        policy: KeyPolicy,
    ) -> Result<Verified<Release>, ReleaseError> {
        let mut trusted = Trusted::from_root(anchor, policy, Limits::node())?;
        for root in &self.roots {
            trusted.update_root(root)?;
        }
        trusted.finish_roots(expiry)?;
        trusted.update_timestamp(&self.timestamp)?;
        trusted.update_snapshot(&self.snapshot)?;
        trusted.update_targets("targets", "root", &self.targets)?;
        let role = channel_role(&identity.channel);
        trusted.update_targets(&role, "targets", &self.channel)?;
        let listed = channel_releases(&trusted, identity)?;
        let found = listed
            .iter()
            .find(|listed| listed.path.version == self.version);
        let listed = found.ok_or_else(|| ReleaseError::NotInChannel {
            version: self.version.clone(),
            channel: identity.channel.clone(),
        })?;
        Release::admit(listed, self.manifest.clone(), identity)
    }
}
