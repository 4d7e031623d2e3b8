//! When the node may restart, and whom it asks.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use twinroot_trust::name::Name;
use twinroot_trust::time::Seconds;

use super::fragment::{FleetlockTable, RebootTable};
use super::merge::Origins;
use super::settings::{Settings, Strategy, check_url, needed, wrong};
use crate::error::Failure;
use crate::schedule::{Freeze, Schedule, Window, Zone};

/// Oldest metadata on which a reboot may rely: as long as a timestamp is usually valid.
const MAX_METADATA_AGE: Seconds = Seconds(7 * 86_400);
/// Whoever may postpone a reboot creates this file.
const GATE_FILE: &str = "/run/twinroot/reboot-hold";
/// How long before a window the fallback slot may be overwritten: a day leaves time to fetch over a
/// slow line and to try again, and keeps the old release through most of a week.
const STAGE_LEAD: Seconds = Seconds(86_400);
/// The zone where nobody names one.
const ZONE: &str = "UTC";

/// What may postpone a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// The reboot waits while this file exists.
    pub gate_file: String,
    /// Oldest metadata on which a reboot may rely where a fresh look fails.
    pub max_metadata_age: Seconds,
    /// When the node may restart by itself; empty means at any time.
    pub windows: Vec<Window>,
    /// Days on which it does not.
    pub freezes: Vec<Freeze>,
    /// IANA zone of windows and freezes.
    pub zone: String,
    /// How long before a window the fallback slot may be overwritten.
    pub stage_lead: Seconds,
    /// The reboot waits while somebody is logged in.
    pub wait_for_users: bool,
    /// The reboot waits while a block inhibitor with one of these names (systemd's `who`) is held.
    pub inhibitors: Vec<String>,
}

/// The lock server that lets so many nodes of a group restart at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleetlock {
    /// Its base URL.
    pub url: String,
    /// The node's group.
    pub group: Name,
}

impl Reboot {
    /// The times for the state machine. `zone` holds the rules of the zone named here.
    #[must_use]
    pub fn schedule(&self, zone: Zone) -> Schedule {
        Schedule {
            zone,
            windows: self.windows.clone(),
            freezes: self.freezes.clone(),
            stage_lead: self.stage_lead,
        }
    }
}

pub(super) fn reboot_of(table: RebootTable, origins: &Origins) -> Result<Reboot, Failure> {
    let windows = table.windows.unwrap_or_default();
    // Without a window nothing is gained by staging late.
    let lead = if windows.is_empty() {
        Seconds(0)
    } else {
        STAGE_LEAD
    };
    let zone = table.zone.unwrap_or_else(|| ZONE.to_string());
    if !Zone::is_name(&zone) {
        let cause = format!("{zone:?} is no name of a time zone such as Europe/Berlin");
        return Err(wrong("reboot.zone", cause, origins));
    }
    let inhibitors = table.inhibitors.unwrap_or_default();
    if inhibitors.iter().any(String::is_empty) {
        let cause = "the name of an inhibitor is empty".to_string();
        return Err(wrong("reboot.inhibitors", cause, origins));
    }
    Ok(Reboot {
        gate_file: table.gate_file.unwrap_or_else(|| GATE_FILE.to_string()),
        max_metadata_age: table.max_metadata_age.unwrap_or(MAX_METADATA_AGE),
        windows,
        freezes: table.freezes.unwrap_or_default(),
        zone,
        stage_lead: table.stage_lead.unwrap_or(lead),
        wait_for_users: table.wait_for_users.unwrap_or(false),
        inhibitors,
    })
}

pub(super) fn fleetlock_of(table: FleetlockTable, origins: &Origins) -> Result<Fleetlock, Failure> {
    let url = needed("fleetlock.url", table.url)?;
    check_url("fleetlock.url", &url, origins)?;
    Ok(Fleetlock {
        url,
        group: needed("fleetlock.group", table.group)?,
    })
}

/// A strategy and the settings it lives from must not contradict each other: a window that nothing
/// heeds, or a strategy that waits for what is not there, would be found out on the wrong night.
pub(super) fn check_strategy(settings: &Settings, origins: &Origins) -> Result<(), Failure> {
    let refuse = |cause: &str| Err(wrong("update.strategy", cause.to_string(), origins));
    let windows = !settings.reboot.windows.is_empty();
    match settings.update.strategy {
        Strategy::Windowed if !windows => {
            refuse("`windowed` needs at least one window in reboot.windows")
        }
        Strategy::Automatic if windows => refuse(
            "`automatic` restarts at any time, but reboot.windows names windows; use `windowed`",
        ),
        Strategy::Fleetlock if settings.fleetlock.is_none() => {
            refuse("`fleetlock` needs fleetlock.url and fleetlock.group")
        }
        Strategy::Manual
        | Strategy::CheckOnly
        | Strategy::StagedOnly
        | Strategy::Automatic
        | Strategy::Windowed
        | Strategy::Fleetlock => Ok(()),
    }
}
