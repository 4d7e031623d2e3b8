//! One function for each command: open the machine, ask the loop, print the answer.

mod act;
mod agent;
mod look;
mod service;

use twinroot_core::wire::{ActBody, Action};
use twinroot_ports::Outcome;

use crate::args::{Choice, Cli, ConfigVerb, Verb};
use crate::screen::Screen;
use crate::{docs, repo};

/// Carries out what was asked for; the answer is the exit code.
pub(crate) fn run(cli: &Cli, screen: &Screen) -> Outcome<u8> {
    start_logging(screen);
    let machine = cli.global.machine.as_deref();
    let node = look::Target { machine, screen };
    let done = match &cli.verb {
        Verb::Verify => return look::verify(&node),
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
        Verb::Deny(deny) => {
            let body = ActBody {
                release: Some(deny.release.clone()),
                reason: Some(deny.reason.clone()),
                ..ActBody::default()
            };
            act::act(&node, Action::Deny, body)
        }
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

/// Events of the libraries go to standard error as far as `-v` asks for them.
fn start_logging(screen: &Screen) {
    let level = match (screen.quiet, screen.verbose) {
        (true, _) => tracing::Level::ERROR,
        (false, 0) => tracing::Level::WARN,
        (false, 1) => tracing::Level::INFO,
        (false, 2) => tracing::Level::DEBUG,
        (false, _) => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(screen.terminal)
        .without_time()
        .init();
}
