//! Writes a release to the inactive slot: root block of the hash tree zeroed first, then the blocks,
//! each from where it is cheapest, by as many workers as configured; then the UKI beside the entries.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use twinroot_core::facts::Facts;
use twinroot_core::slot::{BootedSlot, InactiveSlot, Part};
use twinroot_core::update::{Candidate, Event};
use twinroot_payload::error::Error as PayloadError;
use twinroot_payload::finish;
use twinroot_payload::index::{self, Expect, Index};
use twinroot_payload::io::{CodedSource, Fault, ReadAt};
use twinroot_payload::job::{Io, Outcome as Done, Scratch};
use twinroot_payload::plan::{Plan, TargetScan};
use twinroot_payload::reuse::{Base, ReuseTable, TABLE_BYTES};
use twinroot_payload::verity::{TreeLeaves, TreeShape, claimed_root};
use twinroot_payload::work::{Work, run_work};
use twinroot_ports::{Code, Failure, Outcome, Ports, SlotWriter};
use twinroot_trust::manifest::{Coding, IndexRef};

use super::index::IndexBytes;
use super::metadata::DISTRUSTED;
use super::{Failed, delta, uki};
use crate::agent::Agent;
use crate::observer::{Counters, Observer, Progress, Totals};

/// Stages a release.
pub(super) fn write(
    agent: &mut Agent<'_>,
    facts: &Facts,
    slot: &InactiveSlot,
    candidate: &Candidate,
) -> Result<Option<Event>, Failed> {
    let before = agent.counters.totals();
    let outcome = blocks(agent, facts, slot, candidate).and_then(|()| uki::stage(agent, candidate));
    let after = agent.counters.totals();
    let progress = after.written - before.written;
    match outcome {
        Ok(()) => Ok(Some(Event::Written { progress })),
        Err(failure) => Err(Failed { failure, progress }),
    }
}

/// The target slot, open, with what the manifest says of it.
pub(super) struct Target<'a> {
    pub(super) ports: Ports<'a>,
    pub(super) candidate: &'a Candidate,
    pub(super) shape: TreeShape,
    pub(super) data: Box<dyn SlotWriter>,
    pub(super) tree: Box<dyn SlotWriter>,
}

impl<'a> Target<'a> {
    pub(super) fn open(
        ports: Ports<'a>,
        slot: &InactiveSlot,
        candidate: &'a Candidate,
    ) -> Outcome<Self> {
        let subject = format!("slot {}", slot.name());
        let size = candidate.image().size;
        let shape = TreeShape::for_size(size).map_err(|e| coded(&subject, &e))?;
        let data = ports.disk.target(slot, Part::Data)?;
        let tree = ports.disk.target(slot, Part::Tree)?;
        // Checked against the observed sizes before; here against what is really open.
        let short = |what: &str, need: u64, have: u64| {
            Failure::new(
                Code::SlotTooSmall,
                format!("{subject} ({what})"),
                format!("it holds {have} bytes and {need} are needed"),
            )
        };
        for (what, need, part) in [
            ("data", size, &data),
            ("tree", shape.partition_bytes(), &tree),
        ] {
            let have = part.len().map_err(|f| fault(&subject, &f))?;
            if have < need {
                return Err(short(what, need, have));
            }
        }
        Ok(Self {
            ports,
            candidate,
            shape,
            data,
            tree,
        })
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.candidate.verity().salt
    }

    pub(super) fn goal(&self) -> finish::Goal<'_> {
        let root_hash = *self.candidate.root_hash().as_bytes();
        finish::Goal {
            shape: self.shape,
            salt: self.salt(),
            root_hash,
        }
    }

    /// Fetches and checks the payload's index, into memory.
    pub(super) fn index_bytes(&self, source: &Source<'_>) -> Outcome<Vec<u8>> {
        let named = self.index_ref()?;
        let bytes = index::load(source, named.size, named.sha256.as_bytes());
        bytes.map_err(|e| source.explain(source.path, &e))
    }

    /// What the manifest says of the payload's index.
    pub(super) fn index_ref(&self) -> Outcome<&IndexRef> {
        let payload = &self.candidate.image().full;
        match &payload.coding {
            Coding::Segments { format: 1, index } => Ok(index),
            _ => Err(Failure::new(
                Code::PayloadFormatUnknown,
                payload.path.clone(),
                "this version knows payload format 1 only",
            )),
        }
    }

    pub(super) fn expect(&self) -> Expect {
        let image = self.candidate.image();
        Expect {
            image_bytes: image.size,
            root_hash: *self.candidate.root_hash().as_bytes(),
            file_bytes: image.full.size,
        }
    }

    pub(super) fn source(&self) -> Source<'a> {
        Source::new(self.ports, self.candidate.image().full.path.as_str())
    }
}

fn blocks(
    agent: &Agent<'_>,
    facts: &Facts,
    slot: &InactiveSlot,
    candidate: &Candidate,
) -> Outcome<()> {
    let target = Target::open(agent.ports, slot, candidate)?;
    let base = BaseSlot::open(agent.ports, facts.booted());
    if let Some(base) = &base
        && let Some(made) = delta::fitting(candidate.image(), &base.root_hash)
        && delta::write(agent, &target, base, made)?
    {
        return Ok(());
    }
    from_full(agent, &target, base.as_ref())
}

/// By the full payload: what the booted slot has is copied, the rest is fetched. What a delta has
/// brought before is found in the target and kept.
fn from_full(agent: &Agent<'_>, target: &Target<'_>, base: Option<&BaseSlot>) -> Outcome<()> {
    let source = target.source();
    let path = source.path;
    let named = target.index_ref()?;
    let bytes = IndexBytes::fetch(target, &source, named).map_err(|e| source.explain(path, &e))?;
    agent.counters.fetched(named.size);
    let index = Index::open(&bytes, &target.expect()).map_err(|e| coded(path, &e))?;
    let table = base.map(|b| b.table(&index, target.salt()));
    // From here on the slot claims nothing: a half-written one is never taken for a whole one.
    finish::begin(&target.shape, &*target.tree).map_err(|e| coded("hash tree", &e))?;
    let scan = TargetScan::Missing(&*target.data, target.salt());
    let plan = Plan::make(&index, table.as_ref(), scan).map_err(|e| source.explain(path, &e))?;
    let run = Run {
        plan: &plan,
        table: table.as_ref(),
        compare: true,
        source: &source,
    };
    run.all(agent, target, &index)?;
    target.data.flush().map_err(|f| fault("slot data", &f))
}

/// The booted slot as a base; a base that cannot be read is only a longer download.
pub(crate) struct BaseSlot {
    /// What it claims to hold; whether it does shows in what is made of it.
    pub(crate) root_hash: [u8; 32],
    pub(crate) data: Box<dyn ReadAt>,
    tree: Box<dyn ReadAt>,
    shape: TreeShape,
    salt: Vec<u8>,
}

impl BaseSlot {
    pub(crate) fn open(ports: Ports<'_>, slot: &BootedSlot) -> Option<Self> {
        let data = ports.disk.base(slot, Part::Data).ok()?;
        let tree = ports.disk.base(slot, Part::Tree).ok()?;
        let claim = claimed_root(&*tree).ok()??;
        let shape = TreeShape::new(claim.data_blocks).ok()?;
        Some(Self {
            root_hash: claim.root_hash,
            data,
            tree,
            shape,
            salt: claim.salt.clone(),
        })
    }

    /// The fixed-size table that finds blocks at any position. Equal salts make the stored tree the
    /// index; else the base is hashed once.
    pub(crate) fn table<'b>(&'b self, index: &Index<'_>, salt: &'b [u8]) -> ReuseTable<'b> {
        let base = if self.salt == salt {
            Base::with_tree(&*self.data, TreeLeaves::new(&*self.tree, self.shape))
        } else {
            Base::to_hash(&*self.data, self.shape.data_blocks(), salt)
        };
        ReuseTable::build(base, index, TABLE_BYTES)
    }
}

/// One pass over a plan's jobs.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) table: Option<&'a ReuseTable<'a>>,
    pub(super) compare: bool,
    pub(super) source: &'a Source<'a>,
}

impl Run<'_> {
    pub(super) fn all(
        &self,
        agent: &Agent<'_>,
        target: &Target<'_>,
        index: &Index<'_>,
    ) -> Outcome<()> {
        let source = self.source;
        let work = (self.plan.work(index)).map_err(|e| source.explain(source.path, &e))?;
        let figures = self.plan.figures();
        let pass = Pass {
            run: self,
            work: &work,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            index,
            target,
            counters: &agent.counters,
            observer: agent.observer,
            total: figures.write + figures.right,
            start: agent.counters.totals(),
        };
        if agent.options.workers <= 1 {
            return pass.work();
        }
        let results = std::thread::scope(|scope| {
            let start = |_| scope.spawn(|| pass.work());
            let workers: Vec<_> = (0..agent.options.workers).map(start).collect();
            workers.into_iter().map(|w| w.join()).collect::<Vec<_>>()
        });
        results.into_iter().try_for_each(|joined| match joined {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

/// What the workers share.
struct Pass<'a> {
    run: &'a Run<'a>,
    work: &'a [Work],
    next: AtomicUsize,
    stop: AtomicBool,
    index: &'a Index<'a>,
    target: &'a Target<'a>,
    counters: &'a Counters,
    observer: &'a dyn Observer,
    total: u64,
    start: Totals,
}

impl Pass<'_> {
    /// Takes pieces of the work until there are none, or until somebody failed.
    fn work(&self) -> Outcome<()> {
        let mut scratch = Scratch::new(self.index);
        let io = Io {
            index: self.index,
            plan: self.run.plan,
            table: self.run.table,
            source: self.run.source,
            target: &*self.target.data,
            compare: self.run.compare,
        };
        while !self.stop.load(Ordering::Relaxed) {
            let Some(work) = self.work.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(());
            };
            if let Err(error) = self.piece(work, &io, &mut scratch) {
                self.stop.store(true, Ordering::Relaxed);
                return Err(self.run.source.explain(self.run.source.path, &error));
            }
        }
        Ok(())
    }

    /// One piece; where a segment that came does not verify, what is left of it once more from the next
    /// mirror.
    fn piece(&self, work: &Work, io: &Io<'_>, scratch: &mut Scratch) -> Result<(), PayloadError> {
        let mut left = work.clone();
        let (mut failing, mut distrusted) = (None, 0);
        loop {
            let done = run_work(&left, io, scratch, &mut |done| self.report(done));
            let Err(PayloadError::SegmentDigest { segment }) = done else {
                return done;
            };
            if failing.replace(segment) != Some(segment) {
                distrusted = 0;
            }
            if distrusted == DISTRUSTED || !self.target.ports.fetch.distrust() {
                return done;
            }
            distrusted += 1;
            left = left.from_segment(self.index, segment)?;
        }
    }

    fn report(&self, done: &Done) {
        self.counters.add(Totals {
            fetched: done.fetched,
            reused: done.reused,
            right: done.right,
            written: done.written,
        });
        let now = self.counters.totals();
        self.observer.progress(&Progress {
            doing: "writing",
            done: (now.written + now.right) - (self.start.written + self.start.right),
            total: self.total,
            fetched: now.fetched,
        });
    }
}

/// The payload file at its source. Keeps the port's own failure, which says more than a fault can.
pub(crate) struct Source<'a> {
    ports: Ports<'a>,
    pub(super) path: &'a str,
    failure: Mutex<Option<Failure>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(ports: Ports<'a>, path: &'a str) -> Self {
        Self {
            ports,
            path,
            failure: Mutex::new(None),
        }
    }

    /// Whether the source said that it does not have the file: then another payload may serve.
    pub(crate) fn lacks_it(&self) -> bool {
        let kept = self.failure.lock().ok();
        kept.is_some_and(|f| f.as_ref().is_some_and(|f| f.code == Code::NotOnServer))
    }

    /// The failure behind an error of the payload room: the port's, if it had one.
    pub(crate) fn explain(&self, subject: &str, error: &PayloadError) -> Failure {
        let kept = self.failure.lock().ok().and_then(|mut f| f.take());
        kept.unwrap_or_else(|| coded(subject, error))
    }
}

impl CodedSource for Source<'_> {
    fn fetch(
        &self,
        range: std::ops::Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut refused = None;
        let mut sink =
            |bytes: &[u8]| take(bytes).inspect_err(|fault| refused = Some(fault.clone()));
        let fetched = self.ports.fetch.range(self.path, range, &mut sink);
        fetched.map_err(|failure| {
            // Whoever takes the bytes has a reason of its own, which is no failure of the source.
            if let Some(refused) = refused {
                return refused;
            }
            let fault = Fault::network(failure.to_string());
            if let Ok(mut kept) = self.failure.lock() {
                *kept = Some(failure);
            }
            fault
        })
    }
}

pub(crate) fn coded(subject: &str, error: &PayloadError) -> Failure {
    Failure::from_code(error.code(), subject, error.to_string())
}

pub(crate) fn fault(subject: &str, fault: &Fault) -> Failure {
    Failure::new(Code::DiskIo, subject, fault.to_string())
}
