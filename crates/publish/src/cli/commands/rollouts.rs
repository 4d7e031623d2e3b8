//! `rollout`, `pause`, `resume`, `withdraw`: drafted, signed and published in one go where the key
//! is at hand, since a rollout that goes wrong at night must be stopped with one command.

use serde_json::json;
use twinroot_publish::error::{Error, Result};
use twinroot_publish::layout::ROLLOUT_ROLE;
use twinroot_publish::release::Selection;
use twinroot_publish::repository::Repository;
use twinroot_publish::rollout::{OfferPlan, PolicySummary, Which};
use twinroot_trust::policy::Schedule;

use super::releases::report_in_words;
use crate::cli::Context;
use crate::cli::args::{PolicyArgs, RolloutArgs, WithdrawArgs, release_id};
use crate::cli::output::Output;

pub(in crate::cli) fn rollout(context: &Context, args: &RolloutArgs) -> Result<Output> {
    let mut repository = context.repository()?;
    let schedule = match args.wave.is_empty() {
        true => None,
        false => {
            Some(Schedule::new(args.wave.clone()).map_err(|why| Error::argument("--wave", why))?)
        }
    };
    let plan = OfferPlan {
        version: args.offer.clone(),
        start: args.start,
        schedule,
    };
    let policy = repository.offer(&args.channel, &plan, context.now())?;
    repository.note(
        "rollout",
        &format!("{} {}", args.channel, args.offer),
        None,
        context.now(),
    )?;
    publish(context, &mut repository, &policy)
}

pub(in crate::cli) fn pause(context: &Context, args: &PolicyArgs, paused: bool) -> Result<Output> {
    let mut repository = context.repository()?;
    let policy = repository.set_paused(&args.channel, paused, context.now())?;
    let act = if paused { "pause" } else { "resume" };
    repository.note(act, &args.channel, args.reason.as_deref(), context.now())?;
    publish(context, &mut repository, &policy)
}

pub(in crate::cli) fn withdraw(context: &Context, args: &WithdrawArgs) -> Result<Output> {
    let mut repository = context.repository()?;
    let which = match release_id(&args.release) {
        Some(release) => Which::Release(release),
        None => Which::Version(
            args.release
                .parse()
                .map_err(|cause| Error::argument("release", cause))?,
        ),
    };
    let policy = repository.withdraw(&args.channel, &which, context.now())?;
    let subject = format!("{} {}", args.channel, args.release);
    repository.note("withdraw", &subject, Some(&args.reason), context.now())?;
    publish(context, &mut repository, &policy)
}

fn publish(
    context: &Context,
    repository: &mut Repository,
    policy: &PolicySummary,
) -> Result<Output> {
    let ring = context.ring()?;
    for name in repository.missing_signers(ROLLOUT_ROLE)? {
        if let Some(signer) = ring.signer(&name)? {
            repository.sign_draft(ROLLOUT_ROLE, &*signer)?;
        }
    }
    let mut words = in_words(policy);
    if !repository.draft_status(ROLLOUT_ROLE)?.complete {
        words +=
            "\ndrafted rollout: its key is not at hand; `sign rollout`, then `release rollout`";
        return Ok(Output::new(
            words,
            &json!({ "policy": policy, "published": false }),
        ));
    }
    let selection = Selection {
        roles: vec![ROLLOUT_ROLE.into()],
        ..Selection::default()
    };
    let report = repository.release(&selection, &ring, context.now())?;
    words += &format!("\n{}", report_in_words(&report));
    Ok(Output::new(
        words,
        &json!({ "policy": policy, "published": true, "report": report }),
    ))
}

fn in_words(policy: &PolicySummary) -> String {
    let offer = match (&policy.offer, &policy.start) {
        (Some(version), Some(start)) => format!("offers {version} from {start}"),
        _ => "offers nothing".into(),
    };
    let waves: Vec<String> = policy
        .waves
        .iter()
        .map(|(percent, soak)| format!("{percent} % for {soak}"))
        .collect();
    let paused = if policy.paused { ", paused" } else { "" };
    let withdrawn = match policy.withdrawn.len() {
        0 => String::new(),
        many => format!(", {many} withdrawn"),
    };
    format!(
        "{} {offer}{paused}{withdrawn}\n  waves: {}",
        policy.channel,
        if waves.is_empty() {
            "none".into()
        } else {
            waves.join(", ")
        }
    )
}
