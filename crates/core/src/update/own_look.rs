//! The look that the new system's own agent has at the repository before its release is blessed: a
//! release that could not read signed metadata and a manifest would never update again, however well
//! its workload runs.
//!
//! What may be held against the release is only what lies in this system: where the signed bytes on
//! the node verify by its own trust anchor, or where nobody answers, the look has done its work. An
//! expired or damaged repository is the publisher's matter and rolls no fleet back.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::candidate::Candidate;
use super::effect::Effect;
use super::event::{Checked, Event};
use super::state::{OnTrial, OwnLook, Phase};
use super::{Ctx, Transition, trial as judging};
use crate::error::{Category, Code, Failure};

/// Pause in milliseconds before a look that failed is repeated, as between any two looks that
/// somebody waits for (`pace`).
const AGAIN: u64 = 60_000;

/// Health holds: now the look, unless one failed a moment ago.
pub(super) fn begin(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    look: &OwnLook,
    lost: Vec<String>,
) -> Transition {
    if let OwnLook::Failed { at, .. } = look
        && ctx.now.boot.0 < at.0.saturating_add(AGAIN)
    {
        return ctx.stay();
    }
    with(ctx, trial, candidate, OwnLook::UnderWay { lost }).then(Effect::Refresh)
}

/// The answer to the look. One that nobody waits for is recorded and ignored.
pub(super) fn answered(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    look: &OwnLook,
    event: Event,
) -> Transition {
    match (look, event) {
        (OwnLook::UnderWay { lost }, Event::Checked(checked)) => {
            seen(ctx, trial, candidate, lost, &checked)
        }
        (OwnLook::UnderWay { lost }, Event::Failed { failure, .. }) => {
            failed(ctx, trial, candidate, lost, failure)
        }
        (OwnLook::NotYet | OwnLook::Failed { .. } | OwnLook::UnderWay { .. }, other) => {
            ctx.rest(other)
        }
    }
}

fn with(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    look: OwnLook,
) -> Transition {
    ctx.go(Phase::Trial {
        trial: trial.clone(),
        candidate: candidate.cloned(),
        look,
    })
}

/// Metadata is fresh. Where manifests are there, one at least must be readable.
fn seen(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    lost: &[String],
    checked: &Checked,
) -> Transition {
    if let (true, Some((version, failure))) =
        (checked.listed.is_empty(), checked.unreadable.first())
    {
        let cause = format!("of the manifests there, it can read none: {failure}");
        let unreadable = Failure::new(failure.code, format!("release {version}"), cause);
        return failed(ctx, trial, candidate, lost, unreadable);
    }
    let mut transition = good(ctx, trial, candidate, lost);
    transition.next.refreshed = Some(ctx.now.boot);
    let evidence = Effect::TrustTime(checked.evidence);
    transition.effects.insert(0, evidence);
    transition
}

fn failed(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    lost: &[String],
    failure: Failure,
) -> Transition {
    let excused =
        candidate.is_some() || not_of_this_system(&failure) || ctx.facts.fallback_entry().is_none();
    let detail = format!("the new system's look at the repository failed: {failure}");
    let mut transition = if excused {
        good(ctx, trial, candidate, lost)
    } else {
        let at = ctx.now.boot;
        with(ctx, trial, candidate, OwnLook::Failed { at, failure })
    };
    let note = super::Note {
        what: "ignored",
        release: Some(trial.release.clone()),
        detail,
    };
    transition.effects.insert(0, Effect::Note(note));
    transition
}

/// Failures that another system would have had too: network, clock and disk, and metadata that the
/// publisher let expire.
fn not_of_this_system(failure: &Failure) -> bool {
    match failure.category() {
        Category::Network | Category::Environment | Category::Disk => true,
        Category::Trust
        | Category::Input
        | Category::Configuration
        | Category::Boot
        | Category::Health
        | Category::Internal => failure.code == Code::MetadataExpired,
    }
}

fn good(
    ctx: &Ctx<'_>,
    trial: &OnTrial,
    candidate: Option<&Candidate>,
    lost: &[String],
) -> Transition {
    let mut transition = judging::bless(ctx, trial, candidate);
    if !lost.is_empty() {
        let detail = format!(
            "it is kept although these remote checks are lost: {}",
            lost.join(", ")
        );
        let note = super::Note {
            what: "kept",
            release: Some(trial.release.clone()),
            detail,
        };
        transition.effects.insert(0, Effect::Note(note));
    }
    transition
}
