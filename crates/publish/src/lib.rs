//! Holds the signing side: repository, keys, releases, rollouts, withdrawal.
