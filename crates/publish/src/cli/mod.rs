//! The command line: arguments in, library calls, words or JSON out.

mod args;
mod commands;
mod extras;
mod output;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use twinroot_publish::error::Result;
use twinroot_publish::files::Disk;
use twinroot_publish::keys::{CommandSigner, KeyDirectory, Passphrase};
use twinroot_publish::repository::Repository;
use twinroot_publish::ring::Ring;
use twinroot_trust::time::UnixTime;

use args::{Args, Command, Common};
use output::Output;

/// Reads the command line, does what it says, reports.
pub(crate) fn run() -> ExitCode {
    let args = Args::parse();
    let json = args.common.json;
    let context = Context {
        common: args.common,
        now: None,
    };
    match context.dispatch(args.command) {
        Ok(output) => output.print(json),
        Err(error) => output::print_error(&error, json),
    }
}

/// What every command may use.
pub(crate) struct Context {
    common: Common,
    now: Option<UnixTime>,
}

impl Context {
    fn dispatch(mut self, command: Command) -> Result<Output> {
        self.now = Some(self.common.now.unwrap_or_else(system_time));
        match command {
            Command::Init(args) => commands::init(&self, &args),
            Command::Key(command) => commands::key(&self, &command),
            Command::Add(args) => commands::add(&self, &args),
            Command::Promote(args) => commands::promote(&self, &args),
            Command::Draft(command) => commands::draft(&self, &command),
            Command::Sign(args) => commands::sign(&self, &args),
            Command::Status => commands::status(&self),
            Command::Release(args) => commands::release(&self, &args),
            Command::Refresh => commands::refresh(&self),
            Command::Rollout(args) => commands::rollout(&self, &args),
            Command::Pause(args) => commands::pause(&self, &args, true),
            Command::Resume(args) => commands::pause(&self, &args, false),
            Command::Withdraw(args) => commands::withdraw(&self, &args),
            Command::Check => commands::check(&self),
            Command::Serve(args) => extras::serve(&self, &args),
            Command::Man(args) => extras::man(&args),
            Command::Completions(args) => Ok(extras::completions(&args)),
        }
    }

    fn now(&self) -> UnixTime {
        self.now.expect("dispatch sets it before any command runs")
    }

    fn files(&self) -> Arc<Disk> {
        Arc::new(Disk)
    }

    fn repository(&self) -> Result<Repository> {
        Repository::open(&self.common.repository)
    }

    /// The key directory, where one was given.
    fn keys(&self) -> Option<KeyDirectory> {
        let passphrase = match &self.common.passphrase_file {
            Some(path) => Passphrase::File(path.clone()),
            None => Passphrase::None,
        };
        self.common
            .keys
            .as_ref()
            .map(|dir| KeyDirectory::new(dir, passphrase))
    }

    fn ring(&self) -> Result<Ring> {
        let mut ring = Ring::new(self.keys());
        for (name, command) in &self.common.signer {
            ring.add_command(name, CommandSigner::new(command.clone())?);
        }
        Ok(ring)
    }
}

/// The one place that reads the clock; everything below takes the time as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "the program's edge; the library is given the time"
)]
fn system_time() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 reads as 1970; whatever is signed then is refused as expired, visibly.
    UnixTime(since.map_or(0, |span| i64::try_from(span.as_secs()).unwrap_or(i64::MAX)))
}
