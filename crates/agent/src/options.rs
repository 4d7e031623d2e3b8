//! What the loop needs of the node's configuration.

use twinroot_core::config::{Settings, Strategy};
use twinroot_core::health::Rules;
use twinroot_core::rollout::Seed;
use twinroot_core::schedule::Zone;
use twinroot_core::update::{Goal, Policy};
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::release::Identity;
use twinroot_trust::tuf::Limits;

use crate::reports::NodeKey;

/// Everything that does not change while the program runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The owner's wishes, for the state machine.
    pub policy: Policy,
    /// The image's trust anchor.
    pub anchor: Vec<u8>,
    /// Kinds of keys that count.
    pub key_policy: KeyPolicy,
    /// Bounds of metadata.
    pub limits: Limits,
    /// Threads that write segments. One in the simulator, where order must be the same each time.
    pub workers: u32,
    /// Secret of the node for rollouts.
    pub seed: Seed,
    /// Times of a probation.
    pub health: Rules,
    /// Signs this node's reports; without it none are made.
    pub key: Option<NodeKey>,
}

/// Milliseconds in a second; policy times are in milliseconds since boot.
const MILLIS: u64 = 1000;

impl Options {
    /// From validated settings, and the rules of the time zone that they name.
    #[must_use]
    pub fn from_settings(settings: &Settings, anchor: Vec<u8>, seed: Seed, zone: Zone) -> Self {
        let goal = match settings.update.strategy {
            Strategy::Automatic | Strategy::Windowed | Strategy::Fleetlock => Goal::Reboot,
            Strategy::StagedOnly => Goal::Stage,
            Strategy::Manual | Strategy::CheckOnly => Goal::Check,
        };
        let identity = Identity {
            product: settings.identity.product.clone(),
            variant: settings.identity.variant.clone(),
            architecture: settings.identity.architecture.clone(),
            channel: settings.update.channel.clone(),
        };
        let mut key_policy = KeyPolicy::node();
        key_policy.p256 = settings.trust.p256;
        Self {
            policy: Policy {
                identity,
                goal,
                tries: settings.update.tries,
                max_attempts: settings.update.attempts,
                trial_deadline: settings.health.last().0 * MILLIS,
                metadata_max_age: settings.reboot.max_metadata_age.0 * MILLIS,
                schedule: settings.reboot.schedule(zone),
            },
            anchor,
            key_policy,
            limits: Limits::node(),
            workers: settings.update.workers,
            seed,
            health: settings.health.rules(),
            key: None,
        }
    }
}
