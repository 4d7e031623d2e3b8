//! One round of checks: several at a time, each bounded in time whatever it does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use twinroot_core::health::{Check, CheckResult, Outcome as Ended};

use super::Answer;

/// Checks that run at the same time: a node waits mostly for sockets and units here, and a check
/// that hangs must not hold up all others.
const WIDTH: usize = 8;
/// What a check may take beyond its own time, which it keeps by itself where it can: a name that is
/// looked up, a process that is killed and reaped.
const GRACE: Duration = Duration::from_secs(2);
/// How often at the least the caller shows that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// A check that is ready to be run.
pub(super) type Job = Box<dyn FnOnce() -> Answer + Send>;

/// Runs all, in their order, and answers in it.
pub(super) fn run(
    checks: &[Check],
    alive: &dyn Fn(),
    job: impl Fn(&Check) -> Job + Sync,
) -> Vec<CheckResult> {
    let next = AtomicUsize::new(0);
    let (send, ended) = channel();
    let mut answers: Vec<Option<Answer>> = checks.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        for _ in 0..WIDTH.min(checks.len()) {
            let (send, next, job) = (send.clone(), &next, &job);
            scope.spawn(move || {
                while let Some((at, check)) = take(checks, next) {
                    // The receiver lives as long as this scope.
                    let _ = send.send((at, bounded(check, job(check))));
                }
            });
        }
        drop(send);
        loop {
            match ended.recv_timeout(BEAT) {
                Ok((at, answer)) => answers[at] = Some(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // After an answer too: a row of checks that end just before each beat must not look like silence.
            alive();
        }
    });
    let result = |(check, answer): (&Check, Option<Answer>)| {
        let (outcome, detail) =
            answer.unwrap_or((Ended::NotRun, String::from("it gave no result")));
        CheckResult {
            check: check.name.clone(),
            outcome,
            detail,
        }
    };
    checks.iter().zip(answers).map(result).collect()
}

fn take<'a>(checks: &'a [Check], next: &AtomicUsize) -> Option<(usize, &'a Check)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    checks.get(at).map(|check| (at, check))
}

/// Runs one on a thread of its own. The thread outlives this call only where something below cannot
/// be bounded (a name service that hangs); what it says then, nobody hears.
fn bounded(check: &Check, job: Job) -> Answer {
    let time = Duration::from_secs(check.timeout.0);
    let (send, ended) = channel();
    let started = std::thread::Builder::new().spawn(move || {
        // Nobody hears what comes too late.
        let _ = send.send(job());
    });
    if let Err(error) = started {
        return (Ended::NotRun, format!("no thread to run it: {error}"));
    }
    match ended.recv_timeout(time + GRACE) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => {
            let cause = format!("it took longer than {} and did not end", check.timeout);
            (Ended::Failed, cause)
        }
        Err(RecvTimeoutError::Disconnected) => (Ended::NotRun, String::from("its run broke off")),
    }
}
