//! `twinroot agent` as a service: the loop in this thread, its sockets in another, and the service
//! manager told how it goes.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use twinroot_agent::api::{self, Archive, Figures, Gatekeeper, Office, Peer, Sockets};
use twinroot_agent::daemon::{Daemon, Desk, End, OwnGate, Service};
use twinroot_agent::{Observer, Progress, Quiet};
use twinroot_core::error::{Code, Failure};
use twinroot_core::update::{HealthPurpose, HealthVerdict, Note, Phase};
use twinroot_core::wire::HistoryLine;
use twinroot_host::peer::{self, Named, Rules};
use twinroot_host::sockets::{self, Pair};
use twinroot_ports::Outcome;

use super::look::Target;
use crate::client::run_folder;
use crate::machine::{Access, Node};

/// For so long whoever asks the program to end waits for what is in hand: all but fetching, writing and
/// reading back a slot takes less, on a slow host too (three seconds were not enough for an emulated one to answer who
/// had asked for a restart). A service manager waits for 90 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until it is told to end or the machine restarts.
pub(super) fn run(target: &Target<'_>) -> Outcome<()> {
    let desk = Arc::new(Desk::default());
    listen_to_signals(&desk)?;
    let systemd = Systemd;
    let beating = Beating(&desk);
    // The lock first: only its holder may take the place of leftover sockets.
    let mut node = Node::open(target.machine, Access::Act)?;
    let office = Office {
        desk: desk.clone(),
        archive: Arc::new(Kept(target.machine.map(Path::to_owned))),
    };
    let (gate, api) = serve(target.machine, &node, &office)?;
    let mut port = Port::default();
    systemd.tell(&[NotifyState::Ready, NotifyState::Status("starting")]);
    loop {
        port.follow(node.settings().metrics.listen, &office);
        let gates = OwnGate::before(node.ports().gate, &desk);
        let agent = node.agent_behind(&gates, &beating)?;
        let daemon = Daemon::new(agent, node.settings(), &desk, &systemd, &random)?;
        match daemon.run()? {
            End::Stopped | End::Rebooting => break,
            End::Reload => {}
        }
        // What is wrong is found before the configuration that works is let go.
        let judged = Node::open(target.machine, Access::Look)
            .and_then(|node| node.agent(Access::Look, &Quiet).map(drop));
        match judged {
            Ok(()) => {
                drop(node);
                node = Node::open(target.machine, Access::Act)?;
                gate.follow(&node);
                tracing::info!(what = "reloaded", "the configuration was read again");
            }
            Err(failure) => {
                tracing::warn!(what = "refused-configuration", code = %failure.code, "the configuration stays as it was: {failure}");
            }
        }
    }
    // Whoever asked for the restart still gets the answer.
    desk.close();
    api.join()
        .map_err(|_| Failure::new(Code::Internal, "the local API", "its thread panicked"))
}

fn random() -> Outcome<u64> {
    getrandom::u64()
        .map_err(|e| Failure::new(Code::Internal, "the system's random numbers", e.to_string()))
}

/// SIGTERM and SIGINT end the program, SIGHUP has the configuration read again.
fn listen_to_signals(desk: &Arc<Desk>) -> Outcome<()> {
    let failed = |e: std::io::Error| Failure::new(Code::Internal, "signals", e.to_string());
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let desk = desk.clone();
    thread("signals", move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                desk.reload();
            } else if !desk.stop(PATIENCE) {
                // In the middle of a long effect: each survives being cut off, and the default action
                // ends the process with the right status for whoever sent the signal.
                let _ = emulate_default_handler(signal);
            }
        }
    })
    .map(|_| ())
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Outcome<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map_err(|e| Failure::new(Code::Internal, format!("thread {name}"), e.to_string()))
}

/// Serves the sockets in a thread of their own. Without them the node would still update, but nobody
/// could ask why not: a thread that ends takes the program with it.
fn serve(
    machine: Option<&Path>,
    node: &Node,
    office: &Office,
) -> Outcome<(Arc<Gate>, JoinHandle<()>)> {
    let pair = match sockets::inherited()? {
        Some(pair) => pair,
        None => sockets::bind(&run_folder(machine))?,
    };
    let gate = Arc::new(Gate(Mutex::new(Rules {
        group: pair.control_group(),
        other_user_namespaces: node.settings().api.other_user_namespaces,
    })));
    let Pair { read, control } = pair;
    let (keeper, office) = (gate.clone(), office.clone());
    let thread = thread("api", move || {
        let desk = office.desk.clone();
        if let Err(failure) = api::serve(Sockets { read, control }, office, keeper) {
            tracing::error!(code = %failure.code, "{failure}");
            desk.stop(Duration::ZERO);
        }
    })?;
    Ok((gate, thread))
}

/// Who may act on the control socket.
struct Gate(Mutex<Rules>);

impl Gate {
    /// Nothing is ever left half changed in here, so a lock that a panicking thread held may be taken.
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by a new configuration; connections that were admitted stay so.
    fn follow(&self, node: &Node) {
        self.rules().other_user_namespaces = node.settings().api.other_user_namespaces;
    }
}

impl Gatekeeper for Gate {
    fn admit(&self, peer: &Peer) -> Outcome<String> {
        let named = Named {
            pid: peer.pid.unwrap_or(0),
            uid: peer.uid,
            gid: peer.gid,
        };
        let rules = *self.rules();
        peer::admit(rules, named)
    }
}

/// The loopback port of the figures, where the configuration names one.
#[derive(Default)]
struct Port(Option<(SocketAddr, Figures)>);

impl Port {
    /// Opens, moves or closes it. A port that is taken is told and costs nothing but the figures there: a
    /// node must not stop updating over it.
    fn follow(&mut self, wanted: Option<SocketAddr>, office: &Office) {
        if self.0.as_ref().map(|(at, _)| *at) == wanted {
            return;
        }
        self.0 = None;
        let Some(address) = wanted else { return };
        let bound = TcpListener::bind(address)
            .map_err(|e| Failure::new(Code::ConfigValue, "metrics.listen", e.to_string()));
        match bound.and_then(|listener| Figures::serve(listener, office.clone())) {
            Ok(figures) => self.0 = Some((address, figures)),
            Err(failure) => tracing::warn!(code = %failure.code, "{failure}"),
        }
    }
}

/// The history, read anew for whoever asks.
struct Kept(Option<PathBuf>);

impl Archive for Kept {
    fn history(&self) -> Outcome<Vec<HistoryLine>> {
        let node = Node::open(self.0.as_deref(), Access::Look)?;
        twinroot_agent::history::history(node.ports().store)
    }
}

/// systemd, where it started us; else nobody hears.
struct Systemd;

impl Systemd {
    fn tell(&self, state: &[NotifyState<'_>]) {
        // Without a manager there is nothing to tell, and a manager that does not listen is no
        // reason to stop updating.
        let _ = sd_notify::notify(state);
    }
}

impl Service for Systemd {
    fn status(&self, sentence: &str) {
        self.tell(&[NotifyState::Status(sentence)]);
    }

    fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}

/// A long effect that goes on is a sign of life too.
struct Beating<'a>(&'a Desk);

impl Observer for Beating<'_> {
    fn phase(&self, phase: &Phase) {
        Systemd.alive();
        self.0.phase(phase);
    }

    fn progress(&self, progress: &Progress) {
        Systemd.alive();
        self.0.progress(progress);
    }

    fn health(&self, purpose: HealthPurpose, verdict: &HealthVerdict) {
        self.0.health(purpose, verdict);
    }

    fn alive(&self) {
        Systemd.alive();
    }

    fn note(&self, note: &Note) {
        self.0.note(note);
    }
}
