//! SIGTERM and SIGINT. A loop that waits ends in good order; work in hand is simply cut off: every
//! effect of the loop survives that (a slot half written claims nothing, a record is old or new),
//! and the next start goes on where this one stood.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: bool,
    waiting: bool,
}

/// Whether the program was asked to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<Shared>);

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Outcome<Self> {
        let stop = Self::default();
        let failed = |e: std::io::Error| Failure::new(Code::Internal, "signals", e.to_string());
        let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
        let told = stop.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    if !told.ask() {
                        // The default action of both ends the process, with the right status for
                        // whoever sent the signal.
                        let _ = emulate_default_handler(signal);
                    }
                }
            })
            .map_err(failed)?;
        Ok(stop)
    }

    /// Asks; true where the program waits and will end by itself.
    fn ask(&self) -> bool {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked = true;
        self.0.changed.notify_all();
        state.waiting
    }

    /// Waits for the time given, or until the program is asked to end. Answers whether to go on.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting = true;
        let waited = self.0.changed.wait_timeout_while(state, time, |s| !s.asked);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting = false;
        !state.asked
    }

    /// Whether it was asked.
    pub(crate) fn asked(&self) -> bool {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_once_when_the_program_is_asked_to_end() {
        let stop = Stop::default();
        let asker = stop.clone();
        let thread = std::thread::spawn(move || {
            let waits = || asker.0.state.lock().expect("nobody panics").waiting;
            while !waits() {
                std::thread::yield_now();
            }
            assert!(asker.ask(), "the program ends by itself");
        });
        assert!(!stop.wait(Duration::from_secs(60)), "it was asked to end");
        thread.join().expect("the asker ends");
    }

    #[test]
    fn a_wait_that_nobody_interrupts_says_to_go_on() {
        assert!(Stop::default().wait(Duration::from_millis(1)));
    }
}
