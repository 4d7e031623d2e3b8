//! Whether a request got where it wanted, in the terms of the error table.

use twinroot_core::error::{Code, Failure};
use twinroot_core::update::{Command, Goal, Phase};
use twinroot_core::why::WaitReason;

use crate::agent::Agent;

/// The refusal behind a release that is there and was not taken. Nothing newer, asked for without
/// a name, is no refusal.
pub(super) fn not_taken(agent: &Agent<'_>, command: &Command) -> Option<Failure> {
    let (goal, version) = match command {
        Command::Update { goal, version, .. } => (*goal, version.as_ref()),
        _ => return None,
    };
    let Phase::Idle { reason } = &agent.state().phase else {
        return None;
    };
    if goal == Goal::Check {
        return None;
    }
    let running = agent.facts().system().version.to_string();
    match (reason, version) {
        (WaitReason::NoNewerRelease { .. }, None) => None,
        (WaitReason::NoNewerRelease { .. }, Some(wanted)) if wanted.to_string() == running => {
            let subject = format!("release {wanted}");
            Some(Failure::new(Code::NotNewer, subject, "it runs already"))
        }
        (WaitReason::NoNewerRelease { .. }, Some(wanted)) => Some(Failure::new(
            Code::UnknownRelease,
            format!("release {wanted}"),
            "the channel lists no such release that this host could take",
        )),
        (reason, _) => Some(refusal(reason)),
    }
}

/// A reason to wait as the failure of a request.
fn refusal(reason: &WaitReason) -> Failure {
    let code = match reason {
        WaitReason::Denied { .. } => Code::ReleaseDenied,
        WaitReason::BelowFloor { .. } => Code::BelowFloor,
        WaitReason::Barrier { .. } => Code::BarrierRequired,
        WaitReason::RequirementMissing { .. } => Code::RequirementMissing,
        WaitReason::Withdrawn { .. } => Code::ReleaseWithdrawn,
        WaitReason::ClientTooOld { .. } => Code::ClientTooOld,
        WaitReason::ClockUntrusted { .. } => Code::ClockUntrusted,
        WaitReason::MetadataExpired { .. } => Code::MetadataExpired,
        WaitReason::UnhealthyBefore { .. } => Code::UnhealthyBeforeUpdate,
        WaitReason::SpaceShort { place, .. } if place.contains("ESP") => Code::EspFull,
        WaitReason::SpaceShort { .. } => Code::SlotTooSmall,
        WaitReason::OperatorNeeded { failure, detail } => {
            return Failure::from_code(failure, "the update", detail.clone());
        }
        _ => Code::NotNow,
    };
    let subject = match release_of(reason) {
        Some(version) => format!("release {version}"),
        None => String::from("the update"),
    };
    Failure::new(code, subject, reason.sentence()).with_remedy(reason.remedy().into_owned())
}

fn release_of(reason: &WaitReason) -> Option<&str> {
    match reason {
        WaitReason::NotOffered { version }
        | WaitReason::WaveOpensAt { version, .. }
        | WaitReason::RolloutPaused { version }
        | WaitReason::Withdrawn { version }
        | WaitReason::Denied { version, .. }
        | WaitReason::Barrier { version, .. }
        | WaitReason::BelowFloor { version, .. }
        | WaitReason::RequirementMissing { version, .. }
        | WaitReason::ClientTooOld { version, .. } => Some(version),
        _ => None,
    }
}
