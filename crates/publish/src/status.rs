//! `status`: what is published, what is drafted, whose signatures are missing.

use std::fmt;

use serde::Serialize;
use twinroot_trust::digest::Digest;

use crate::documents::Document;
use crate::error::Result;
use crate::layout::channel_role;
use crate::repository::Repository;
use crate::rollout::PolicySummary;
use crate::signing::DraftStatus;

/// The state of a repository.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The product.
    pub product: String,
    /// Its architecture.
    pub architecture: String,
    /// Published roles: name, version, expiry.
    pub roles: Vec<RoleStatus>,
    /// Channels with their releases.
    pub channels: Vec<ChannelStatus>,
    /// Drafts with their signatures.
    pub drafts: Vec<DraftStatus>,
}

/// One published role.
#[derive(Debug, Clone, Serialize)]
pub struct RoleStatus {
    /// Its name.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// When clients begin to refuse it.
    pub expires: String,
}

/// One channel.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelStatus {
    /// Its name.
    pub channel: String,
    /// Its releases, oldest first.
    pub releases: Vec<ReleaseStatus>,
    /// Its rollout policy, where it has one.
    pub policy: Option<PolicySummary>,
}

/// One release of a channel.
#[derive(Debug, Clone, Serialize)]
pub struct ReleaseStatus {
    /// Its version.
    pub version: String,
    /// Its id.
    pub release: Digest,
    /// Whether clients see it already.
    pub published: bool,
    /// Whether the policy withdraws it.
    pub withdrawn: bool,
}

impl Repository {
    /// The state of the repository.
    ///
    /// # Errors
    /// [`crate::error::Error::Damaged`] when something cannot be read back.
    pub fn status(&self) -> Result<Status> {
        let channels: Result<Vec<_>> = self
            .channels()?
            .iter()
            .map(|channel| self.channel_status(channel))
            .collect();
        let drafts: Result<Vec<_>> = self
            .drafts()?
            .iter()
            .map(|role| self.draft_status(role))
            .collect();
        Ok(Status {
            product: self.settings.product.to_string(),
            architecture: self.settings.architecture.to_string(),
            roles: self.role_statuses(),
            channels: channels?,
            drafts: drafts?,
        })
    }

    fn role_statuses(&self) -> Vec<RoleStatus> {
        fn line(role: &str, document: &impl Document) -> RoleStatus {
            RoleStatus {
                role: role.into(),
                version: document.version(),
                expires: document.expires().to_string(),
            }
        }
        let published = &self.published;
        let root = published
            .root
            .iter()
            .map(|role| line("root", &role.document));
        let timestamp = published
            .timestamp
            .iter()
            .map(|role| line("timestamp", &role.document));
        let snapshot = published
            .snapshot
            .iter()
            .map(|role| line("snapshot", &role.document));
        let targets = published
            .targets
            .iter()
            .map(|(name, role)| line(name, &role.document));
        root.chain(timestamp)
            .chain(snapshot)
            .chain(targets)
            .collect()
    }

    fn channel_status(&self, channel: &str) -> Result<ChannelStatus> {
        let policy = self.policy(channel)?;
        let published = self.published.targets.get(&channel_role(channel));
        let releases = self.releases(channel)?;
        let releases = releases
            .into_iter()
            .map(|(version, release)| ReleaseStatus {
                published: published.is_some_and(|role| {
                    role.document
                        .targets
                        .contains_key(&self.target_of(channel, &version))
                }),
                withdrawn: policy
                    .as_ref()
                    .is_some_and(|policy| policy.withdrawn.contains(&release)),
                version: version.to_string(),
                release,
            });
        Ok(ChannelStatus {
            channel: channel.into(),
            releases: releases.collect(),
            policy: policy.as_ref().map(PolicySummary::of),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.product, self.architecture)?;
        match self.roles.is_empty() {
            true => writeln!(f, "\nnothing is published yet")?,
            false => writeln!(f, "\npublished")?,
        }
        for role in &self.roles {
            writeln!(
                f,
                "  {:<20} version {:<6} expires {}",
                role.role, role.version, role.expires
            )?;
        }
        for channel in &self.channels {
            channel.fmt(f)?;
        }
        if self.drafts.is_empty() {
            return writeln!(f, "\nno drafts");
        }
        writeln!(f, "\ndrafts")?;
        self.drafts
            .iter()
            .try_for_each(|draft| write_draft(f, draft))
    }
}

impl ChannelStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nchannel {}", self.channel)?;
        if self.releases.is_empty() {
            writeln!(f, "  no releases")?;
        }
        for release in &self.releases {
            let state = match (release.withdrawn, release.published) {
                (true, _) => "withdrawn",
                (false, true) => "published",
                (false, false) => "drafted",
            };
            writeln!(
                f,
                "  {:<20} {state:<10} {}",
                release.version, release.release
            )?;
        }
        match &self.policy {
            Some(policy) => {
                let offer = policy.offer.as_deref().unwrap_or("nothing");
                let paused = if policy.paused { ", paused" } else { "" };
                let start = policy
                    .start
                    .as_ref()
                    .map(|start| format!(" from {start}"))
                    .unwrap_or_default();
                writeln!(f, "  rollout: offers {offer}{start}{paused}")
            }
            None => writeln!(f, "  rollout: no policy"),
        }
    }
}

fn write_draft(f: &mut fmt::Formatter<'_>, draft: &DraftStatus) -> fmt::Result {
    let state = if draft.complete {
        "complete"
    } else {
        "incomplete"
    };
    writeln!(
        f,
        "  {:<20} version {:<6} {state}",
        draft.role, draft.version
    )?;
    for one in &draft.requirements {
        writeln!(
            f,
            "    {} of {} signatures wanted by {}",
            one.signed.len(),
            one.threshold,
            one.by
        )?;
        for key in &one.signed {
            writeln!(f, "      signed   {:<20} {}", key.name, key.id)?;
        }
        for key in &one.missing {
            writeln!(f, "      missing  {:<20} {}", key.name, key.id)?;
        }
    }
    Ok(())
}
