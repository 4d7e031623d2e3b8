//! Turns bytes into verified facts: TUF 1.0, release manifest, rollout policy.
