//! One function for each command: open the machine, ask the loop, print the answer.

mod act;
mod agent;
mod look;
mod outcome;

use twinroot_core::update::{Command, Goal};
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
        Verb::Stage(choice) => act::update(&node, update(choice, Goal::Stage)),
        Verb::Activate => act::activate(&node),
        Verb::Reboot => act::reboot(&node),
        Verb::Apply(apply) => {
            let goal = if apply.no_reboot {
                Goal::Activate
            } else {
                Goal::Reboot
            };
            act::update(&node, update(&apply.choice, goal))
        }
        Verb::Rollback(rollback) => act::rollback(&node, rollback),
        Verb::Repair => act::update(&node, Command::Repair),
        Verb::Deny(deny) => act::remember(
            &node,
            Command::Deny {
                release: deny.release.clone(),
                reason: deny.reason.clone(),
            },
        ),
        Verb::Undeny { release } => act::remember(
            &node,
            Command::Undeny {
                release: release.clone(),
            },
        ),
        Verb::Pin(pin) => act::pin(&node, pin),
        Verb::Pause => act::remember(&node, Command::Pause),
        Verb::Resume => act::remember(&node, Command::Resume),
        Verb::Agent { once } => agent::run(&node, *once),
        Verb::Repo(verb) => repo::run(verb, screen),
        Verb::Man { dir } => docs::man(dir, screen),
        Verb::Completions { shell } => docs::completions(*shell, screen),
    };
    done.map(|()| 0)
}

fn update(choice: &Choice, goal: Goal) -> Command {
    Command::Update {
        goal,
        version: choice.version.clone(),
        force: choice.force,
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
