//! The mistakes. Each is one expression of a rule of DESIGN section 5, 6 or 8, off by one or turned round.

use anyhow::{Result, bail};

/// A mistake in the source.
#[derive(Debug)]
pub(super) struct Mutant {
    /// What is wrong then.
    pub(super) name: &'static str,
    /// The file, from the root of the workspace.
    pub(super) file: &'static str,
    /// What stands there, once.
    right: &'static str,
    /// What stands there instead.
    wrong: &'static str,
    /// Whose tests have to see it.
    pub(super) package: &'static str,
}

impl Mutant {
    /// The file's text with the mistake made.
    pub(super) fn applied_to(&self, text: &str) -> Result<String> {
        match text.matches(self.right).count() {
            1 => Ok(text.replacen(self.right, self.wrong, 1)),
            n => bail!(
                "'{}' fits {} in {n} places; bring the list of mistakes up to date",
                self.name,
                self.file
            ),
        }
    }
}

const TRUST: &str = "twinroot-trust";
const CORE: &str = "twinroot-core";
const AGENT: &str = "twinroot-agent";
const SIM: &str = "twinroot-sim";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "one signature too few is enough",
        file: "crates/trust/src/tuf/verify.rs",
        right: "counted as u64 >= keys.threshold()",
        wrong: "counted as u64 + 1 >= keys.threshold()",
        package: TRUST,
    },
    Mutant {
        name: "one signature too many is asked for",
        file: "crates/trust/src/tuf/verify.rs",
        right: "counted as u64 >= keys.threshold()",
        wrong: "counted as u64 > keys.threshold()",
        package: TRUST,
    },
    Mutant {
        name: "a document holds one second too long",
        file: "crates/trust/src/tuf/trusted.rs",
        right: "now >= header.expires",
        wrong: "now > header.expires",
        package: TRUST,
    },
    Mutant {
        name: "metadata may fall by one version",
        file: "crates/trust/src/tuf/trusted.rs",
        right: "if offered < known {",
        wrong: "if offered + 1 < known {",
        package: TRUST,
    },
    Mutant {
        name: "metadata must rise every time",
        file: "crates/trust/src/tuf/trusted.rs",
        right: "if offered < known {",
        wrong: "if offered <= known {",
        package: TRUST,
    },
    Mutant {
        name: "a wave opens one second late",
        file: "crates/core/src/rollout.rs",
        right: "Some(at) if at <= now => Offer::Now",
        wrong: "Some(at) if at < now => Offer::Now",
        package: CORE,
    },
    Mutant {
        name: "a committed slot is left one start too late",
        file: "crates/core/src/bootfmt/attempt.rs",
        right: "if record.starts_of(start.root) < STARTS_ALLOWED",
        wrong: "if record.starts_of(start.root) <= STARTS_ALLOWED",
        package: CORE,
    },
    Mutant {
        name: "a trial gets one try more than the policy says",
        file: "crates/core/src/update/activated.rs",
        right: "ctx.policy.tries.min(loader.tries_granted)",
        wrong: "(ctx.policy.tries + 1).min(loader.tries_granted)",
        package: AGENT,
    },
    Mutant {
        name: "a release is given up one try too late",
        file: "crates/core/src/update/judge.rs",
        right: "attempts.count >= ctx.policy.max_attempts",
        wrong: "attempts.count > ctx.policy.max_attempts",
        package: AGENT,
    },
    Mutant {
        name: "the floor itself is refused",
        file: "crates/core/src/update/judge.rs",
        right: "candidate.version() < floor",
        wrong: "candidate.version() <= floor",
        package: AGENT,
    },
    Mutant {
        name: "what is below the floor is taken",
        file: "crates/core/src/update/judge.rs",
        right: "candidate.version() < floor",
        wrong: "floor < candidate.version()",
        package: AGENT,
    },
    Mutant {
        name: "a person's word lifts every denial",
        file: "crates/core/src/update/judge.rs",
        right: "Some(denial) if !ctx.state.wish.force =>",
        wrong: "Some(denial) if !ctx.state.wish.by_person =>",
        package: AGENT,
    },
    Mutant {
        name: "health need not hold for the whole probation",
        file: "crates/core/src/health/verdict.rs",
        right: "elapsed(since, at) >= self.rules.probation",
        wrong: "Seconds(elapsed(since, at).0 + 1) >= self.rules.probation",
        package: CORE,
    },
    Mutant {
        name: "a remote check that fails after it held rolls back at once",
        file: "crates/core/src/health/verdict.rs",
        right: "if check.remote || !(for_good",
        wrong: "if !(for_good",
        package: SIM,
    },
    Mutant {
        name: "a lost endpoint gets half of the time that it was promised",
        file: "crates/core/src/health/verdict.rs",
        right: "self.rules.remote_extension.0",
        wrong: "self.rules.remote_extension.0 / 2",
        package: SIM,
    },
];
