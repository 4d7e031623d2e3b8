//! The loop as a service: between two events it sleeps until the next thing is due, and answers
//! requests meanwhile. One thread, blocking; whoever serves the sockets meets it at the [`Desk`].

mod desk;
mod own_gate;

use std::time::Duration;

use twinroot_core::config::Settings;
use twinroot_core::facts::{BootTime, Now};
use twinroot_core::update::{Event, pace};
use twinroot_core::wire::{Action, HealthStatus};
use twinroot_ports::Outcome;

pub use desk::{Answer, Ask, Desk, Picture, Request, Woken};
pub use own_gate::OwnGate;

use crate::agent::Agent;
use crate::{report, request};

/// Longest sleep without looking at the clocks, where no watchdog asks for less: a wall clock that
/// was set while the loop slept is noticed within this time, and a wake-up in ten minutes costs nothing.
const LONGEST: Duration = Duration::from_secs(600);
/// Bounds of the pause between two rounds of health checks on trial, in milliseconds: the shortest
/// period of any check, but no busy loop, and often enough to notice the end of probation.
const ROUND: (u64, u64) = (500, 10_000);

/// Pause in milliseconds before a gate that could not be told is told again.
const TELL_AGAIN: u64 = 60_000;

/// Pause in milliseconds before reports are sent again after a failure, and how often it doubles: to a
/// little more than an hour.
const REPORT_AGAIN: u64 = 60_000;
const REPORT_DOUBLINGS: u32 = 6;

/// The service manager, as far as it wants to hear of the loop.
pub trait Service: Sync {
    /// One sentence for whoever looks at the service.
    fn status(&self, _sentence: &str) {}
    /// The loop lives.
    fn alive(&self) {}
    /// The loop is about to end.
    fn stopping(&self) {}
    /// How often it must be told that the loop lives.
    fn watchdog(&self) -> Option<Duration> {
        None
    }
}

/// Nobody wants to hear of it.
#[derive(Debug, Clone, Copy)]
pub struct Foreground;

impl Service for Foreground {}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// The machine restarts.
    Rebooting,
    /// The configuration is to be read again, and the loop be opened anew over it.
    Reload,
}

/// The loop with what it needs to be a service.
pub struct Daemon<'a> {
    agent: Agent<'a>,
    settings: &'a Settings,
    desk: &'a Desk,
    service: &'a dyn Service,
    random: &'a dyn Fn() -> Outcome<u64>,
    check_at: BootTime,
    failures: u32,
    ticked: BootTime,
    checks: (u64, u64),
    /// The gates were told that the node is steady since it last asked them.
    gates_told: bool,
    /// When they were last told in vain.
    told_in_vain: Option<BootTime>,
    /// When reports are sent next, and how often in a row that has failed.
    reports: Option<(BootTime, u32)>,
}

impl std::fmt::Debug for Daemon<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl<'a> Daemon<'a> {
    /// Around a loop. `random` spreads this node among others.
    ///
    /// # Errors
    /// Where there are no random numbers.
    pub fn new(
        agent: Agent<'a>,
        settings: &'a Settings,
        desk: &'a Desk,
        service: &'a dyn Service,
        random: &'a dyn Fn() -> Outcome<u64>,
    ) -> Outcome<Self> {
        let now = agent.ports().clock.now();
        let check_at = pace::first_check(&settings.polling, now.boot, random()?);
        Ok(Self {
            agent,
            settings,
            desk,
            service,
            random,
            check_at,
            failures: 0,
            ticked: now.boot,
            checks: (0, 0),
            gates_told: false,
            told_in_vain: None,
            reports: None,
        })
    }

    /// Runs until told to end, or until the machine restarts.
    ///
    /// # Errors
    /// Where the machine cannot be observed any more.
    pub fn run(mut self) -> Outcome<End> {
        self.show()?;
        loop {
            if self.agent.rebooting() {
                self.service.stopping();
                return Ok(End::Rebooting);
            }
            self.service.alive();
            self.tell_gates();
            self.send_reports();
            match self.desk.wait(self.sleep()) {
                Woken::Stop => {
                    self.service.stopping();
                    return Ok(End::Stopped);
                }
                // Probation is counted by this run of the program: a new configuration waits for it.
                Woken::Reload if !self.agent.on_trial() => return Ok(End::Reload),
                Woken::Reload => continue,
                Woken::Request(request) => self.answer(request)?,
                Woken::Time if !self.due()? => continue,
                Woken::Time => {}
            }
            self.show()?;
        }
    }

    /// Does what is due by now; false where the loop only woke to look at the clocks.
    fn due(&mut self) -> Outcome<bool> {
        let now = self.now();
        if self.until_tick(now) == Some(0) {
            self.desk.begin();
            self.ticked = now.boot;
            if let Some(failure) = self.agent.handle(Event::Tick)? {
                report::remember_failure(&self.agent, &failure)?;
            }
        } else if self.check_at <= now.boot && !self.agent.on_trial() {
            self.desk.begin();
            self.check()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Gives back a place that a gate gave out, once the node is steady; again after a while where
    /// the gate could not be told, for as long as it takes.
    fn tell_gates(&mut self) {
        if !pace::is_steady(self.agent.state()) {
            self.gates_told = false;
            return;
        }
        let now = self.now().boot;
        let again = self
            .told_in_vain
            .is_none_or(|at| now.0 >= at.0.saturating_add(TELL_AGAIN));
        if self.gates_told || !again {
            return;
        }
        match self.agent.ports().gate.steady() {
            Ok(()) => (self.gates_told, self.told_in_vain) = (true, None),
            Err(failure) => {
                tracing::warn!(code = %failure.code, "{failure}");
                self.told_in_vain = Some(now);
            }
        }
    }

    /// Sends reports that wait; again in growing pauses where the collector is away.
    fn send_reports(&mut self) {
        let now = self.now().boot;
        let (due, failures) = self.reports.unwrap_or((now, 0));
        if now < due {
            return;
        }
        self.reports = match self.agent.send_reports() {
            Ok(false) => None,
            Ok(true) => Some((now, 0)),
            Err(failure) => {
                tracing::warn!(code = %failure.code, "reports wait: {failure}");
                let pause = REPORT_AGAIN << failures.min(REPORT_DOUBLINGS);
                let at = BootTime(now.0.saturating_add(pause));
                Some((at, failures.saturating_add(1)))
            }
        };
    }

    /// When the gates are to be told again, in milliseconds from now.
    fn until_told(&self, now: Now) -> u64 {
        match self.told_in_vain {
            Some(at) if !self.gates_told && pace::is_steady(self.agent.state()) => {
                at.0.saturating_add(TELL_AGAIN).saturating_sub(now.boot.0)
            }
            _ => u64::MAX,
        }
    }

    /// One look at the repository, and as far on from there as the strategy says.
    fn check(&mut self) -> Outcome<()> {
        let failed = self.agent.handle(Event::CheckDue)?;
        report::remember(&self.agent, failed.as_ref())?;
        self.checks.0 += 1;
        if let Some(failure) = &failed {
            self.checks.1 += 1;
            self.failures = self.failures.saturating_add(1);
            tracing::warn!(what = "check-failed", code = %failure.code, "{failure}");
        } else {
            self.failures = 0;
        }
        self.plan_next_check()
    }

    fn plan_next_check(&mut self) -> Outcome<()> {
        let now = self.now();
        let random = (self.random)()?;
        self.check_at = pace::next_check(&self.settings.polling, now.boot, self.failures, random);
        let left = self.check_at.0.saturating_sub(now.boot.0) / 1000;
        let at = now.wall.plus(twinroot_trust::time::Seconds(left));
        self.agent.next_check = Some(at);
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Outcome<()> {
        let Request { ask, by, answer } = request;
        let desk = self.desk;
        let mut wait = |time| desk.pause(time);
        let done = match &ask {
            Ask::Act(action, body) => {
                tracing::info!(action = action.as_str(), by, "a request");
                let done = request::carry_out(&mut self.agent, *action, body, &by, &mut wait);
                self.ticked = self.now().boot;
                done.and_then(|()| self.told(*action))
            }
            Ask::Plan => {
                report::plan(&mut self.agent, None, false).map(|plan| Answer::Plan(Box::new(plan)))
            }
        };
        self.show()?;
        // Whoever asked may have gone; the request was carried out all the same.
        let _ = answer.send(done);
        Ok(())
    }

    /// A check tells what it found, everything else where the update stands now.
    fn told(&self, action: Action) -> Outcome<Answer> {
        Ok(match action {
            Action::Check => Answer::Check(Box::new(report::check(&self.agent)?)),
            _ => Answer::Status(Box::new(report::status(&self.agent, self.settings)?)),
        })
    }

    fn now(&self) -> Now {
        self.agent.ports().clock.now()
    }

    fn until_tick(&self, now: Now) -> Option<u64> {
        let tick = pace::next_tick(self.agent.state(), self.round());
        pace::until(tick, self.ticked, now)
    }

    /// Time until the next thing is due, by the machine's clocks.
    fn sleep(&self) -> Duration {
        let now = self.now();
        let check = match self.agent.on_trial() {
            true => u64::MAX,
            false => self.check_at.0.saturating_sub(now.boot.0),
        };
        let due = self.until_tick(now).unwrap_or(u64::MAX);
        let reports = self
            .reports
            .map_or(u64::MAX, |(at, _)| at.0.saturating_sub(now.boot.0));
        let due = due.min(check).min(self.until_told(now)).min(reports);
        let watchdog = self.service.watchdog().map(|time| time / 2);
        let clock = self.agent.ports().clock.trusted_for();
        [Some(LONGEST), watchdog, clock]
            .into_iter()
            .flatten()
            .fold(Duration::from_millis(due), Duration::min)
    }

    fn round(&self) -> u64 {
        let shortest = self.agent.shortest_period().unwrap_or(ROUND.1);
        shortest.clamp(ROUND.0, ROUND.1)
    }

    /// Lays out where the node stands.
    fn show(&self) -> Outcome<()> {
        let status = report::status(&self.agent, self.settings)?;
        self.service.status(&sentence(&status));
        let checks = self.agent.health();
        let healthy = self.agent.is_healthy();
        self.desk.show(Picture {
            why: report::why(&self.agent)?,
            status,
            health: HealthStatus::of(checks, healthy),
            totals: self.agent.totals(),
            checks: self.checks,
        });
        Ok(())
    }
}

/// The status line of the service: where it stands, and what it waits for first.
fn sentence(status: &twinroot_core::wire::Status) -> String {
    match status.waits_for.first() {
        Some(reason) => format!("{}; {}", status.sentence, reason.sentence),
        None => status.sentence.clone(),
    }
}
