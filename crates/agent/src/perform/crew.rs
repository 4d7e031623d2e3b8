//! The workers who write a slot by a delta: one stream of coded segments, shared by them, while what
//! needs no bytes is copied.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};

use twinroot_payload::delta::apply::{Io, Scratch};
use twinroot_payload::delta::stream::Signed;
use twinroot_payload::delta::{DeltaIndex, Head, Plan, Splitter};
use twinroot_payload::error::Error as PayloadError;
use twinroot_payload::finish;
use twinroot_payload::io::{CodedSource, Fault, FaultKind};
use twinroot_payload::job::Outcome as Done;

use super::stage::{BaseSlot, Source, Target};
use crate::agent::Agent;
use crate::observer::{Progress, Totals};

/// What a pass could not bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing: all of the delta is applied.
    Nothing,
    /// Segments whose coded bytes are not the named ones.
    Damaged,
    /// Segments that the base does not give.
    Lost,
}

/// Who writes what, from what.
pub(super) struct Crew<'a> {
    pub(super) agent: &'a Agent<'a>,
    pub(super) target: &'a Target<'a>,
    pub(super) base: &'a BaseSlot,
}

impl Crew<'_> {
    /// Counts the index, and has the slot claim nothing from here on.
    pub(super) fn begin(&self, index_size: u64) -> Result<(), PayloadError> {
        self.agent.counters.fetched(index_size);
        finish::begin(&self.target.shape, &*self.target.tree)
    }

    /// A pass with the index at hand: a request for each run of segments that is missing.
    pub(super) fn ranges(
        &self,
        index: &DeltaIndex,
        source: &Source<'_>,
    ) -> Result<Left, PayloadError> {
        let plan = Plan::make(index, &*self.target.data)?;
        let pass = Pass::new(self, index, &plan);
        std::thread::scope(|scope| {
            let mut hands = Hands::start(scope, &pass);
            let mut runs = plan.fetch_runs(index).into_iter();
            let fetched = runs.try_for_each(|run| {
                let mut splitter = Splitter::new(index, &plan, &run);
                source
                    .fetch(run.coded, &mut |bytes| {
                        splitter.push(bytes, &mut |number, coded| hands.give(number, coded))
                    })
                    .and_then(|()| splitter.finish())
            });
            hands.finish(fetched)
        })?;
        Ok(pass.left())
    }

    /// A pass that knows nothing yet: the whole delta in one request, its index first. Where the slot
    /// then turns out to hold some of it, the stream is left, and only what is missing is asked for.
    pub(super) fn whole(
        &self,
        signed: &Signed,
        opened: &OnceCell<DeltaIndex>,
        source: &Source<'_>,
    ) -> Result<Left, PayloadError> {
        let mut head = Head::new(signed.index_size, &signed.index_digest)?;
        let (plan, pass) = (OnceCell::new(), OnceCell::new());
        // The pass, where the rest of the stream is what it needs.
        let open = |raw: &[u8]| -> Result<Option<&Pass<'_>>, PayloadError> {
            let index = DeltaIndex::open(raw, &signed.expect)?;
            self.begin(signed.index_size)?;
            let index = opened.get_or_init(|| index);
            let made = Plan::make(index, &*self.target.data)?;
            let rest = signed.index_size..signed.expect.file_bytes;
            let needs_it = matches!(&made.fetch_runs(index)[..], [run] if run.coded == rest);
            let plan = plan.get_or_init(|| made);
            Ok(needs_it.then(|| pass.get_or_init(|| Pass::new(self, index, plan))))
        };
        std::thread::scope(|scope| {
            let (mut going, mut refused) = (None, None);
            let all = 0..signed.expect.file_bytes;
            let fetched = source.fetch(all, &mut |mut bytes| {
                if going.is_none() {
                    let opened = match head.take(bytes) {
                        Ok(None) => return Ok(()),
                        Ok(Some((raw, rest))) => open(&raw).map(|pass| (pass, rest)),
                        Err(error) => Err(error),
                    };
                    let (pass, rest) = opened.map_err(|error| {
                        refused = Some(error);
                        stopped()
                    })?;
                    let pass = pass.ok_or_else(stopped)?;
                    going = Some((Hands::start(scope, pass), Splitter::all(pass.io.index)));
                    bytes = rest;
                }
                let Some((hands, splitter)) = &mut going else {
                    return Ok(());
                };
                splitter.push(bytes, &mut |number, coded| hands.give(number, coded))
            });
            match (going, refused) {
                (Some((hands, splitter)), _) => {
                    hands.finish(fetched.and_then(|()| splitter.finish()))
                }
                (None, Some(error)) => Err(error),
                (None, None) if plan.get().is_some() => Ok(()), // left on purpose
                (None, None) => fetched
                    .and_then(|()| Err(Fault::network("the source ended within the index")))
                    .map_err(fetching),
            }
        })?;
        match (pass.get(), opened.get()) {
            (None, Some(index)) => self.ranges(index, source),
            (pass, _) => Ok(pass.map_or(Left::Lost, Pass::left)),
        }
    }
}

type Coded = (u32, Vec<u8>);

/// Takes coded segments as they come.
enum Hands<'scope, 'a> {
    /// Does each at once, so that the order is the same each time: for the simulator.
    One {
        pass: &'a Pass<'a>,
        scratch: Scratch,
        refused: Option<PayloadError>,
    },
    /// Passes them on to threads.
    Many {
        pass: &'a Pass<'a>,
        give: SyncSender<Coded>,
        threads: Vec<ScopedJoinHandle<'scope, Result<(), PayloadError>>>,
    },
}

impl<'scope, 'a: 'scope> Hands<'scope, 'a> {
    fn start(scope: &'scope Scope<'scope, '_>, pass: &'a Pass<'a>) -> Self {
        let workers = pass.agent.options.workers;
        if workers <= 1 {
            return Self::One {
                pass,
                scratch: Scratch::new(pass.io.index),
                refused: None,
            };
        }
        // One segment waits for each worker: the stream goes on while they decode, and stands
        // still before more is held than they can use.
        let (give, queue) = sync_channel::<Coded>(workers as usize);
        let queue = Arc::new(Mutex::new(queue));
        let start = |_| {
            let queue = Arc::clone(&queue);
            scope.spawn(move || pass.work(&queue))
        };
        Self::Many {
            pass,
            give,
            threads: (0..workers).map(start).collect(),
        }
    }

    fn give(&mut self, number: u32, coded: Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::One {
                pass,
                scratch,
                refused,
            } => pass.segment(number, &coded, scratch).map_err(|error| {
                *refused = Some(error);
                stopped()
            }),
            Self::Many { pass, .. } if pass.stop.load(Ordering::Relaxed) => Err(stopped()),
            Self::Many { give, .. } => give.send((number, coded)).map_err(|_| stopped()),
        }
    }

    /// Waits for what is in hand, copies what is left to copy, and says what went wrong first: an error
    /// of a worker is the reason why the stream was stopped.
    fn finish(self, fetched: Result<(), Fault>) -> Result<(), PayloadError> {
        let fetched = fetched.map_err(fetching);
        match self {
            Self::One {
                pass,
                mut scratch,
                refused,
            } => {
                refused.map_or(Ok(()), Err)?;
                fetched?;
                while pass.copy(&mut scratch)? {}
                Ok(())
            }
            Self::Many {
                pass,
                give,
                threads,
            } => {
                drop(give);
                if fetched.is_err() {
                    pass.ended.store(true, Ordering::Relaxed);
                }
                let mut first = Ok(());
                for joined in threads.into_iter().map(ScopedJoinHandle::join) {
                    match joined {
                        Ok(result) => first = first.and(result),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
                first.and(fetched)
            }
        }
    }
}

/// What the threads of one pass share.
struct Pass<'a> {
    agent: &'a Agent<'a>,
    io: Io<'a>,
    stretch: AtomicU32,
    /// Something is wrong here: nothing more is written.
    stop: AtomicBool,
    /// The stream broke off: what has come is written, so that it need not come again, and no more.
    ended: AtomicBool,
    damaged: AtomicU32,
    lost: AtomicU32,
    start: Totals,
    total: u64,
}

impl<'a> Pass<'a> {
    fn new(crew: &'a Crew<'a>, index: &'a DeltaIndex, plan: &Plan) -> Self {
        let (agent, figures) = (crew.agent, plan.figures());
        let right = figures.right;
        agent.counters.add(Totals {
            right,
            ..Totals::default()
        });
        let mut start = agent.counters.totals();
        start.right -= right;
        Self {
            agent,
            io: Io {
                index,
                base: &*crew.base.data,
                target: &*crew.target.data,
            },
            stretch: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            damaged: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            start,
            total: figures.write + right,
        }
    }

    /// What it could not bring.
    fn left(&self) -> Left {
        let count = |of: &AtomicU32| of.load(Ordering::Relaxed);
        match (count(&self.lost), count(&self.damaged)) {
            (0, 0) => Left::Nothing,
            (0, _) => Left::Damaged,
            _ => Left::Lost,
        }
    }

    /// Segments as they come; copies while none is there. After an error, its own or another's, the
    /// queue is still emptied, so that the stream does not wait for ever.
    fn work(&self, queue: &Mutex<Receiver<Coded>>) -> Result<(), PayloadError> {
        let mut scratch = Scratch::new(self.io.index);
        let (mut result, mut copies) = (Ok(()), true);
        loop {
            let stop = self.stop.load(Ordering::Relaxed);
            copies = copies && !stop && !self.ended.load(Ordering::Relaxed);
            let done = match next(queue, !copies) {
                Ok(_) if stop => Ok(()),
                Ok((number, coded)) => self.segment(number, &coded, &mut scratch),
                Err(TryRecvError::Disconnected) if !copies => return result,
                Err(_) => self.copy(&mut scratch).map(|more| copies = more),
            };
            if done.is_err() {
                self.stop.store(true, Ordering::Relaxed);
                result = result.and(done);
            }
        }
    }

    fn segment(
        &self,
        number: u32,
        coded: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), PayloadError> {
        match self.io.patch(number, coded, scratch) {
            Ok(Some(done)) => self.report(&done),
            Ok(None) => {
                self.count_only(coded);
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            Err(PayloadError::SegmentDigest { .. }) => {
                self.count_only(coded);
                self.damaged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The next stretch of copies; `false` where there is none.
    fn copy(&self, scratch: &mut Scratch) -> Result<bool, PayloadError> {
        let stretch = self.stretch.fetch_add(1, Ordering::Relaxed);
        if stretch >= self.io.index.stretches() {
            return Ok(false);
        }
        self.report(&self.io.copy(stretch, scratch)?);
        Ok(true)
    }

    fn count_only(&self, coded: &[u8]) {
        self.agent.counters.fetched(coded.len() as u64);
    }

    fn report(&self, done: &Done) {
        self.agent.counters.add(Totals {
            fetched: done.fetched,
            reused: done.reused,
            right: done.right,
            written: done.written,
        });
        let now = self.agent.counters.totals();
        self.agent.observer.progress(&Progress {
            doing: "writing",
            done: (now.written + now.right) - (self.start.written + self.start.right),
            total: self.total,
            fetched: now.fetched,
        });
    }
}

/// The next coded segment; waits for one only where there is nothing else to do.
fn next(queue: &Mutex<Receiver<Coded>>, wait: bool) -> Result<Coded, TryRecvError> {
    let Ok(queue) = queue.lock() else {
        return Err(TryRecvError::Disconnected); // another worker panicked: the scope passes it on
    };
    match wait {
        true => queue.recv().map_err(|_| TryRecvError::Disconnected),
        false => queue.try_recv(),
    }
}

fn stopped() -> Fault {
    Fault::new(FaultKind::Cancelled, "another worker has failed")
}

fn fetching(fault: Fault) -> PayloadError {
    PayloadError::Io {
        doing: "fetch the delta",
        fault,
    }
}
