//! What a start of the program makes of the world and of what was written down before. The world
//! outranks the file: which slot runs, whether its entry is blessed and what the other slot holds
//! are boot facts; the file only says what was intended.
//!
//! | the booted entry is | the file says | so |
//! |---|---|---|
//! | on trial, its root denied | anything | go on rolling back |
//! | on trial | rolling back from it | go on rolling back |
//! | on trial | anything else, or nothing | `Trial` |
//! | blessed | blessing or committing it | finish committing |
//! | blessed | rolling back from another | arrived: its entry goes, then `Idle` |
//! | blessed | rolling back from it | tell the loader again |
//! | blessed | activated, rebooting or trial of another, whose tries are used up or whose one-shot is spent | `Denying` |
//! | blessed | activated or rebooting, not tried yet | verify again, prove again, arm again |
//! | blessed | staging, staged, repairing | verify again, then go on |
//! | blessed | denying | go on denying |
//! | blessed, the other slot abandoned by the initramfs | idle or nothing | `Repairing` (verify again first) |
//! | blessed | idle, blocked or nothing | `Idle`, look at health |

use alloc::string::ToString;
use alloc::vec::Vec;

use super::candidate::SavedRelease;
use super::effect::Effect;
use super::event::HealthPurpose;
use super::saved::{Saved, SavedPhase};
use super::state::{
    Attempts, BackStep, Cause, CommitStep, OnTrial, OwnLook, Phase, Purpose, Resume, State,
};
use super::{Ctx, Policy, Transition, denying, idle, rolling_back};
use crate::error::{Code, Failure};
use crate::facts::{EntryObserved, Facts, Now};
use crate::records::{RecordChange, Records};

/// Decides where to go on after a start.
#[must_use]
pub fn recover(
    saved: Option<&Saved>,
    records: &Records,
    facts: &Facts,
    now: Now,
    policy: &Policy,
) -> Transition {
    let state = blank(saved, facts, policy);
    let ctx = Ctx {
        state: &state,
        records,
        facts,
        now,
        policy,
    };
    let on_trial = facts
        .booted_entry()
        .is_some_and(|entry| !entry.is_blessed());
    match booted_release(facts, records) {
        Some(booted) if on_trial => unblessed(&ctx, saved, booted),
        Some(_) | None => blessed(&ctx, saved),
    }
}

fn blank(saved: Option<&Saved>, facts: &Facts, policy: &Policy) -> State {
    State {
        phase: Phase::Idle {
            reason: crate::why::WaitReason::NoNewerRelease {
                running: facts.system().version.to_string(),
            },
        },
        wish: policy.standing_wish(),
        attempts: saved.map_or_else(Attempts::default, |s| Attempts {
            release: s.attempted,
            count: s.attempts,
        }),
        refreshed: None,
        healthy: false,
        ill_before: ill_before(saved, facts),
    }
}

/// What was ill before this release was activated, if the file is about the release that runs.
fn ill_before(saved: Option<&Saved>, facts: &Facts) -> Vec<alloc::string::String> {
    match saved.map(|s| (&s.phase, s)) {
        Some((
            SavedPhase::Activated { release }
            | SavedPhase::Rebooting { release }
            | SavedPhase::Trial { release },
            saved,
        )) if release.root_hash == facts.system().root_hash => saved.ill_before.clone(),
        Some(_) | None => Vec::new(),
    }
}

/// What runs, as a release. Where the records do not know it (a wiped `/var`), the boot entry does:
/// enough to judge, bless and deny it.
#[must_use]
pub fn booted_release(facts: &Facts, records: &Records) -> Option<OnTrial> {
    let entry = facts.booted_entry()?;
    Some(of_entry(entry, records))
}

fn of_entry(entry: &EntryObserved, records: &Records) -> OnTrial {
    let known = records
        .known_by_root(&entry.root_hash)
        .filter(|r| r.uki == entry.uki);
    let release = known.cloned().unwrap_or_else(|| SavedRelease {
        id: entry.uki,
        channel: alloc::string::String::new(),
        version: entry.version.clone(),
        root_hash: entry.root_hash,
        uki: entry.uki,
    });
    OnTrial {
        release,
        stem: entry.stem.clone(),
    }
}

/// The running slot is not blessed.
fn unblessed(ctx: &Ctx<'_>, saved: Option<&Saved>, booted: OnTrial) -> Transition {
    let root = booted.release.root_hash;
    match saved.map(|s| &s.phase) {
        Some(SavedPhase::RollingBack {
            release,
            failure: Some(failure),
            ..
        }) if release.root_hash == root => {
            return rolling_back::begin(ctx, &booted, failure.clone());
        }
        _ => {}
    }
    // Denied in an earlier boot, and forced by a person since: then it was armed again after the
    // denial was last seen, which the saved activation shows.
    let forced = matches!(
        saved.map(|s| &s.phase),
        Some(SavedPhase::Activated { release } | SavedPhase::Rebooting { release }
            | SavedPhase::Trial { release }) if release.root_hash == root
    );
    if let Some(denial) = ctx.records.denies_root(&root, ctx.now.wall)
        && !forced
    {
        let subject = alloc::format!("release {}", booted.release.version);
        let failure = Failure::new(Code::ReleaseDenied, subject, denial.reason.clone());
        return rolling_back::begin(ctx, &booted, failure);
    }
    start_trial(ctx, booted)
}

/// The trial starts with verifying the release by this system's own trust anchor: a release that
/// cannot read its own description would never update again.
fn start_trial(ctx: &Ctx<'_>, trial: OnTrial) -> Transition {
    let known = ctx.records.known_by_root(&trial.release.root_hash).cloned();
    let transition = ctx
        .go(Phase::Trial {
            trial,
            candidate: None,
            look: OwnLook::NotYet,
        })
        .persist(ctx);
    match known {
        Some(saved) => transition.then(Effect::Reverify(saved)),
        None => transition.then(Effect::RunHealth {
            purpose: HealthPurpose::Trial,
            candidate: None,
        }),
    }
}

/// The running slot is blessed, or nothing of ours counts it.
fn blessed(ctx: &Ctx<'_>, saved: Option<&Saved>) -> Transition {
    let root = ctx.facts.system().root_hash;
    match saved.map(|s| &s.phase) {
        Some(SavedPhase::Blessing { release } | SavedPhase::Committing { release })
            if release.root_hash == root =>
        {
            finish_committing(ctx, release)
        }
        Some(SavedPhase::RollingBack {
            release,
            failure,
            reason,
            reboot,
        }) => {
            let cause = match failure {
                Some(failure) => Cause::Trial(failure.clone()),
                None => Cause::Person {
                    reason: reason.clone(),
                    reboot: *reboot,
                },
            };
            roll_back_on(ctx, release, cause)
        }
        Some(
            SavedPhase::Activated { release }
            | SavedPhase::Rebooting { release }
            | SavedPhase::Trial { release }
            | SavedPhase::Blessing { release }
            | SavedPhase::Committing { release },
        ) if release.root_hash != root => intended_another(ctx, saved, release),
        Some(SavedPhase::Staging { release }) => resume(ctx, release, Resume::Staging),
        Some(SavedPhase::Staged { release }) => resume(ctx, release, Resume::Staged),
        Some(SavedPhase::Repairing { release }) => resume(ctx, release, Resume::Repairing),
        Some(SavedPhase::Denying { release, failure }) if release.root_hash != root => {
            denying::begin(ctx, &unnamed(release), failure.clone())
        }
        Some(SavedPhase::Trial { release }) if release.root_hash == root => {
            finish_committing(ctx, release)
        }
        Some(
            SavedPhase::Idle
            | SavedPhase::Blocked { .. }
            | SavedPhase::Denying { .. }
            | SavedPhase::Activated { .. }
            | SavedPhase::Rebooting { .. }
            | SavedPhase::Trial { .. }
            | SavedPhase::Blessing { .. }
            | SavedPhase::Committing { .. },
        )
        | None => from_the_world(ctx),
    }
}

fn unnamed(release: &SavedRelease) -> OnTrial {
    OnTrial {
        release: release.clone(),
        stem: alloc::string::String::new(),
    }
}

/// Blessed already; floor, attempt record and the rest are done (again).
fn finish_committing(ctx: &Ctx<'_>, release: &SavedRelease) -> Transition {
    let Some(trial) = booted_release(ctx.facts, ctx.records) else {
        return from_the_world(ctx);
    };
    let known = ctx.records.known_by_root(&release.root_hash).cloned();
    let phase = Phase::Committing {
        trial,
        candidate: None,
        step: CommitStep::ClearAttempts,
    };
    let transition = ctx.go(phase).persist(ctx);
    match known {
        // The manifest may revoke older releases, so it is read again before the floor is set.
        Some(saved) => transition.then(Effect::Reverify(saved)),
        None => transition.then(Effect::ClearAttempts),
    }
}

fn roll_back_on(ctx: &Ctx<'_>, release: &SavedRelease, cause: Cause) -> Transition {
    if release.root_hash != ctx.facts.system().root_hash {
        return match cause {
            // The entry of a failed trial may still stand, if power went between the two.
            Cause::Trial(failure) => denying::begin(ctx, &unnamed(release), failure),
            Cause::Person { .. } => rolling_back::arrived(ctx, &unnamed(release), &cause),
        };
    }
    // Blessed after all: what the file says of a failed trial is older than the blessing.
    let (Some(from), Cause::Person { reason, .. }) =
        (booted_release(ctx.facts, ctx.records), &cause)
    else {
        return from_the_world(ctx);
    };
    let denial = super::commands::by_person(ctx, &from.release, reason, None);
    ctx.go(Phase::RollingBack {
        from,
        cause,
        step: BackStep::Deny,
    })
    .persist(ctx)
    .then(Effect::SaveRecords(RecordChange::Deny(denial)))
}

/// Another release was meant to run. Where its tries are used up it had its chance; where the
/// one-shot start was spent it had one of them; where it was never started, it still has them all.
fn intended_another(ctx: &Ctx<'_>, saved: Option<&Saved>, release: &SavedRelease) -> Transition {
    let entry = ctx.facts.entry_of(&release.root_hash);
    if entry.is_some_and(EntryObserved::is_blessed) {
        return from_the_world(ctx);
    }
    let same_boot = saved.is_some_and(|s| s.boot_id == ctx.facts.system().boot_id);
    if same_boot {
        return resume(ctx, release, Resume::Activated);
    }
    let exhausted = entry.is_some_and(EntryObserved::is_exhausted);
    let attempts = ctx.failed_try(release.id, 0);
    if exhausted || (one_shot_spent(ctx, entry) && attempts.count >= ctx.policy.tries) {
        return denying::begin(ctx, &unnamed(release), did_not_come_up(ctx, entry, release));
    }
    let mut transition = resume(ctx, release, Resume::Activated);
    if one_shot_spent(ctx, entry) {
        transition.next.attempts = attempts;
    }
    transition
}

/// The known-good entry is pinned, the trial stands beside it, and no next start is asked for.
fn one_shot_spent(ctx: &Ctx<'_>, entry: Option<&EntryObserved>) -> bool {
    let loader = ctx.facts.loader();
    entry.is_some_and(|e| loader.pinned.is_some() && loader.one_shot.as_ref() != Some(&e.stem))
}

fn did_not_come_up(
    ctx: &Ctx<'_>,
    entry: Option<&EntryObserved>,
    release: &SavedRelease,
) -> Failure {
    let tries = entry.and_then(|e| e.tries).map_or(0, |t| t.done);
    let mut cause = alloc::format!(
        "it was started {tries} times without being blessed, and {} runs again",
        ctx.facts.system().version
    );
    cause.push_str("; ");
    match ctx.facts.remains_of(&release.root_hash) {
        Some(remains) => cause.push_str(&remains.sentence()),
        None => cause.push_str("it left no mark and no console"),
    }
    Failure::new(
        Code::TrialFailed,
        alloc::format!("trial of {}", release.version),
        cause,
    )
}

/// Verify the signed bytes again before anything moves.
fn resume(ctx: &Ctx<'_>, release: &SavedRelease, at: Resume) -> Transition {
    let purpose = Purpose::Resume {
        saved: release.clone(),
        at,
    };
    ctx.go(Phase::Checking { purpose })
        .then(Effect::Reverify(release.clone()))
}

/// Nothing was under way, or nothing is known of it.
fn from_the_world(ctx: &Ctx<'_>) -> Transition {
    if ctx.facts.loader().abandoned.is_some()
        && let Some(saved) = idle::repairable(ctx)
    {
        return idle::start_repair(ctx, saved);
    }
    // A release whose tries ran out while nothing was written down (a wiped state) is remembered.
    let exhausted = ctx.facts.other_entries().find(|e| e.is_exhausted());
    if let Some(entry) = exhausted
        && ctx
            .records
            .denies_root(&entry.root_hash, ctx.now.wall)
            .is_none()
    {
        let release = of_entry(entry, ctx.records);
        let failure = did_not_come_up(ctx, Some(entry), &release.release);
        return denying::begin(ctx, &release, failure);
    }
    ctx.idle(ctx.nothing_newer()).then(Effect::RunHealth {
        purpose: HealthPurpose::Steady,
        candidate: None,
    })
}

/// The release that a phase is about.
#[must_use]
pub fn under_way(phase: &Phase) -> Option<SavedRelease> {
    match phase {
        Phase::Idle { .. } | Phase::Blocked { .. } => None,
        Phase::Checking { purpose } => match purpose {
            Purpose::Look => None,
            Purpose::BeforeReboot(proven) => Some(proven.candidate().saved()),
            Purpose::Resume { saved, .. } => Some(saved.clone()),
        },
        Phase::Available { candidate, .. }
        | Phase::Staging { candidate, .. }
        | Phase::Repairing { candidate, .. } => Some(candidate.saved()),
        Phase::Staged { proven, .. } | Phase::Activated { proven, .. } => {
            Some(proven.candidate().saved())
        }
        Phase::Rebooting { to } => Some(to.clone()),
        Phase::Trial { trial, .. }
        | Phase::Blessing { trial, .. }
        | Phase::Committing { trial, .. } => Some(trial.release.clone()),
        Phase::RollingBack { from, .. } => Some(from.release.clone()),
        Phase::Denying { release, .. } => Some(release.release.clone()),
    }
}

/// Root hashes of everything that must keep its signed bytes: slots, and what is under way.
#[must_use]
pub fn kept_releases(phase: &Phase, records: &Records) -> Vec<twinroot_trust::digest::Digest> {
    let mut kept: Vec<_> = records.known.iter().map(|release| release.id).collect();
    kept.extend(under_way(phase).map(|release| release.id));
    kept
}
