//! Rollout policies: offer, pause, resume, withdraw. One signature of the rollout role each.

use serde::Serialize;
use twinroot_trust::digest::Digest;
use twinroot_trust::name::Name;
use twinroot_trust::policy::{Offer, RolloutPolicy, Schedule};
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

use crate::documents::TargetFile;
use crate::error::{Error, Result};
use crate::files;
use crate::layout::ROLLOUT_ROLE;
use crate::repository::Repository;

/// A rollout to begin.
#[derive(Debug, Clone)]
pub struct OfferPlan {
    /// The release.
    pub version: Version,
    /// When the first wave opens; the earliest that is allowed when not given.
    pub start: Option<UnixTime>,
    /// The waves; the fastest that the manifest allows when not given.
    pub schedule: Option<Schedule>,
}

/// What a release is withdrawn by.
#[derive(Debug, Clone)]
pub enum Which {
    /// A version that the channel lists.
    Version(Version),
    /// A release id: the SHA-256 of its manifest.
    Release(Digest),
}

/// The policy of a channel as it will be once the draft is published.
#[derive(Debug, Clone, Serialize)]
pub struct PolicySummary {
    /// The channel.
    pub channel: String,
    /// The release on offer.
    pub offer: Option<String>,
    /// When its first wave opens.
    pub start: Option<String>,
    /// Percent and soak of each wave.
    pub waves: Vec<(u8, String)>,
    /// Whether the rollout stands still.
    pub paused: bool,
    /// Releases that must not be installed any more.
    pub withdrawn: Vec<String>,
}

impl Repository {
    /// Offers a release to the nodes of a channel.
    ///
    /// # Errors
    /// [`Error::ReleaseMissing`]; [`Error::RolloutTooWide`] beyond the manifest's limit.
    pub fn offer(
        &mut self,
        channel: &str,
        plan: &OfferPlan,
        now: UnixTime,
    ) -> Result<PolicySummary> {
        let (manifest, _) = self.manifest_of(channel, &plan.version)?;
        let limit = &manifest.rollout_limit;
        let offer = Offer {
            version: plan.version.clone(),
            start: plan.start.unwrap_or_else(|| now.max(limit.earliest)),
            schedule: plan
                .schedule
                .clone()
                .unwrap_or_else(|| limit.schedule.clone()),
        };
        self.edit_policy(channel, now, |policy| policy.offer = Some(offer))
    }

    /// Stops the rollout of a channel where it is, or lets it go on.
    ///
    /// # Errors
    /// [`Error::ChannelUnknown`], [`Error::Io`].
    pub fn set_paused(
        &mut self,
        channel: &str,
        paused: bool,
        now: UnixTime,
    ) -> Result<PolicySummary> {
        self.edit_policy(channel, now, |policy| policy.paused = paused)
    }

    /// Withdraws a release from a channel: nodes do not install it any more.
    ///
    /// # Errors
    /// [`Error::ReleaseMissing`] for a version that the channel does not list.
    pub fn withdraw(
        &mut self,
        channel: &str,
        which: &Which,
        now: UnixTime,
    ) -> Result<PolicySummary> {
        let release = match which {
            Which::Release(release) => *release,
            Which::Version(version) => Digest::of(&self.manifest_of(channel, version)?.1),
        };
        self.edit_policy(channel, now, |policy| {
            if !policy.withdrawn.contains(&release) {
                policy.withdrawn.push(release);
            }
        })
    }

    /// The policy of a channel as drafted or published; none when it never had one.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file is not the one listed or cannot be read.
    pub fn policy(&self, channel: &str) -> Result<Option<RolloutPolicy>> {
        let target = self.policy_target(channel);
        let listed = self.coming_targets(ROLLOUT_ROLE)?;
        let Some(file) = listed.targets.get(&target) else {
            return Ok(None);
        };
        let bytes = files::read(&self.layout.target_file(&target, &file.digest))?;
        if TargetFile::of(&bytes) != *file {
            return Err(Error::damaged(
                target,
                "the file is not the one that is listed",
            ));
        }
        RolloutPolicy::parse(&bytes)
            .map(Some)
            .map_err(|cause| Error::damaged(target, cause))
    }

    /// The target path of a channel's policy.
    pub fn policy_target(&self, channel: &str) -> String {
        format!(
            "rollout/{}/{}/{channel}.toml",
            self.settings.product, self.settings.architecture
        )
    }

    fn edit_policy(
        &mut self,
        channel: &str,
        now: UnixTime,
        edit: impl FnOnce(&mut RolloutPolicy),
    ) -> Result<PolicySummary> {
        self.role_of_channel(channel)?;
        let name: Name = channel
            .parse()
            .map_err(|cause| Error::argument("channel", cause))?;
        let empty = RolloutPolicy {
            channel: name,
            offer: None,
            paused: false,
            withdrawn: Vec::new(),
        };
        let mut policy = self.policy(channel)?.unwrap_or(empty);
        edit(&mut policy);
        if let Some(offer) = &policy.offer {
            let (manifest, _) = self.manifest_of(channel, &offer.version)?;
            let refused = |cause: twinroot_trust::policy::PolicyError| Error::RolloutTooWide {
                channel: channel.into(),
                why: cause.to_string(),
            };
            policy.check_within(&manifest).map_err(refused)?;
        }
        let bytes = policy.to_toml().into_bytes();
        if RolloutPolicy::parse(&bytes).as_ref() != Ok(&policy) {
            return Err(Error::WouldBeRefused(
                "the rollout policy does not read back as it was written".into(),
            ));
        }
        let target = self.policy_target(channel);
        let file = TargetFile::of(&bytes);
        files::write_durably(
            &*self.files,
            &self.layout.target_file(&target, &file.digest),
            &bytes,
        )?;
        self.edit_targets(ROLLOUT_ROLE, now, |targets| {
            targets.targets.insert(target, file);
            Ok(())
        })?;
        Ok(PolicySummary::of(&policy))
    }

    /// Versions that a channel lists or is about to list, with their release ids, oldest first.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the channel's role cannot be read.
    pub fn releases(&self, channel: &str) -> Result<Vec<(Version, Digest)>> {
        let prefix = format!(
            "channels/{channel}/{}/{}/",
            self.settings.product, self.settings.architecture
        );
        let listed = self.coming_targets(&self.role_of_channel(channel)?)?;
        let mut releases: Vec<(Version, Digest)> = listed
            .targets
            .iter()
            .filter_map(|(path, file)| {
                let version = path.strip_prefix(&prefix)?.strip_suffix("/manifest.toml")?;
                Some((version.parse().ok()?, file.digest))
            })
            .collect();
        releases.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(releases)
    }
}

impl PolicySummary {
    /// The policy in plain words and numbers.
    pub fn of(policy: &RolloutPolicy) -> Self {
        let waves = |offer: &Offer| {
            let waves = offer.schedule.waves().iter();
            waves
                .map(|wave| (wave.percent, wave.soak.to_string()))
                .collect()
        };
        Self {
            channel: policy.channel.to_string(),
            offer: policy.offer.as_ref().map(|offer| offer.version.to_string()),
            start: policy.offer.as_ref().map(|offer| offer.start.to_string()),
            waves: policy.offer.as_ref().map(waves).unwrap_or_default(),
            paused: policy.paused,
            withdrawn: policy.withdrawn.iter().map(Digest::to_string).collect(),
        }
    }
}
