//! The rollout policy: the changeable schedule of a channel, signed by a role of its own.
//!
//! One person can sign it at night, so it may only delay, pause or withdraw what the channel's
//! threshold has released: whatever widens or hastens beyond the manifest's limit is refused.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::digest::Digest;
use crate::fields::{FieldError, Fields, quoted};
use crate::manifest::{Manifest, RolloutLimit};
use crate::name::Name;
use crate::release::PolicyPath;
use crate::time::{Seconds, UnixTime};
use crate::tuf::{TargetBytes, Verified};
use crate::version::Version;

/// Most bytes of a policy: it holds a schedule and at most [`MAX_WITHDRAWN`] digests.
pub const MAX_BYTES: usize = 64 * 1024;
/// Withdrawn releases of one channel that a policy can name; older ones are below the floor.
pub const MAX_WITHDRAWN: usize = 512;
/// Waves of one rollout.
pub const MAX_WAVES: usize = 32;

/// Why a rollout policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More bytes than any policy may have.
    #[error(
        "the rollout policy has {size} bytes, more than the {MAX_BYTES} allowed; publish a smaller one"
    )]
    EndlessData {
        /// The bytes that were offered.
        size: usize,
    },
    /// It is not a policy, or a value breaks its bounds.
    #[error("the rollout policy is malformed: {0}; publish it again with a current publisher")]
    Malformed(#[from] FieldError),
    /// It needs a newer program than this one.
    #[error(
        "the rollout policy needs a newer client: {unknown} is not known here; update the client first"
    )]
    ClientTooOld {
        /// What is not known.
        unknown: String,
    },
    /// It stands under the path of one channel and speaks of another.
    #[error(
        "the rollout policy of channel {expected} speaks of channel {found}; sign the policy of the right channel"
    )]
    WrongSoftware {
        /// The channel of the path.
        expected: Name,
        /// The channel in the document.
        found: String,
    },
    /// It offers a release other than the manifest it is compared with.
    #[error(
        "the rollout policy offers {offered}, not {release}; compare it with the manifest of the offered release"
    )]
    OtherRelease {
        /// What the policy offers.
        offered: String,
        /// The version of the manifest.
        release: Version,
    },
    /// It starts before the manifest allows.
    #[error(
        "the rollout of {release} starts at {start}, before {earliest}, the earliest that its manifest allows; start it later"
    )]
    HastensRollout {
        /// The offered release.
        release: Version,
        /// The start in the policy.
        start: UnixTime,
        /// The earliest start in the manifest.
        earliest: UnixTime,
    },
    /// It reaches more nodes than the manifest allows by then.
    #[error(
        "the rollout of {release} reaches {percent} % after {after}, but its manifest allows {allowed} % by then; make it slower"
    )]
    WidensRollout {
        /// The offered release.
        release: Version,
        /// The time since the start of the rollout.
        after: Seconds,
        /// The share in the policy.
        percent: u8,
        /// The share that the manifest allows.
        allowed: u8,
    },
}

impl PolicyError {
    /// The stable code of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EndlessData { .. } => "endless-data",
            Self::Malformed(_) => "malformed-rollout",
            Self::ClientTooOld { .. } => "client-too-old",
            Self::WrongSoftware { .. } => "wrong-software",
            Self::OtherRelease { .. } => "rollout-of-other-release",
            Self::HastensRollout { .. } => "rollout-hastened",
            Self::WidensRollout { .. } => "rollout-widened",
        }
    }
}

/// One step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wave {
    /// The share of nodes that may update, 1 to 100.
    pub percent: u8,
    /// How long this wave holds before the next opens; nothing for the last wave.
    pub soak: Seconds,
}

/// The waves of a rollout: at least one, each wider than the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<Wave>);

impl Schedule {
    /// Everybody at once.
    pub fn at_once() -> Self {
        Self(alloc::vec![Wave {
            percent: 100,
            soak: Seconds(0)
        }])
    }

    /// Checks and takes waves.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn new(waves: Vec<Wave>) -> Result<Self, &'static str> {
        if waves.is_empty() || waves.len() > MAX_WAVES {
            return Err("1 to 32 waves are required");
        }
        if waves.iter().any(|wave| !(1..=100).contains(&wave.percent)) {
            return Err("a wave reaches 1 to 100 percent");
        }
        if waves
            .windows(2)
            .any(|pair| pair[0].percent >= pair[1].percent)
        {
            return Err("each wave must be wider than the one before");
        }
        if waves.iter().any(|wave| wave.soak > Seconds::MAX) {
            return Err("a wave soaks at most 1000 days");
        }
        Ok(Self(waves))
    }

    /// The waves, narrowest first.
    pub fn waves(&self) -> &[Wave] {
        &self.0
    }

    /// Each wave with the time after the start at which it opens.
    pub fn openings(&self) -> impl Iterator<Item = (Seconds, u8)> {
        self.0.iter().scan(0, |elapsed, wave| {
            let opens = Seconds(*elapsed);
            *elapsed += wave.soak.0;
            Some((opens, wave.percent))
        })
    }

    /// The share of nodes that may update that long after the start.
    pub fn percent_at(&self, elapsed: Seconds) -> u8 {
        let open = self.openings().take_while(|(opens, _)| *opens <= elapsed);
        open.last().map_or(0, |(_, percent)| percent)
    }

    pub(crate) fn take(fields: &mut Fields) -> Result<Self, FieldError> {
        let place = fields.place_of("waves");
        let waves = fields
            .tables("waves", MAX_WAVES)?
            .into_iter()
            .map(|mut wave| {
                let percent = wave.number("percent", 1..=100)?;
                let soak = wave.optional("soak", Fields::parsed)?.unwrap_or_default();
                wave.finish()?;
                Ok(Wave {
                    percent: u8::try_from(percent).unwrap_or(100),
                    soak,
                })
            });
        let waves = waves.collect::<Result<_, FieldError>>()?;
        Self::new(waves).map_err(|rule| FieldError::Contradiction { place, rule })
    }

    pub(crate) fn to_toml(&self) -> String {
        let wave = |wave: &Wave| match wave.soak {
            Seconds(0) => format!("{{ percent = {} }}", wave.percent),
            soak => format!("{{ percent = {}, soak = \"{soak}\" }}", wave.percent),
        };
        let waves: Vec<_> = self.0.iter().map(wave).collect();
        format!("[{}]", waves.join(", "))
    }
}

/// The release that a channel offers, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The offered release.
    pub version: Version,
    /// When the first wave opens.
    pub start: UnixTime,
    /// The waves.
    pub schedule: Schedule,
}

/// The schedule of a channel for one product and architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutPolicy {
    /// The channel.
    pub channel: Name,
    /// What is offered; nothing where the channel offers nothing at present.
    pub offer: Option<Offer>,
    /// Nobody begins an update while this is set.
    pub paused: bool,
    /// Release ids that must not be installed any more.
    pub withdrawn: Vec<Digest>,
}

impl RolloutPolicy {
    /// Reads a policy from bytes whose digest a verified role names, and checks that it is the
    /// policy of the channel in its path.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn read(proven: &Verified<TargetBytes>) -> Result<Verified<Self>, PolicyError> {
        let path: PolicyPath = proven.path().parse().map_err(|cause| {
            PolicyError::Malformed(FieldError::Bad {
                place: "path".into(),
                cause,
            })
        })?;
        let policy = Self::parse(proven.bytes())?;
        if policy.channel != path.channel {
            let found = policy.channel.to_string();
            return Err(PolicyError::WrongSoftware {
                expected: path.channel,
                found,
            });
        }
        Ok(proven.derive(|_| policy))
    }

    /// Reads a policy that nobody has vouched for: for the publisher.
    ///
    /// # Errors
    /// The same as [`RolloutPolicy::read`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_BYTES {
            return Err(PolicyError::EndlessData { size: bytes.len() });
        }
        match Self::take(Fields::document(bytes)?) {
            Err(FieldError::Unknown { place }) => Err(PolicyError::ClientTooOld { unknown: place }),
            other => Ok(other?),
        }
    }

    fn take(mut fields: Fields) -> Result<Self, FieldError> {
        let offer = match fields.optional("offer", Fields::parsed)? {
            Some(version) => Some(Offer {
                version,
                start: fields.time("start")?,
                schedule: Schedule::take(&mut fields)?,
            }),
            None if fields.has("start") || fields.has("waves") => {
                let place = fields.place_of("offer");
                return Err(FieldError::Missing { place });
            }
            None => None,
        };
        let policy = Self {
            channel: fields.parsed("channel")?,
            offer,
            // Neither key has a default: a missing pause must not read as 'go on'.
            paused: fields.truth("paused")?,
            withdrawn: fields.parsed_list("withdrawn", MAX_WITHDRAWN)?,
        };
        fields.finish()?;
        Ok(policy)
    }

    /// Whether this policy only slows down what `manifest` allows.
    ///
    /// Both schedules run from their own start: a rollout that starts a month late may still not
    /// reach everybody in its first hour.
    ///
    /// # Errors
    /// Names how it widens or hastens the rollout. A policy without an offer is always within.
    pub fn check_within(&self, manifest: &Manifest) -> Result<(), PolicyError> {
        let Some(offer) = &self.offer else {
            return Ok(());
        };
        let release = &manifest.version;
        if offer.version != *release {
            let offered = offer.version.to_string();
            return Err(PolicyError::OtherRelease {
                offered,
                release: release.clone(),
            });
        }
        let RolloutLimit { earliest, schedule } = &manifest.rollout_limit;
        if offer.start < *earliest {
            let (release, start) = (release.clone(), offer.start);
            return Err(PolicyError::HastensRollout {
                release,
                start,
                earliest: *earliest,
            });
        }
        // Both shares only rise, and the policy's rises only where a wave opens: it is enough to
        // look there.
        for (after, percent) in offer.schedule.openings() {
            let allowed = schedule.percent_at(after);
            if percent > allowed {
                let release = release.clone();
                return Err(PolicyError::WidensRollout {
                    release,
                    after,
                    percent,
                    allowed,
                });
            }
        }
        Ok(())
    }

    /// The TOML text that is published. Reading it back gives the same policy.
    pub fn to_toml(&self) -> String {
        let mut out = format!("channel = {}\n", quoted(self.channel.as_str()));
        if let Some(Offer {
            version,
            start,
            schedule,
        }) = &self.offer
        {
            out += &format!("offer = {}\n", quoted(version.as_str()));
            out += &format!("start = {start}\nwaves = {}\n", schedule.to_toml());
        }
        let withdrawn: Vec<_> = self
            .withdrawn
            .iter()
            .map(|id| format!("\n  \"{id}\","))
            .collect();
        let end = if withdrawn.is_empty() { "" } else { "\n" };
        out += &format!(
            "paused = {}\nwithdrawn = [{}{end}]\n",
            self.paused,
            withdrawn.concat()
        );
        out
    }
}
