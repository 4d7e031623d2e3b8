//! When a release reaches this node: the arithmetic of signed rollouts.
//!
//! A node's position for a release is `SHA-256(seed ‖ release digest) mod 10000`, so that the nodes
//! which go first differ from release to release, a node can compute its position without asking
//! anybody, and nobody who lacks the seed can predict it. A wave of `percent` reaches the positions
//! below `percent × 100`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use twinroot_trust::digest::Digest;
use twinroot_trust::manifest::RolloutLimit;
use twinroot_trust::policy::{RolloutPolicy, Schedule};
use twinroot_trust::time::UnixTime;
use twinroot_trust::version::Version;

/// Positions there are: hundredths of a percent, fine enough for fleets of ten thousand.
pub const POSITIONS: u16 = 10_000;

/// A stable secret of the node. 32 bytes: as much as the digest it goes into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// From stored or freshly drawn random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Never shown: who knows a node's seed can tell when it updates.
impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// Where a node stands in the order of a release, from 0 (first) to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u16);

impl Position {
    /// The node's position for a release, named by the digest of its manifest.
    #[must_use]
    pub fn of(seed: &Seed, release: &Digest) -> Self {
        let hash = Sha256::new()
            .chain_update(seed.0)
            .chain_update(release.as_bytes())
            .finalize();
        // 64 bits modulo 10 000 favour low positions by less than one part in 10^15.
        let mut head = [0; 8];
        head.copy_from_slice(&hash[..8]);
        Self((u64::from_be_bytes(head) % u64::from(POSITIONS)) as u16)
    }

    /// The position as a number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether a wave of that many percent reaches it.
    #[must_use]
    pub const fn within(self, percent: u8) -> bool {
        self.0 < percent as u16 * (POSITIONS / 100)
    }
}

/// Whether and when the signed rollout lets this node have a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offer {
    /// Now.
    Now,
    /// From then on.
    At(UnixTime),
    /// Not as things stand: another release is offered, or no wave reaches this node.
    NotOffered,
    /// The rollout is paused.
    Paused,
    /// The release is withdrawn.
    Withdrawn,
}

/// When the wave opens that reaches `position`; nothing where none does.
#[must_use]
pub fn wave_open_at(schedule: &Schedule, start: UnixTime, position: Position) -> Option<UnixTime> {
    let mut openings = schedule.openings();
    let (after, _) = openings.find(|(_, percent)| position.within(*percent))?;
    Some(start.plus(after))
}

/// The release that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its version.
    pub version: &'a Version,
    /// Digest of its manifest.
    pub manifest: &'a Digest,
    /// What its manifest allows at the most.
    pub limit: &'a RolloutLimit,
}

/// Judges a release by the signed rollout policy of its channel, where there is one.
///
/// The manifest's own limit holds in any case. Without a policy it is the rollout, and so it is for
/// a release older than the one on offer, whose own rollout is over: nodes still need barriers.
#[must_use]
pub fn judge(
    policy: Option<&RolloutPolicy>,
    subject: &Subject<'_>,
    seed: &Seed,
    now: UnixTime,
) -> Offer {
    let position = Position::of(seed, subject.manifest);
    let limit = wave_open_at(&subject.limit.schedule, subject.limit.earliest, position);
    let Some(policy) = policy else {
        return opened(limit, now);
    };
    if policy.withdrawn.contains(subject.manifest) {
        return Offer::Withdrawn;
    }
    if policy.paused {
        return Offer::Paused;
    }
    match &policy.offer {
        Some(offer) if offer.version == *subject.version => {
            let wave = wave_open_at(&offer.schedule, offer.start, position);
            opened(wave.zip(limit).map(|(wave, limit)| wave.max(limit)), now)
        }
        Some(offer) if offer.version > *subject.version => opened(limit, now),
        Some(_) | None => Offer::NotOffered,
    }
}

fn opened(at: Option<UnixTime>, now: UnixTime) -> Offer {
    match at {
        None => Offer::NotOffered,
        Some(at) if at <= now => Offer::Now,
        Some(at) => Offer::At(at),
    }
}

#[cfg(test)]
mod tests;
