//! Where the loop and those who speak to it meet: requests come in, the newest picture of the node
//! lies out, events go to whoever listens. The loop never waits for a reader.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot, watch};
use twinroot_core::update::{HealthPurpose, HealthVerdict, Note, Phase, PhaseName};
use twinroot_core::wire::{ActBody, Action, CheckReport, Event, HealthStatus, Plan, Status, Why};
use twinroot_ports::{Code, Failure, Outcome};

use crate::observer::{Observer, Progress, Totals};

/// Requests that may wait: more than any person or controller has in hand at once.
const WAITING: usize = 16;
/// Events kept for a listener that is slow; one that falls further behind is told so and goes on.
const EVENTS: usize = 64;
/// Bytes of a transfer between two events about it, so that a fast line does not flood listeners.
const STRIDE: u64 = 4 << 20;

/// What somebody wants of the loop.
#[derive(Debug)]
pub enum Ask {
    /// A request.
    Act(Action, Box<ActBody>),
    /// What an update would do.
    Plan,
}

/// What the loop answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Where it stands now.
    Status(Box<Status>),
    /// What would happen.
    Plan(Box<Plan>),
    /// What the repository has.
    Check(Box<CheckReport>),
}

/// A request in the loop's tray.
#[derive(Debug)]
pub struct Request {
    /// What.
    pub ask: Ask,
    /// Who asks, as the control socket knows them.
    pub by: String,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Outcome<Answer>>,
}

/// The node as the loop saw it last.
#[derive(Debug, Clone)]
pub struct Picture {
    /// `GET /v1/status`.
    pub status: Status,
    /// `GET /v1/why`.
    pub why: Why,
    /// Results of the last round of health checks.
    pub health: HealthStatus,
    /// Bytes of this run of the program.
    pub totals: Totals,
    /// Checks so far in this run, and how many of them failed.
    pub checks: (u64, u64),
}

/// Why the loop was woken.
#[derive(Debug)]
pub enum Woken {
    /// The time has passed.
    Time,
    /// Somebody asks.
    Request(Request),
    /// The program is to end.
    Stop,
    /// The configuration is to be read again.
    Reload,
}

#[derive(Debug, Default)]
struct Tray {
    requests: VecDeque<Request>,
    stop: bool,
    reload: bool,
    idle: bool,
}

/// Where they meet.
#[derive(Debug)]
pub struct Desk {
    tray: Mutex<Tray>,
    wake: Condvar,
    picture: Mutex<Option<Arc<Picture>>>,
    progress: Mutex<Option<Progress>>,
    phase: Mutex<Option<PhaseName>>,
    events: broadcast::Sender<Event>,
    closing: watch::Sender<bool>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            tray: Mutex::default(),
            wake: Condvar::new(),
            picture: Mutex::default(),
            progress: Mutex::default(),
            phase: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
            closing: watch::Sender::new(false),
        }
    }
}

/// Nothing that is guarded here is ever left half changed, so a lock that a panicking thread held
/// may be taken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Puts a request into the tray.
    ///
    /// # Errors
    /// `lock-held` where too many wait already.
    pub fn ask(&self, ask: Ask, by: String) -> Outcome<oneshot::Receiver<Outcome<Answer>>> {
        let (answer, answered) = oneshot::channel();
        let mut tray = lock(&self.tray);
        if tray.requests.len() >= WAITING {
            let cause = format!("{WAITING} requests wait already");
            return Err(Failure::new(Code::LockHeld, "the agent", cause)
                .with_remedy("wait until they are done"));
        }
        tray.requests.push_back(Request { ask, by, answer });
        self.wake.notify_all();
        Ok(answered)
    }

    /// Asks the loop to end, and waits for that time at most until it has nothing in hand. True where it has
    /// nothing and will end; else it is in the middle of an effect, each of which survives being cut off.
    pub fn stop(&self, patience: Duration) -> bool {
        let mut tray = lock(&self.tray);
        tray.stop = true;
        self.wake.notify_all();
        let waited = self
            .wake
            .wait_timeout_while(tray, patience, |tray| !tray.idle);
        let (tray, _) = waited.unwrap_or_else(PoisonError::into_inner);
        tray.idle
    }

    /// The loop takes something in hand; until it waits again, it may not end by itself soon.
    pub(super) fn begin(&self) {
        lock(&self.tray).idle = false;
    }

    /// Nothing more will be answered: connections are closed once the answers in hand are written.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Becomes true when [`Desk::close`] was called.
    #[must_use]
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Asks the loop to have the configuration read again.
    pub fn reload(&self) {
        lock(&self.tray).reload = true;
        self.wake.notify_all();
    }

    /// Whether a new configuration waits to be read.
    #[must_use]
    pub fn reload_waits(&self) -> bool {
        lock(&self.tray).reload
    }

    /// Whether the program is to end.
    #[must_use]
    pub fn stopping(&self) -> bool {
        lock(&self.tray).stop
    }

    /// Waits until something is in the tray, or for that time.
    #[must_use]
    pub fn wait(&self, time: Duration) -> Woken {
        let mut tray = lock(&self.tray);
        tray.idle = true;
        // Whoever waits for the loop to come to rest.
        self.wake.notify_all();
        let quiet = |tray: &mut Tray| !tray.stop && !tray.reload && tray.requests.is_empty();
        let waited = self.wake.wait_timeout_while(tray, time, quiet);
        let (mut tray, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if tray.stop {
            return Woken::Stop;
        }
        if let Some(request) = tray.requests.pop_front() {
            tray.idle = false;
            return Woken::Request(request);
        }
        if std::mem::take(&mut tray.reload) {
            tray.idle = false;
            return Woken::Reload;
        }
        Woken::Time
    }

    /// Waits for that time in the middle of a request; false where the program is to end.
    #[must_use]
    pub fn pause(&self, time: Duration) -> bool {
        let tray = lock(&self.tray);
        let waited = self.wake.wait_timeout_while(tray, time, |tray| !tray.stop);
        let (tray, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !tray.stop
    }

    /// Lays out a new picture.
    pub fn show(&self, picture: Picture) {
        *lock(&self.picture) = Some(Arc::new(picture));
        *lock(&self.progress) = None;
    }

    /// The newest picture, with how far a transfer has come since; none before the first.
    #[must_use]
    pub fn picture(&self) -> Option<Picture> {
        let mut picture = lock(&self.picture).as_deref().cloned()?;
        if let Some(progress) = *lock(&self.progress) {
            picture.status.progress = Some(twinroot_core::wire::Progress {
                doing: progress.doing.to_owned(),
                done: progress.done,
                total: progress.total,
                fetched: progress.fetched,
            });
            if let Some(phase) = *lock(&self.phase) {
                phase.as_str().clone_into(&mut picture.status.phase);
            }
        }
        Some(picture)
    }

    /// Listens to events from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn tell(&self, event: Event) {
        // An error only says that nobody listens.
        let _ = self.events.send(event);
    }
}

impl Observer for Desk {
    fn phase(&self, phase: &Phase) {
        let name = phase.name();
        if lock(&self.phase).replace(name) != Some(name) {
            *lock(&self.progress) = None;
            let phase = name.as_str().to_owned();
            tracing::info!(phase, "the update entered a phase");
            self.tell(Event::Phase { phase });
        }
    }

    fn progress(&self, progress: &Progress) {
        let mut last = lock(&self.progress);
        let tell = last.is_none_or(|before| {
            before.doing != progress.doing
                || progress.done >= before.done.saturating_add(STRIDE)
                || progress.done >= progress.total
        });
        if tell {
            *last = Some(*progress);
            drop(last);
            self.tell(Event::Progress {
                doing: progress.doing.to_owned(),
                done: progress.done,
                total: progress.total,
                fetched: progress.fetched,
            });
        }
    }

    fn health(&self, purpose: HealthPurpose, verdict: &HealthVerdict) {
        let purpose = match purpose {
            HealthPurpose::Trial => "trial",
            HealthPurpose::Steady => "steady",
            HealthPurpose::Before => "before",
        };
        let (verdict, detail) = match verdict {
            HealthVerdict::Pending => ("pending", None),
            HealthVerdict::Good => ("good", None),
            HealthVerdict::Kept { lost } => ("good", Some(format!("without {}", lost.join(", ")))),
            HealthVerdict::Bad { check, detail } => ("bad", Some(format!("{check}: {detail}"))),
        };
        self.tell(Event::Health {
            purpose: purpose.to_owned(),
            verdict: verdict.to_owned(),
            detail,
        });
    }

    fn note(&self, note: &Note) {
        let version = note.release.as_ref().map(|r| r.version.to_string());
        tracing::info!(what = note.what, version, "{}", note.detail);
        self.tell(Event::Note {
            what: note.what.to_owned(),
            version,
            detail: note.detail.clone(),
        });
    }
}
