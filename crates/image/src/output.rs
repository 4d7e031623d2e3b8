//! What a person sees while it works, and at the end.

use std::time::Instant;

/// Says what is being done, on standard error, each step with the time of the one before.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    began: Instant,
    step: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    /// Shows steps unless `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            began: Instant::now(),
            step: std::cell::Cell::new(None),
        }
    }

    /// A step begins; the one before has ended.
    pub fn step(&self, what: &str) {
        self.end();
        self.step.set(Some(Instant::now()));
        if !self.quiet {
            eprint!("{what:.<40} ");
        }
    }

    /// The last step has ended.
    pub fn end(&self) {
        if let Some(began) = self.step.take()
            && !self.quiet
        {
            eprintln!("{:>6.1} s", began.elapsed().as_secs_f64());
        }
    }

    /// Seconds since it began.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// Bytes for people, in decimal megabytes as budgets are written.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}
