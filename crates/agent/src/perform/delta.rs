//! Writes the inactive slot by a delta made for the booted one: one stream of coded segments, shared
//! by the workers, who copy what needs no bytes meanwhile. Where the base does not give what the
//! delta names, the slot is left to the full payload, which keeps everything that is right already.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use twinroot_payload::delta::apply::{Io, Scratch};
use twinroot_payload::delta::{self, DeltaIndex, Expect, Kind, Plan, Splitter};
use twinroot_payload::error::Error as PayloadError;
use twinroot_payload::finish;
use twinroot_payload::io::{CodedSource, Fault, FaultKind};
use twinroot_payload::job::Outcome as Done;
use twinroot_ports::{Failure, Outcome, Ports};
use twinroot_trust::manifest::{Artefact, Coding, Delta, Payload};

use super::metadata::DISTRUSTED;
use super::stage::{BaseSlot, Source, Target};
use crate::agent::Agent;
use crate::observer::{Progress, Totals};

/// The delta of an artefact that starts from `base`, where the manifest has one and it is smaller
/// than the full payload.
///
/// It is not weighed against reuse: the publisher lists a delta only where it is smaller than what
/// reuse of the same base would fetch, and what a slot holds already counts for it just the same.
/// So the full payload's index need not be fetched to choose.
pub(crate) fn fitting<'a>(artefact: &'a Artefact, base: &[u8; 32]) -> Option<&'a Delta> {
    let fits = |d: &&Delta| d.base.as_bytes() == base && d.payload.size < artefact.full.size;
    artefact
        .deltas
        .iter()
        .filter(fits)
        .min_by_key(|d| d.payload.size)
}

/// Fetches and checks a delta's index.
pub(crate) fn index(
    source: &Source<'_>,
    artefact: &Artefact,
    delta: &Delta,
    kind: Kind,
) -> Result<(DeltaIndex, u64), PayloadError> {
    let Payload { size, coding, .. } = &delta.payload;
    let Coding::Segments { index, .. } = coding else {
        // Deltas of other shapes are skipped when the manifest is read.
        return Err(PayloadError::FormatUnknown {
            found: 0,
            known: delta::model::FORMAT,
        });
    };
    let bytes = delta::load(source, index.size, index.sha256.as_bytes())?;
    let expect = Expect {
        kind,
        base: *delta.base.as_bytes(),
        target: *artefact.digest().as_bytes(),
        target_bytes: artefact.size,
        file_bytes: *size,
    };
    Ok((DeltaIndex::open(&bytes, &expect)?, bytes.len() as u64))
}

/// A failure that the full payload need not have as well: of the delta, not of network or disk.
pub(crate) fn is_of_the_delta(error: &PayloadError, source: &Source<'_>) -> bool {
    !matches!(error, PayloadError::Io { .. }) || source.lacks_it()
}

/// Writes what the delta can give. `false` where something is left to the full payload.
///
/// # Errors
/// Where the network, the target or the caller ends it; what was written is found at the next try.
pub(super) fn write(
    agent: &Agent<'_>,
    target: &Target<'_>,
    base: &BaseSlot,
    delta: &Delta,
) -> Outcome<bool> {
    let path = delta.payload.path.as_str();
    let source = Source::new(agent.ports, path);
    match passes(agent, target, base, delta, &source) {
        Ok(whole) => Ok(whole),
        Err(error) if is_of_the_delta(&error, &source) => Ok(false),
        Err(error) => Err(source.explain(path, &error)),
    }
}

/// Passes over the delta until nothing is missing that another mirror might have right.
fn passes(
    agent: &Agent<'_>,
    target: &Target<'_>,
    base: &BaseSlot,
    delta: &Delta,
    source: &Source<'_>,
) -> Result<bool, PayloadError> {
    let artefact = target.candidate.image();
    let (index, fetched) = index(source, artefact, delta, Kind::Image)?;
    agent.counters.add(Totals {
        fetched,
        ..Totals::default()
    });
    finish::begin(&target.shape, &*target.tree)?;
    for _ in 0..=DISTRUSTED {
        let plan = Plan::make(&index, &*target.data)?;
        let pass = Pass::new(agent, target, base, &index, &plan);
        let left = pass.run(agent.options.workers, source)?;
        target.data.flush().map_err(|fault| PayloadError::Io {
            doing: "flush the target slot",
            fault,
        })?;
        match left {
            Left::Nothing => return Ok(true),
            Left::Damaged if agent.ports.fetch.distrust() => {}
            Left::Damaged | Left::Lost => return Ok(false),
        }
    }
    Ok(false)
}

/// What a pass could not bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Segments whose coded bytes are not the named ones.
    Damaged,
    /// Segments that the base does not give.
    Lost,
}

type Coded = (u32, Vec<u8>);

/// What the threads of one pass share.
struct Pass<'a> {
    agent: &'a Agent<'a>,
    plan: &'a Plan,
    io: Io<'a>,
    stretch: AtomicU32,
    stop: AtomicBool,
    damaged: AtomicU32,
    lost: AtomicU32,
    start: Totals,
    total: u64,
}

impl<'a> Pass<'a> {
    fn new(
        agent: &'a Agent<'a>,
        target: &'a Target<'a>,
        base: &'a BaseSlot,
        index: &'a DeltaIndex,
        plan: &'a Plan,
    ) -> Self {
        let figures = plan.figures();
        let right = figures.right;
        agent.counters.add(Totals {
            right,
            ..Totals::default()
        });
        let mut start = agent.counters.totals();
        start.right -= right;
        Self {
            agent,
            plan,
            io: Io {
                index,
                base: &*base.data,
                target: &*target.data,
            },
            stretch: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            damaged: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            start,
            total: figures.write + right,
        }
    }

    fn run(&self, workers: u32, source: &Source<'_>) -> Result<Left, PayloadError> {
        if workers <= 1 {
            self.in_turn(source)?;
        } else {
            self.on_threads(workers, source)?;
        }
        Ok(
            match (
                self.lost.load(Ordering::Relaxed),
                self.damaged.load(Ordering::Relaxed),
            ) {
                (0, 0) => Left::Nothing,
                (0, _) => Left::Damaged,
                _ => Left::Lost,
            },
        )
    }

    /// In one order, each time the same: for the simulator.
    fn in_turn(&self, source: &Source<'_>) -> Result<(), PayloadError> {
        let mut scratch = Scratch::new(self.io.index);
        let mut refused = None;
        let fetched = self.fetch(source, &mut |number, coded| {
            self.segment(number, &coded, &mut scratch).map_err(|error| {
                refused = Some(error);
                stopped()
            })
        });
        match refused {
            Some(error) => return Err(error),
            None => fetched?,
        }
        while self.copy(&mut scratch)? {}
        Ok(())
    }

    fn on_threads(&self, workers: u32, source: &Source<'_>) -> Result<(), PayloadError> {
        // One segment waits for each worker: the stream goes on while they decode, and stands
        // still before more is held than they can use.
        let (give, queue) = sync_channel::<Coded>(workers as usize);
        let queue = Mutex::new(queue);
        std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| self.work(&queue));
            let threads: Vec<_> = (0..workers).map(start).collect();
            let fetched = self.fetch(source, &mut |number, coded| {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(stopped());
                }
                give.send((number, coded)).map_err(|_| stopped())
            });
            drop(give);
            if fetched.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            let results: Vec<_> = threads.into_iter().map(|t| t.join()).collect();
            let mut first = Ok(());
            for joined in results {
                match joined {
                    Ok(result) => first = first.and(result),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            // A worker's error is the reason why the stream was stopped.
            first.and(fetched)
        })
    }

    /// One request a run of neighbouring segments: one in all where nothing is there yet.
    fn fetch(
        &self,
        source: &Source<'_>,
        take: &mut dyn FnMut(u32, Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), PayloadError> {
        let doing = "fetch the delta";
        for run in self.plan.fetch_runs(self.io.index) {
            let mut splitter = Splitter::new(self.io.index, run.segments);
            source
                .fetch(run.coded, &mut |bytes| splitter.push(bytes, take))
                .and_then(|()| splitter.finish())
                .map_err(|fault| PayloadError::Io { doing, fault })?;
        }
        Ok(())
    }

    /// Segments as they come; copies while none is there. After an error, its own or another's, the
    /// queue is still emptied, so that the stream does not wait for ever.
    fn work(&self, queue: &Mutex<Receiver<Coded>>) -> Result<(), PayloadError> {
        let mut scratch = Scratch::new(self.io.index);
        let (mut result, mut copies) = (Ok(()), true);
        loop {
            let stop = self.stop.load(Ordering::Relaxed);
            copies = copies && !stop;
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
        let fetched = coded.len() as u64;
        self.agent.counters.add(Totals {
            fetched,
            ..Totals::default()
        });
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

/// Writes a boot image out of one that is here already. `false` where no delta fits or the one that
/// does gives something else: then it is fetched plain.
pub(super) fn boot_image(agent: &Agent<'_>, uki: &Artefact) -> Outcome<bool> {
    let Some((delta, base)) = boot_base(agent.ports, uki)? else {
        return Ok(false);
    };
    let path = delta.payload.path.as_str();
    let source = Source::new(agent.ports, path);
    let opened = match index(&source, uki, delta, Kind::File) {
        Ok((index, fetched)) => {
            agent.counters.add(Totals {
                fetched,
                ..Totals::default()
            });
            index
        }
        Err(error) if is_of_the_delta(&error, &source) => return Ok(false),
        Err(error) => return Err(source.explain(path, &error)),
    };
    let mut writer = agent
        .ports
        .bootloader
        .stage_image(&uki.digest(), uki.size)?;
    let mut hasher = <sha2::Sha256 as sha2::Digest>::new();
    let (mut done, mut refused) = (0, None);
    let made = delta::stream::stream(&opened, &*base, &source, &mut |bytes| {
        sha2::Digest::update(&mut hasher, bytes);
        done += bytes.len() as u64;
        agent.observer.progress(&Progress {
            doing: "making the boot image",
            done,
            total: uki.size,
            fetched: agent.counters.totals().fetched,
        });
        writer.write(bytes).map_err(|failure| {
            let fault = Fault::disk(failure.to_string());
            refused = Some(failure);
            fault
        })
    });
    if let Some(failure) = refused {
        return Err(failure);
    }
    match made {
        Ok(()) => {}
        Err(error) if is_of_the_delta(&error, &source) => return Ok(false),
        Err(error) => return Err(source.explain(path, &error)),
    }
    let coded = opened.segments().iter().map(|s| u64::from(s.coded_bytes));
    agent.counters.add(Totals {
        fetched: coded.sum(),
        ..Totals::default()
    });
    // A base that rotted where it was copied: nothing of it becomes an entry.
    if sha2::Digest::finalize(hasher).as_slice() != uki.digest().as_bytes() {
        return Ok(false);
    }
    writer.finish().map(|()| true)
}

type BootBase<'a> = (&'a Delta, Box<dyn twinroot_ports::ReadAt>);

/// The smallest delta of a boot image whose base lies among the entries.
pub(crate) fn boot_base<'a>(
    ports: Ports<'_>,
    uki: &'a Artefact,
) -> Result<Option<BootBase<'a>>, Failure> {
    let mut deltas: Vec<&Delta> = uki
        .deltas
        .iter()
        .filter(|d| d.payload.size < uki.size)
        .collect();
    deltas.sort_by_key(|delta| delta.payload.size);
    for delta in deltas {
        if let Some(base) = ports.bootloader.image(&delta.base)? {
            return Ok(Some((delta, base)));
        }
    }
    Ok(None)
}
