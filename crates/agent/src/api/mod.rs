//! The local API: HTTP/1.1 and JSON on two Unix sockets. Whoever can open the read socket may look,
//! whoever can open the control socket and passes the [`Gatekeeper`] may act. Sockets, groups and
//! modes are the service manager's; nothing here listens on a network.
//!
//! One table, [`ROUTES`], says what there is; the router and the OpenAPI document are made from it.

mod answer;
mod figures;
mod handlers;
mod metrics;
mod serve;

use std::sync::Arc;

use twinroot_core::wire::{Action, HistoryLine};
use twinroot_ports::Outcome;

pub use figures::Figures;
pub use metrics::{METRICS, metrics};
pub use serve::{Sockets, serve};

use crate::daemon::Desk;

/// Most bytes of a body: a reason of 500 bytes and a digest fit many times.
pub const BODY: usize = 4096;

/// Who is at the other end of a connection, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process, where the kernel says it.
    pub pid: Option<i32>,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}

/// Decides who may act. The real one looks at user, groups and user namespace of the peer.
pub trait Gatekeeper: Send + Sync {
    /// The name under which the peer's requests are written down.
    ///
    /// # Errors
    /// `not-permitted` for whoever may not act.
    fn admit(&self, peer: &Peer) -> Outcome<String>;
}

/// Reads what the loop does not keep in memory.
pub trait Archive: Send + Sync {
    /// The history, oldest first.
    ///
    /// # Errors
    /// What the store says.
    fn history(&self) -> Outcome<Vec<HistoryLine>>;
}

/// Everything that a handler needs.
#[derive(Clone)]
pub struct Office {
    /// Where the loop is met.
    pub desk: Arc<Desk>,
    /// The history.
    pub archive: Arc<dyn Archive>,
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Office").finish_non_exhaustive()
    }
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// `GET`, of the newest picture.
    Look(Look),
    /// `POST`, on the control socket alone.
    Act(Action),
}

/// What can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// What is.
    Status,
    /// What would happen.
    Plan,
    /// Why nothing happens.
    Why,
    /// What was done.
    History,
    /// Results of the health checks.
    Health,
    /// What happens now.
    Events,
    /// For Prometheus.
    Metrics,
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its path.
    pub path: &'static str,
    /// What it does.
    pub does: Does,
    /// In one clause.
    pub summary: &'static str,
    /// Name of the answer's type in `core::wire`; empty for text.
    pub answer: &'static str,
}

const fn look(
    path: &'static str,
    look: Look,
    summary: &'static str,
    answer: &'static str,
) -> Route {
    Route {
        path,
        does: Does::Look(look),
        summary,
        answer,
    }
}

const fn act(path: &'static str, action: Action, summary: &'static str) -> Route {
    Route {
        path,
        does: Does::Act(action),
        summary,
        answer: match action {
            Action::Check => "CheckReport",
            _ => "Status",
        },
    }
}

/// Everything that the API can do.
pub const ROUTES: [Route; 20] = [
    look(
        "/v1/status",
        Look::Status,
        "What runs, what the other slot holds, and where an update stands",
        "Status",
    ),
    look(
        "/v1/plan",
        Look::Plan,
        "What an update would do, before a byte moves",
        "Plan",
    ),
    look(
        "/v1/why",
        Look::Why,
        "Why nothing happens, and what a person can do",
        "Why",
    ),
    look(
        "/v1/history",
        Look::History,
        "What was done, oldest first",
        "History",
    ),
    look(
        "/v1/health",
        Look::Health,
        "Results of the last round of health checks",
        "HealthStatus",
    ),
    look(
        "/v1/events",
        Look::Events,
        "What happens from now on, as server-sent events",
        "",
    ),
    look("/metrics", Look::Metrics, "Figures for Prometheus", ""),
    act("/v1/check", Action::Check, "Look for a release"),
    act(
        "/v1/stage",
        Action::Stage,
        "Write a release to the other slot and prove it",
    ),
    act(
        "/v1/activate",
        Action::Activate,
        "Make the bootloader try the staged release",
    ),
    act(
        "/v1/reboot",
        Action::Reboot,
        "Restart into the activated release",
    ),
    act(
        "/v1/apply",
        Action::Apply,
        "Check, stage, activate and restart",
    ),
    act("/v1/rollback", Action::Rollback, "Return to the other slot"),
    act(
        "/v1/repair",
        Action::Repair,
        "Write a good release over a slot that went bad",
    ),
    act("/v1/pause", Action::Pause, "Do nothing by itself"),
    act("/v1/resume", Action::Resume, "End a pause"),
    act("/v1/pin", Action::Pin, "Stay at a version"),
    act("/v1/hold", Action::Hold, "Do not restart for a while"),
    act("/v1/deny", Action::Deny, "Remember a release as bad"),
    act(
        "/v1/undeny",
        Action::Undeny,
        "Forget that a release was bad",
    ),
];

#[cfg(test)]
mod tests;
