//! Shows how an update goes: a bar on a terminal, else one line for each phase.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use twinroot_agent::{Observer, Progress};
use twinroot_core::update::state::{ActivateStep, Purpose, StageStep};
use twinroot_core::update::{Note, Phase};

use crate::screen::Screen;

/// Shows what the loop does.
#[derive(Debug)]
pub(crate) struct Watcher {
    screen: Screen,
    bar: ProgressBar,
    last: Mutex<(String, &'static str)>,
}

impl Watcher {
    pub(crate) fn new(screen: Screen) -> Self {
        let target = if screen.terminal && !screen.quiet {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = "  {msg:24} {bar:32} {bytes:>10} of {total_bytes}, {bytes_per_sec}";
        let style = ProgressStyle::with_template(style).expect("the template is a constant");
        bar.set_style(style.progress_chars("=> "));
        Self {
            screen,
            bar,
            last: Mutex::new((String::new(), "")),
        }
    }

    fn line(&self, line: &str) {
        if self.screen.terminal {
            self.bar.suspend(|| self.screen.say(line));
        } else {
            self.screen.say(line);
        }
    }

    /// Takes the bar away; answers follow.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Watcher {
    fn phase(&self, phase: &Phase) {
        let Some(line) = words(phase) else { return };
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if last.0 == line {
            return;
        }
        self.line(&line);
        *last = (line, "");
    }

    fn progress(&self, progress: &Progress) {
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        if last.1 != progress.doing {
            last.1 = progress.doing;
            self.bar.reset();
            self.bar.set_message(progress.doing);
        }
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
        if progress.done >= progress.total {
            self.bar.finish_and_clear();
        }
    }

    fn note(&self, note: &Note) {
        let about = note.release.as_ref().map(|release| &release.version);
        let line = match about {
            Some(version) => format!("{} {version}: {}", note.what, note.detail),
            None => format!("{}: {}", note.what, note.detail),
        };
        // What was ignored matters to whoever looks for a fault, not to a person who updates.
        if note.what != "ignored" || self.screen.verbose > 0 {
            self.line(&line);
        }
    }
}

/// A line for the phases in which time passes.
fn words(phase: &Phase) -> Option<String> {
    Some(match phase {
        Phase::Checking { purpose } => match purpose {
            Purpose::Look => "checking the repository".into(),
            Purpose::BeforeReboot(_) => "checking the repository once more".into(),
            Purpose::Resume { saved, .. } => format!("verifying {} again", saved.version),
        },
        Phase::Staging { candidate, step } => staging(*step, candidate.version()),
        Phase::Repairing { candidate, step } => staging(*step, candidate.version()),
        Phase::Activated {
            proven,
            step: ActivateStep::Health,
            ..
        } => format!(
            "checking health before {} is activated",
            proven.candidate().version()
        ),
        Phase::Rebooting { to } => format!("restarting into {}", to.version),
        Phase::Trial { trial, .. } => {
            format!("{} is on trial: checking health", trial.release.version)
        }
        Phase::RollingBack { from, .. } => format!("going back from {}", from.release.version),
        Phase::Idle { .. }
        | Phase::Available { .. }
        | Phase::Staged { .. }
        | Phase::Activated { .. }
        | Phase::Blessing { .. }
        | Phase::Committing { .. }
        | Phase::Denying { .. }
        | Phase::Blocked { .. } => return None,
    })
}

fn staging(step: StageStep, version: &twinroot_trust::version::Version) -> String {
    match step {
        StageStep::Disarm => "taking away the boot entry of the slot to be written".into(),
        StageStep::Write => format!("writing {version}"),
        StageStep::Prove => format!("proving {version}: reading the slot back"),
    }
}
