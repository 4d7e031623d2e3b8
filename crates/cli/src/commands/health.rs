//! `twinroot health`: what the checks of the running agent say, and whether this boot was judged good.

use std::time::Duration;

use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::{HealthStatus, Status};
use twinroot_ports::Outcome;

use super::look::Target;
use crate::client::Client;
use crate::print;

/// Pause between two looks while a boot is being judged: short beside a probation of minutes.
const AGAIN: Duration = Duration::from_secs(2);

/// Phases in which the boot is not judged yet.
const JUDGING: [&str; 4] = ["checking", "trial", "blessing", "committing"];
/// Phases in which it was found bad.
const BAD: [&str; 1] = ["rolling-back"];

/// Prints the results; with `wait` only once the boot is judged. The exit code says what was found.
pub(super) fn run(target: &Target<'_>, wait: bool) -> Outcome<u8> {
    let status = judged(target, wait)?;
    let health: HealthStatus = agent(target)?.look("/v1/health")?;
    target
        .screen
        .answer(&health, |health| print::health(health, &status))?;
    let bad = BAD.contains(&status.phase.as_str());
    match bad || !health.healthy {
        true => Ok(twinroot_core::error::Category::Health.exit_code()),
        false => Ok(0),
    }
}

fn judged(target: &Target<'_>, wait: bool) -> Outcome<Status> {
    loop {
        let status = agent(target).and_then(|agent| agent.look::<Status>("/v1/status"));
        match status {
            Ok(status) if !wait || !JUDGING.contains(&status.phase.as_str()) => return Ok(status),
            Err(failure) if !wait => return Err(failure),
            // It is judging, or has not come up or not come far enough to answer.
            Ok(_) | Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

fn agent(target: &Target<'_>) -> Outcome<Client> {
    Client::to_look(target.machine)?.ok_or_else(|| {
        Failure::new(Code::NotNow, "the agent", "it does not run")
            .with_remedy("start it: systemctl start twinroot-agent")
    })
}
