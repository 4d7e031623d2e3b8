//! Counting what happens, and dying at a chosen moment.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::world::Machine;

/// Before or after the effect with that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The effect has not begun.
    Before,
    /// The effect is done, as far as the caller could tell.
    After,
}

/// Where the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cut {
    /// Number of the effect, from 1.
    pub at: u64,
    /// Which side of it.
    pub side: Side,
}

/// What unwinds the stack when the power goes.
#[derive(Debug, Clone, Copy)]
pub struct PowerCut;

/// Counter of effects with the planned cut.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// Effects so far.
    pub done: u64,
    /// Where to die.
    pub cut: Option<Cut>,
    /// The power is off: nothing may happen any more.
    pub dead: bool,
    /// The machine after each effect, where somebody wants it: every moment at which the power could
    /// have gone, from one run.
    pub record: Option<Vec<Moment>>,
}

/// The machine right after an effect. The moment before the next effect is the same moment: nothing
/// changes in between.
#[derive(Debug, Clone)]
pub struct Moment {
    /// What had just been done.
    pub after: &'static str,
    /// The machine, with everything that was not flushed yet.
    pub machine: Machine,
}

impl Effects {
    /// Called before an effect.
    pub(crate) fn before(&mut self) {
        if self.dead {
            panic::panic_any(PowerCut);
        }
        self.done += 1;
        self.die_if(Side::Before);
    }

    /// Called after an effect.
    pub(crate) fn after(&mut self) {
        self.die_if(Side::After);
    }

    fn die_if(&mut self, side: Side) {
        if self.cut
            == Some(Cut {
                at: self.done,
                side,
            })
        {
            self.dead = true;
            panic::panic_any(PowerCut);
        }
    }
}

/// How a stretch of running ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// By itself.
    Normally(T),
    /// The power went.
    PowerCut,
    /// The code under test panicked, with this message: always a violation.
    Panicked(String),
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` until it ends or the power goes. Panics are caught and, while it runs, not printed.
pub fn until_power_cut<T>(work: impl FnOnce() -> T) -> Ended<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    // Whatever the cut leaves half done is what is examined: the world is only read through
    // `after_cut`, which keeps what a real power cut would.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    match result {
        Ok(value) => Ended::Normally(value),
        Err(payload) if payload.is::<PowerCut>() => Ended::PowerCut,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Ended::Panicked(text.unwrap_or_else(|| "a panic without text".to_owned()))
        }
    }
}
