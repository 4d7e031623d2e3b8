//! Measures payloads on real images: bytes against the best that blocks allow, time and memory.
//!
//! ```text
//! measure sizes BASE TARGET PAYLOAD [--threads N] [--level N] [--no-stream]
//! measure apply PAYLOAD OUT [BASE] [--threads N]
//! ```
//! `sizes` makes TARGET's payload with BASE as the release before (and BASE's hash tree beside
//! it) and prints its bytes; the bars are computed in the same run. `apply` is a process of its
//! own, so that its peak memory is the node's and not the publisher's.
#![allow(clippy::disallowed_methods)] // a measuring program reads files and clocks

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use twinroot_payload::encode::{CodedSegment, Compressor, Layout, Params};
use twinroot_payload::finish::{self, Goal, Proof};
use twinroot_payload::index::{self, Expect, Index};
use twinroot_payload::io::{CodedSource, Fault, ReadAt, WriteAt};
use twinroot_payload::job::{Io, Outcome, Scratch, run_job};
use twinroot_payload::plan::{Plan, TargetScan};
use twinroot_payload::reuse::{Base, ReuseTable, TABLE_BYTES};
use twinroot_payload::verity::{BLOCK, Hash, TreeLeaves, TreeShape, block_hash, hex, sha256};

type Outcomes<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The salt of every image measured.
const SALT: [u8; 32] = [0x5a; 32];
/// The bar's groups: 4 MiB.
const GROUP: usize = 1024;

struct Disk(File);

impl ReadAt for Disk {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        self.0
            .read_exact_at(buf, offset)
            .map_err(|e| Fault::disk(e.to_string()))
    }
    fn len(&self) -> Result<u64, Fault> {
        self.0
            .metadata()
            .map(|m| m.len())
            .map_err(|e| Fault::disk(e.to_string()))
    }
}

impl WriteAt for Disk {
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), Fault> {
        self.0
            .write_all_at(buf, offset)
            .map_err(|e| Fault::disk(e.to_string()))
    }
    fn flush(&self) -> Result<(), Fault> {
        self.0.sync_data().map_err(|e| Fault::disk(e.to_string()))
    }
}

impl CodedSource for Disk {
    fn fetch(
        &self,
        range: std::ops::Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut piece = vec![0; 64 << 10];
        let mut at = range.start;
        while at < range.end {
            let len = piece.len().min((range.end - at) as usize);
            ReadAt::read_at(self, at, &mut piece[..len])?;
            take(&piece[..len])?;
            at += len as u64;
        }
        Ok(())
    }
}

fn open(path: &str) -> Outcomes<Disk> {
    Ok(Disk(
        File::open(path).map_err(|e| format!("open {path}: {e}"))?,
    ))
}

fn create(path: &str, len: u64) -> Outcomes<Disk> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_len(len)?;
    Ok(Disk(file))
}

/// The value of `--name N`, or `default`.
fn option(args: &[String], name: &str, default: i64) -> Outcomes<i64> {
    match args.iter().position(|arg| arg == name) {
        Some(at) => Ok(args
            .get(at + 1)
            .ok_or(format!("{name} needs a number"))?
            .parse()?),
        None => Ok(default),
    }
}

fn main() -> Outcomes<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .take_while(|arg| !arg.starts_with("--"))
        .collect();
    let threads = option(&args, "--threads", 2)? as usize;
    match words.as_slice() {
        ["sizes", base, target, payload] => {
            let level = option(&args, "--level", 19)? as i32;
            let stream = !args.iter().any(|arg| arg == "--no-stream");
            sizes(base, target, payload, threads, level, stream)
        }
        ["apply", payload, out] => apply(payload, out, None, threads),
        ["apply", payload, out, base] => apply(payload, out, Some(base), threads),
        _ => Err("measure sizes BASE TARGET PAYLOAD | measure apply PAYLOAD OUT [BASE]".into()),
    }
}

/// Runs `work` for 0..count on some threads; results in order.
fn spread<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(&mut Compressor, usize) -> Outcomes<T> + Sync,
    level: i32,
) -> Outcomes<Vec<T>> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<T>>> = Mutex::new((0..count).map(|_| None).collect());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Outcomes<()> {
                    let mut compressor = Compressor::new(level)?;
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return Ok(());
                        }
                        let result = work(&mut compressor, n)?;
                        results.lock().expect("no worker panics")[n] = Some(result);
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let results = results.into_inner().expect("no worker panics");
    Ok(results
        .into_iter()
        .map(|result| result.expect("every number was worked on"))
        .collect())
}

/// A payload as it was made, with what it was made from.
struct Made {
    target: Disk,
    layout: Layout,
    index: Vec<u8>,
    file_bytes: u64,
}

impl Made {
    /// Codes `target` and writes the payload and a note of its sizes and digests.
    fn make(
        before: &Layout,
        target: Disk,
        path: &str,
        threads: usize,
        params: &Params,
    ) -> Outcomes<Self> {
        let layout = Layout::make(&target, &SALT, Some(before.history()), params)?;
        let coded: Vec<CodedSegment> = spread(
            threads,
            layout.segments().len(),
            |compressor, n| Ok(compressor.segment(&layout, n, &target)?),
            params.level,
        )?;
        let metas: Vec<_> = coded.iter().map(|segment| segment.meta).collect();
        let index = layout.finish(&metas)?;
        let mut at = index.len() as u64;
        let file = create(path, at)?;
        file.write_at(0, &index)?;
        for segment in coded {
            file.write_at(at, &segment.bytes)?;
            at += segment.bytes.len() as u64;
        }
        let (image, root) = (ReadAt::len(&target)?, hex(layout.root_hash()));
        let meta = format!(
            "{image}\n{root}\n{at}\n{}\n{}\n",
            index.len(),
            hex(&sha256(&index))
        );
        fs::write(format!("{path}.meta"), meta)?;
        Ok(Self {
            target,
            layout,
            index,
            file_bytes: at,
        })
    }
}

fn sizes(
    base: &str,
    target: &str,
    payload: &str,
    threads: usize,
    level: i32,
    stream: bool,
) -> Outcomes<()> {
    let params = Params {
        level,
        ..Params::default()
    };
    let base = open(base)?;
    let before = Layout::make(&base, &SALT, None, &params)?;
    let made = Made::make(&before, open(target)?, payload, threads, &params)?;
    let shape = TreeShape::for_size(ReadAt::len(&base)?)?;
    let tree = write_tree(
        &format!("{payload}.base-tree"),
        &base,
        shape,
        before.root_hash(),
    )?;
    let missing = missing_blocks(&base, &made.target)?;
    let bar = grouped(&made.target, &missing, threads, level)?;
    println!("missing blocks              {:>12}", missing.len());
    println!("missing, level {level}, 4 MiB      {bar:>12}");
    report(
        &made,
        Base::with_tree(&base, TreeLeaves::new(&tree, shape)),
        bar,
    )?;
    if stream {
        let mut whole = vec![0; ReadAt::len(&made.target)? as usize];
        ReadAt::read_at(&made.target, 0, &mut whole)?;
        let whole = compressed(&whole, level)?;
        let ratio = made.file_bytes as f64 / whole as f64;
        println!("one zstd stream             {whole:>12}  full payload is {ratio:.4} of it");
    }
    Ok(())
}

/// Plans the way from the base and prints what it fetches.
fn report(made: &Made, base: Base<'_>, bar: usize) -> Outcomes<()> {
    let expect = Expect {
        image_bytes: ReadAt::len(&made.target)?,
        root_hash: *made.layout.root_hash(),
        file_bytes: made.file_bytes,
    };
    let read = Index::open(&made.index, &expect)?;
    let table = ReuseTable::build(base, &read, TABLE_BYTES);
    let figures = Plan::make(&read, Some(&table), TargetScan::Nothing)?.figures();
    let moved = figures.fetch + made.index.len() as u64;
    let ratio = moved as f64 / bar as f64;
    println!("reuse: fetched with index   {moved:>12}  {ratio:.4} of that");
    println!("  of it index               {:>12}", made.index.len());
    println!(
        "  of it runs                {:>12}",
        read.header().runs_bytes
    );
    println!(
        "  segments, requests        {:>12}, {}",
        figures.segments, figures.requests
    );
    println!("full payload                {:>12}", made.file_bytes);
    Ok(())
}

/// Writes an image's hash tree to a file.
fn write_tree(path: &str, data: &Disk, shape: TreeShape, root_hash: &Hash) -> Outcomes<Disk> {
    let tree = create(path, shape.partition_bytes())?;
    let goal = Goal {
        shape,
        salt: &SALT,
        root_hash: *root_hash,
    };
    let proof = finish::prove(&goal, data, &tree, &mut |_| Ok(()))?;
    proof.into_result(&goal)?.check_tree(&tree)?.seal(&tree)?;
    Ok(tree)
}

/// Bytes of the blocks named, compressed in groups of 4 MiB.
fn grouped(target: &Disk, blocks: &[u64], threads: usize, level: i32) -> Outcomes<usize> {
    let groups: Vec<&[u64]> = blocks.chunks(GROUP).collect();
    let sizes = spread(
        threads,
        groups.len(),
        |_, n| {
            let mut bytes = vec![0; groups[n].len() * BLOCK];
            for (block, into) in groups[n].iter().zip(bytes.chunks_exact_mut(BLOCK)) {
                ReadAt::read_at(target, block * BLOCK as u64, into)?;
            }
            compressed(&bytes, level)
        },
        level,
    )?;
    Ok(sizes.iter().sum())
}

fn compressed(bytes: &[u8], level: i32) -> Outcomes<usize> {
    let mut out = vec![0; zstd_safe::compress_bound(bytes.len())];
    let written = zstd_safe::compress(&mut out[..], bytes, level);
    written.map_err(|code| zstd_safe::get_error_name(code).into())
}

/// Blocks of the target, zeroes aside and each once, that the base has nowhere.
fn missing_blocks(base: &Disk, target: &Disk) -> Outcomes<Vec<u64>> {
    let mut seen: HashSet<Hash> = HashSet::from([block_hash(&[], &[0; BLOCK])]);
    let mut block = vec![0; BLOCK];
    for number in 0..ReadAt::len(base)? / BLOCK as u64 {
        ReadAt::read_at(base, number * BLOCK as u64, &mut block)?;
        seen.insert(block_hash(&[], &block));
    }
    let mut missing = Vec::new();
    for number in 0..ReadAt::len(target)? / BLOCK as u64 {
        ReadAt::read_at(target, number * BLOCK as u64, &mut block)?;
        if seen.insert(block_hash(&[], &block)) {
            missing.push(number);
        }
    }
    Ok(missing)
}

fn unhex(text: &str) -> Outcomes<Hash> {
    let mut hash = [0; 32];
    for (n, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(n * 2..n * 2 + 2).ok_or("short digest")?, 16)?;
    }
    Ok(hash)
}

fn apply(payload: &str, out: &str, base: Option<&str>, threads: usize) -> Outcomes<()> {
    let meta = fs::read_to_string(format!("{payload}.meta"))?;
    let meta: Vec<&str> = meta.lines().collect();
    let source = open(payload)?;
    let started = Instant::now();
    let (image_bytes, root_hash) = (meta[0].parse()?, unhex(meta[1])?);
    let bytes = index::load(&source, meta[3].parse()?, &unhex(meta[4])?)?;
    let expect = Expect {
        image_bytes,
        root_hash,
        file_bytes: meta[2].parse()?,
    };
    let index = Index::open(&bytes, &expect)?;
    let shape = TreeShape::for_size(image_bytes)?;
    let (target, tree) = (
        create(out, image_bytes)?,
        create(&format!("{out}.tree"), shape.partition_bytes())?,
    );
    let base_tree = open(&format!("{payload}.base-tree"))?;
    let base_data = base.map(open).transpose()?;
    let table = match &base_data {
        Some(data) => {
            let base_shape = TreeShape::for_size(ReadAt::len(data)?)?;
            let leaves = TreeLeaves::new(&base_tree, base_shape);
            Some(ReuseTable::build(
                Base::with_tree(data, leaves),
                &index,
                TABLE_BYTES,
            ))
        }
        None => None,
    };
    finish::begin(&shape, &tree)?;
    let plan = Plan::make(&index, table.as_ref(), TargetScan::Missing(&target, &SALT))?;
    println!(
        "plan     {:.2} s  {:?}",
        started.elapsed().as_secs_f64(),
        plan.figures()
    );
    let io = Io {
        index: &index,
        plan: &plan,
        table: table.as_ref(),
        source: &source,
        target: &target,
        compare: base.is_some(),
    };
    let total = run_all(&io, threads)?;
    println!(
        "written  {:.2} s  {total:?}",
        started.elapsed().as_secs_f64()
    );
    target.flush()?;
    println!("flushed  {:.2} s", started.elapsed().as_secs_f64());
    let goal = Goal {
        shape,
        salt: &SALT,
        root_hash,
    };
    match finish::prove(&goal, &target, &tree, &mut |_| Ok(()))? {
        Proof::Right(proven) => proven.check_tree(&tree)?.seal(&tree)?,
        wrong @ Proof::Wrong(_) => drop(wrong.into_result(&goal)?),
    }
    println!("sealed   {:.2} s", started.elapsed().as_secs_f64());
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        if line.starts_with("VmHWM") {
            println!("{line}");
        }
    }
    Ok(())
}

fn run_all(io: &Io<'_>, threads: usize) -> Outcomes<Outcome> {
    let jobs = Mutex::new(io.plan.jobs());
    let total = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| -> Outcomes<()> {
                    let mut scratch = Scratch::new(io.index);
                    loop {
                        let job = jobs.lock().expect("no worker panics").next();
                        let Some(job) = job else { return Ok(()) };
                        let outcome = run_job(&job, io, &mut scratch)?;
                        total.lock().expect("no worker panics").add(&outcome);
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    Ok(total.into_inner().expect("no worker panics"))
}
