//! Requests that mean the same in every phase: they change what is remembered, and drop a release
//! that may not move any more.

use alloc::string::{String, ToString};

use super::candidate::SavedRelease;
use super::effect::Effect;
use super::event::Command;
use super::{Ctx, Transition};
use crate::error::{Code, Failure};
use crate::records::{Denial, DeniedBy, Hold, Left, RecordChange};
use twinroot_trust::time::UnixTime;

/// Handles what can be asked anywhere; `None` leaves it to the phase.
pub(super) fn anywhere(ctx: &Ctx<'_>, command: &Command) -> Option<Transition> {
    let change = match command {
        Command::Update { .. } | Command::Rollback { .. } | Command::Repair => return None,
        Command::Pin { version } => RecordChange::Pin(version.clone()),
        Command::Pause => RecordChange::Pause(Some(ctx.now.wall)),
        Command::Resume => RecordChange::Pause(None),
        Command::Hold { until, reason } => RecordChange::Hold(Some(Hold {
            since: ctx.now.wall,
            until: *until,
            reason: reason.clone(),
        })),
        Command::Release => RecordChange::Hold(None),
        Command::Undeny { release } => {
            if ctx
                .records
                .clone()
                .with(&RecordChange::Undeny(release.clone()))
                == *ctx.records
            {
                return Some(ctx.stay().refuse(unknown(release, "is not denied")));
            }
            RecordChange::Undeny(release.clone())
        }
        Command::Deny {
            release,
            reason,
            until,
        } => match named(ctx, release) {
            Ok(found) => return Some(deny(ctx, &found, reason, *until)),
            Err(failure) => return Some(ctx.stay().refuse(failure)),
        },
    };
    Some(ctx.stay().then(Effect::SaveRecords(change)))
}

/// Remembered first; then its entry goes, so that nothing comes upon it by itself.
fn deny(
    ctx: &Ctx<'_>,
    release: &SavedRelease,
    reason: &str,
    until: Option<UnixTime>,
) -> Transition {
    let change = RecordChange::Deny(by_person(ctx, release, reason, until));
    let transition = ctx.stay();
    match ctx.removable(&release.root_hash) {
        Some(entry) => transition
            .persist(ctx)
            .then(Effect::SaveRecords(change))
            .then(Effect::Retire(entry.stem.clone())),
        None => transition.then(Effect::SaveRecords(change)),
    }
}

/// The release that a person means, by version, root hash or UKI digest. The running one cannot be
/// denied while it is the only good one.
fn named(ctx: &Ctx<'_>, name: &str) -> Result<SavedRelease, Failure> {
    let is_named = |r: &&SavedRelease| {
        r.version.to_string() == name
            || r.root_hash.to_string() == name
            || r.uki.to_string() == name
            || r.id.to_string() == name
    };
    let found = ctx
        .records
        .known
        .iter()
        .find(is_named)
        .cloned()
        .or_else(|| {
            super::recover::under_way(&ctx.state.phase).filter(|release| is_named(&release))
        });
    let found =
        found.ok_or_else(|| unknown(name, "no release in a slot or under way has this name"))?;
    if found.root_hash == ctx.facts.system().root_hash {
        return Err(Failure::new(
            Code::NotNow,
            alloc::format!("release {}", found.version),
            "it is the running release",
        )
        .with_remedy("go back with `twinroot rollback`, which denies it"));
    }
    Ok(found)
}

/// A person's denial.
pub(super) fn by_person(
    ctx: &Ctx<'_>,
    release: &SavedRelease,
    reason: &str,
    until: Option<UnixTime>,
) -> Denial {
    Denial {
        version: release.version.clone(),
        root_hash: release.root_hash,
        uki: release.uki,
        reason: String::from(reason),
        code: None,
        by: DeniedBy::Person,
        first_seen: ctx.now.wall,
        last_seen: ctx.now.wall,
        until,
        left: None,
    }
}

/// The node's own denial after a failed trial, with what the trial has left.
pub(super) fn by_node(ctx: &Ctx<'_>, release: &SavedRelease, failure: &Failure) -> Denial {
    Denial {
        reason: alloc::format!("{}: {}", failure.subject, failure.cause),
        code: Some(failure.code),
        by: DeniedBy::Node,
        left: Some(Left::of(ctx.facts.remains_of(&release.root_hash))),
        ..by_person(ctx, release, "", None)
    }
}

fn unknown(name: &str, why: &str) -> Failure {
    Failure::new(Code::UnknownRelease, alloc::format!("release {name}"), why)
}
