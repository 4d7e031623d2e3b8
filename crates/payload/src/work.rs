//! The work of a plan, request by request: what one request brings is done segment by segment as it
//! comes, so that a worker holds one of them.

use core::ops::Range;

use crate::error::{Error, Result};
use crate::index::{Index, Segment};
use crate::io::{Fault, FaultKind};
use crate::job::{Io, Job, Outcome, Scratch, run_fetched, run_job};
use crate::requests::FetchRun;

/// A piece of the work for one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// The segments that one request brings, each done as it comes.
    Fetch(FetchRun),
    /// A segment whose blocks are here already.
    Local(u32),
}

/// Does a piece of the work and tells `report` what each segment took.
///
/// # Errors
/// What a job reports, of the first segment that fails: those before it are done, and
/// [`Work::from_segment`] gives the rest.
pub fn run_work(
    work: &Work,
    io: &Io<'_>,
    scratch: &mut Scratch,
    report: &mut dyn FnMut(&Outcome),
) -> Result<()> {
    match work {
        Work::Local(segment) => {
            let (segment, fetch) = (*segment, false);
            report(&run_job(&Job { segment, fetch }, io, scratch)?);
            Ok(())
        }
        Work::Fetch(run) => stream(run, io, scratch, report),
    }
}

impl Work {
    /// What is left of it from one of its segments on.
    pub fn from_segment(&self, index: &Index<'_>, number: u32) -> Result<Self> {
        let Self::Fetch(run) = self else {
            return Ok(self.clone());
        };
        let start = index.segment(number)?.coded_start;
        Ok(Self::Fetch(FetchRun {
            segments: number..run.segments.end,
            coded: start..run.coded.end,
        }))
    }
}

/// Fetches a run in one request and does each segment when it is complete; what nobody wants of it is
/// thrown away.
fn stream(
    run: &FetchRun,
    io: &Io<'_>,
    scratch: &mut Scratch,
    report: &mut dyn FnMut(&Outcome),
) -> Result<()> {
    let mut intake = Intake {
        io,
        scratch,
        report,
        waiting: run.segments.clone(),
        open: None,
    };
    let mut refused = None;
    let fetched = io.source.fetch(run.coded.clone(), &mut |bytes| {
        intake.take(bytes).map_err(|error| {
            refused = Some(error);
            Fault::new(FaultKind::Cancelled, "a segment was refused")
        })
    });
    let doing = Error::io("fetch segments of the payload");
    match (refused, fetched) {
        (Some(error), _) => Err(error),
        (None, Err(fault)) => Err(doing(fault)),
        (None, Ok(())) if intake.is_complete() => Ok(()),
        (None, Ok(())) => Err(doing(Fault::network(
            "the source ended before the end of the range",
        ))),
    }
}

/// Cuts what comes into segments and does them.
struct Intake<'a, 'b> {
    io: &'b Io<'a>,
    scratch: &'b mut Scratch,
    report: &'b mut dyn FnMut(&Outcome),
    waiting: Range<u32>,
    /// The segment at hand, and how many of its coded bytes have come.
    open: Option<(Segment, usize)>,
}

impl Intake<'_, '_> {
    fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (segment, filled) = match self.open.take() {
                Some(open) => open,
                None => (self.next()?, 0),
            };
            let left = segment.coded_bytes as usize - filled;
            let (now, rest) = bytes.split_at(bytes.len().min(left));
            bytes = rest;
            if self.io.plan.is_fetched(segment.number) {
                let to = self.scratch.coded_mut(&segment);
                to[filled..filled + now.len()].copy_from_slice(now);
            }
            if now.len() < left {
                self.open = Some((segment, filled + now.len()));
            } else {
                self.done(&segment)?;
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Segment> {
        let Some(number) = self.waiting.next() else {
            let more = Fault::network("the source sent more than was asked for");
            return Err(Error::io("fetch segments of the payload")(more));
        };
        self.io.index.segment(number)
    }

    /// All coded bytes of a segment have come.
    fn done(&mut self, segment: &Segment) -> Result<()> {
        let job = Job {
            segment: segment.number,
            fetch: true,
        };
        let outcome = if self.io.plan.is_fetched(segment.number) {
            run_fetched(&job, self.io, self.scratch)?
        } else {
            Outcome {
                fetched: u64::from(segment.coded_bytes),
                ..Outcome::default()
            }
        };
        (self.report)(&outcome);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.open.is_none() && self.waiting.is_empty()
    }
}
