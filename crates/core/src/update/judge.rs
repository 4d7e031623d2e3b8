//! Whether this node may have a release, and which of several it takes.

use alloc::string::{String, ToString};

use twinroot_payload::verity::TreeShape;
use twinroot_trust::time::UnixTime;

use super::Ctx;
use super::candidate::Candidate;
use super::event::{Checked, Goal, Listed};
use crate::rollout::Offer;
use crate::schedule::Opening;
use crate::why::WaitReason;

/// Chooses the newest release that is acceptable. Where the newest can be reached only through an
/// earlier one, that one is acceptable and so is chosen: this is how barriers are passed.
pub(super) fn select(ctx: &Ctx<'_>, checked: &Checked) -> Result<Candidate, WaitReason> {
    let mut first_reason = None;
    for listed in &checked.listed {
        match acceptable(ctx, listed) {
            Ok(()) => return Ok(listed.candidate.clone()),
            Err(reason) => {
                first_reason.get_or_insert(reason);
            }
        }
    }
    let unreadable = checked
        .unreadable
        .first()
        .map(|(version, failure)| match failure.code {
            crate::error::Code::ClientTooOld => WaitReason::ClientTooOld {
                version: version.clone(),
                first: None,
            },
            _ => WaitReason::OperatorNeeded {
                failure: failure.code.as_str().to_string(),
                detail: alloc::format!("{}: {}", failure.subject, failure.cause),
            },
        });
    Err(unreadable
        .or(first_reason)
        .unwrap_or_else(|| ctx.nothing_newer()))
}

/// Whether this node may have the release now.
fn acceptable(ctx: &Ctx<'_>, listed: &Listed) -> Result<(), WaitReason> {
    let candidate = &listed.candidate;
    wanted(ctx, candidate)?;
    remembered(ctx, candidate)?;
    required(ctx, candidate)?;
    fits(ctx, candidate)?;
    offered(ctx, candidate, listed.offer)?;
    tried(ctx, candidate)
}

/// Checks that hold at any time for a release that was verified again after a restart: what was
/// denied or withdrawn behind its back does not move. Withdrawal is seen at the next refresh.
pub(super) fn still_acceptable(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    remembered(ctx, candidate)?;
    required(ctx, candidate)?;
    fits(ctx, candidate)
}

/// Whether the node may go on by itself with a release: not while a person has paused it, and each
/// step in its time. What a person asks for waits for no window (DESIGN section 10).
pub(super) fn may_stage(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    let schedule = &ctx.policy.schedule;
    in_time(
        ctx,
        candidate,
        schedule.staging(ctx.now.wall, severity(candidate)),
        |version, at| WaitReason::StagesAt { version, at },
    )
}

/// The same for telling the loader and for the restart.
pub(super) fn may_restart(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    let schedule = &ctx.policy.schedule;
    in_time(
        ctx,
        candidate,
        schedule.opening(ctx.now.wall, severity(candidate)),
        |_, at| WaitReason::WindowOpensAt { at },
    )
}

/// A person's request has come as far as it went: what the step after it waits for. Where the strategy leaves
/// it to a person that is `left`; else the node takes the step by itself, from its next look on.
pub(super) fn by_itself(
    ctx: &Ctx<'_>,
    step: Goal,
    left: WaitReason,
    may: impl FnOnce(&Ctx<'_>) -> Result<(), WaitReason>,
) -> WaitReason {
    if ctx.policy.goal < step {
        return left;
    }
    let mut state = ctx.state.clone();
    state.wish = ctx.policy.standing_wish();
    let own = Ctx {
        state: &state,
        ..*ctx
    };
    match may(&own) {
        Ok(()) => WaitReason::NextCheckAt { at: ctx.now.wall },
        Err(reason) => reason,
    }
}

fn severity(candidate: &Candidate) -> twinroot_trust::manifest::Severity {
    candidate.manifest().severity
}

fn in_time(
    ctx: &Ctx<'_>,
    candidate: &Candidate,
    opening: Opening,
    later: impl FnOnce(String, UnixTime) -> WaitReason,
) -> Result<(), WaitReason> {
    if ctx.state.wish.by_person {
        return Ok(());
    }
    if let Some(since) = ctx.records.paused {
        return Err(WaitReason::PausedLocally { since });
    }
    let version = candidate.version().to_string();
    match opening {
        Opening::Open { .. } => Ok(()),
        Opening::At(at) => Err(later(version, at)),
        Opening::Never => Err(WaitReason::NoWindow { version }),
    }
}

/// A person's hold stops the restart, whoever asked for it; only force goes past it, on the record.
pub(super) fn held(ctx: &Ctx<'_>) -> Option<WaitReason> {
    let hold = ctx.records.held.as_ref()?;
    (hold.holds(ctx.now.wall) && !ctx.state.wish.force).then(|| WaitReason::Held {
        since: hold.since,
        until: hold.until,
        reason: hold.reason.clone(),
    })
}

/// Newer than what runs, or asked for by name; not against a pin or a pause.
fn wanted(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    let running = &ctx.facts.system().version;
    let wish = &ctx.state.wish;
    let named = wish.version.as_ref();
    if named.is_some_and(|version| version != candidate.version()) {
        return Err(ctx.nothing_newer());
    }
    let older = candidate.version() <= running;
    if candidate.root_hash() == ctx.facts.system().root_hash
        || (older && !(named.is_some() && wish.force))
    {
        return Err(ctx.nothing_newer());
    }
    if let Some(pinned) = &ctx.records.pinned
        && pinned != candidate.version()
    {
        return Err(WaitReason::Pinned {
            version: pinned.to_string(),
        });
    }
    match ctx.records.paused {
        Some(since) if !wish.by_person => Err(WaitReason::PausedLocally { since }),
        _ => Ok(()),
    }
}

/// Not denied (unless forced by name), not below the floor (whatever is said).
fn remembered(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    let version = candidate.version().to_string();
    let stamped = ctx.facts.system().stamped_floor.as_ref();
    if let Some(floor) = ctx.records.floor(stamped)
        && candidate.version() < floor
    {
        return Err(WaitReason::BelowFloor {
            version,
            floor: floor.to_string(),
        });
    }
    match ctx.records.denial_of(&candidate.saved(), ctx.now.wall) {
        Some(denial) if !ctx.state.wish.force => Err(WaitReason::Denied {
            version,
            since: denial.first_seen,
            reason: denial.reason.clone(),
        }),
        _ => Ok(()),
    }
}

/// The machine has what the release requires.
fn required(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    let version = candidate.version().to_string();
    let requires = &candidate.manifest().requires;
    let system = ctx.facts.system();
    if let Some(from) = &requires.from
        && system.version < *from
    {
        return Err(WaitReason::Barrier {
            version,
            first: from.to_string(),
        });
    }
    let lacks = |what: &str, need: &str| WaitReason::RequirementMissing {
        version: version.clone(),
        requirement: alloc::format!("{what} {need}"),
    };
    if let Some(cpu) = &requires.cpu
        && !cpu_satisfies(&system.cpu, cpu.as_str())
    {
        return Err(lacks("cpu", cpu.as_str()));
    }
    match requires.firmware {
        Some(need) if need.as_str() != system.firmware => Err(lacks("firmware", need.as_str())),
        Some(_) | None => Ok(()),
    }
}

/// Levels of one family are ordered by the number behind `-v`; another family satisfies nothing.
fn cpu_satisfies(have: &str, need: &str) -> bool {
    fn level(text: &str) -> (&str, u32) {
        match text.rsplit_once("-v") {
            Some((family, number)) => (family, number.parse().unwrap_or(u32::MAX)),
            None => (text, 1),
        }
    }
    let (have_family, have_level) = level(have);
    let (need_family, need_level) = level(need);
    have_family == need_family && have_level >= need_level
}

/// Slot, tree and ESP have room. Checked before the fallback is given up for it.
fn fits(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    let inactive = ctx.facts.inactive().name();
    let slot = ctx.facts.slot(inactive);
    let short = |place: String, need: u64, have: u64| {
        if need > have {
            Err(WaitReason::SpaceShort {
                place,
                by: need - have,
            })
        } else {
            Ok(())
        }
    };
    let image = candidate.image();
    short(
        alloc::format!("slot {inactive}"),
        image.size,
        slot.data_size,
    )?;
    let tree = TreeShape::for_size(image.size).map_or(u64::MAX, |shape| shape.partition_bytes());
    short(
        alloc::format!("slot {inactive} (tree)"),
        tree,
        slot.tree_size,
    )?;
    let already = ctx.facts.entry_of(&candidate.root_hash()).is_some();
    let need = if already { 0 } else { candidate.uki().size };
    short("ESP".to_string(), need, ctx.facts.loader().free)
}

/// The signed rollout lets this node have it now. A person may go ahead of it, on the record, but
/// never against a withdrawal.
fn offered(ctx: &Ctx<'_>, candidate: &Candidate, offer: Offer) -> Result<(), WaitReason> {
    let version = candidate.version().to_string();
    let forced = ctx.state.wish.force;
    match offer {
        Offer::Withdrawn => Err(WaitReason::Withdrawn { version }),
        Offer::Now => Ok(()),
        Offer::At(_) | Offer::NotOffered | Offer::Paused if forced => Ok(()),
        Offer::At(at) => Err(WaitReason::WaveOpensAt { version, at }),
        Offer::NotOffered => Err(WaitReason::NotOffered { version }),
        Offer::Paused => Err(WaitReason::RolloutPaused { version }),
    }
}

/// Not tried in vain too often; a person's request starts the count again.
fn tried(ctx: &Ctx<'_>, candidate: &Candidate) -> Result<(), WaitReason> {
    let attempts = &ctx.state.attempts;
    let same = attempts.release == Some(candidate.id());
    if same && attempts.count >= ctx.policy.max_attempts && !ctx.state.wish.by_person {
        return Err(WaitReason::OperatorNeeded {
            failure: "too-many-attempts".to_string(),
            detail: alloc::format!(
                "{}: {} tries in a row ended without progress",
                candidate.version(),
                attempts.count
            ),
        });
    }
    Ok(())
}
