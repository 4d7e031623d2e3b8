//! One function for each command: open the machine, ask the loop, print the answer.

mod act;
mod agent;
mod diagnose;
mod health;
mod look;
mod service;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use twinroot_core::wire::{ActBody, Action};
use twinroot_host::journal::Journal;
use twinroot_ports::Outcome;

use crate::args::{Choice, Cli, ConfigVerb, Verb};
use crate::journal::ToJournal;
use crate::screen::Screen;
use crate::{docs, repo};

/// Carries out what was asked for; the answer is the exit code.
pub(crate) fn run(cli: &Cli, screen: &Screen) -> Outcome<u8> {
    start_logging(screen, matches!(cli.verb, Verb::Agent { once: false }));
    let machine = cli.global.machine.as_deref();
    let node = look::Target { machine, screen };
    let done = match &cli.verb {
        Verb::Verify { drift: false } => return look::verify(&node),
        Verb::Verify { drift: true } => look::drift(&node),
        Verb::Health { wait } => return health::run(&node, *wait),
        Verb::Diagnose { out } => diagnose::run(&node, out.as_deref()),
        Verb::Status => look::status(&node),
        Verb::Why => look::why(&node),
        Verb::History { export } => look::history(&node, *export),
        Verb::Config(ConfigVerb::Show { origin }) => look::config(&node, *origin),
        Verb::Check => act::check(&node),
        Verb::Plan(choice) => act::plan(&node, choice),
        Verb::Stage(choice) => act::act(&node, Action::Stage, chosen(choice)),
        Verb::Activate => act::act(&node, Action::Activate, ActBody::default()),
        Verb::Reboot => act::act(&node, Action::Reboot, ActBody::default()),
        Verb::Apply(apply) => {
            let body = ActBody {
                no_reboot: apply.no_reboot,
                ..chosen(&apply.choice)
            };
            act::act(&node, Action::Apply, body)
        }
        Verb::Rollback(rollback) => {
            let body = ActBody {
                reason: Some(rollback.reason.clone()),
                no_reboot: rollback.no_reboot,
                ..ActBody::default()
            };
            act::act(&node, Action::Rollback, body)
        }
        Verb::Repair => act::act(&node, Action::Repair, ActBody::default()),
        Verb::Deny(deny) => act::deny(&node, deny),
        Verb::Undeny { release } => {
            let body = ActBody {
                release: Some(release.clone()),
                ..ActBody::default()
            };
            act::act(&node, Action::Undeny, body)
        }
        Verb::Pin(pin) => {
            let body = ActBody {
                version: pin.version.clone(),
                clear: pin.clear,
                ..ActBody::default()
            };
            act::act(&node, Action::Pin, body)
        }
        Verb::Hold(hold) => act::hold(&node, hold),
        Verb::Pause => act::act(&node, Action::Pause, ActBody::default()),
        Verb::Resume => act::act(&node, Action::Resume, ActBody::default()),
        Verb::Agent { once } => agent::run(&node, *once),
        Verb::MarkUserspace => twinroot_host::machine::LinuxMachine::mark_userspace(),
        Verb::Repo(verb) => repo::run(verb, screen),
        Verb::Man { dir } => docs::man(dir, screen),
        Verb::Completions { shell } => docs::completions(*shell, screen),
    };
    done.map(|()| 0)
}

fn chosen(choice: &Choice) -> ActBody {
    ActBody {
        version: choice.version.clone(),
        force: choice.force,
        ..ActBody::default()
    }
}

/// Events go to standard error as far as `-v` asks for them; those of the service go to the journal with
/// their fields, where it is there.
fn start_logging(screen: &Screen, service: bool) {
    let level = match (screen.quiet, screen.verbose) {
        (true, _) => LevelFilter::ERROR,
        // Nobody watches a service; what it did must be found later.
        (false, 0) if service => LevelFilter::INFO,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let journal = if service {
        Journal::of_service().map(ToJournal)
    } else {
        None
    };
    let plain = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(screen.terminal)
            .without_time()
    });
    tracing_subscriber::registry()
        .with(level)
        .with(journal)
        .with(plain)
        .init();
}
