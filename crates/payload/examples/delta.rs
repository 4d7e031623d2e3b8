//! Measures deltas on real images.
//!
//! ```text
//! delta make BASE TARGET OUT [--threads N] [--one-in K] [--level N] [--no-names]
//! delta apply DELTA BASE OUT [--threads N]
//! ```
//! Codes every K-th segment (all unless said), prints the bytes by coding, and writes the delta
//! where all were coded. Base and target are named by their SHA-256 here.
#![allow(clippy::disallowed_methods)] // a measuring program reads files and clocks

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use twinroot_payload::delta::apply::{Io, Scratch};
use twinroot_payload::delta::{DeltaIndex, Expect, Kind, Plan};
use twinroot_payload::encode::delta::{CodedPatch, DeltaParams, Draft, Identity, Patcher};
use twinroot_payload::io::{Fault, ReadAt, WriteAt};
use twinroot_payload::verity::sha256;

type Outcomes<T> = Result<T, Box<dyn Error + Send + Sync>>;

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

fn main() -> Outcomes<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| {
        let at = arguments.iter().position(|a| a == name);
        at.map_or(Ok(default), |at| arguments[at + 1].parse())
    };
    let [what, base, target, out, ..] = arguments.as_slice() else {
        return Err("delta make BASE TARGET OUT, or delta apply DELTA BASE OUT".into());
    };
    if what == "apply" {
        return apply(base, target, out, option("--threads", 2)?);
    }
    let (threads, one_in) = (option("--threads", 2)?, option("--one-in", 1)?);
    let params = DeltaParams {
        level: option("--level", 22)? as i32,
        names: !arguments.iter().any(|a| a == "--no-names"),
        ..DeltaParams::default()
    };
    let name = |path: &str| Ok::<_, Box<dyn Error + Send + Sync>>(sha256(&std::fs::read(path)?));
    let identity = Identity {
        kind: Kind::File,
        base: name(base)?,
        target: name(target)?,
    };
    let (base, target) = (Disk(File::open(base)?), Disk(File::open(target)?));
    let start = Instant::now();
    let draft = Draft::make(&base, &target, &identity, &params)?;
    let blocks: usize = draft.segments().iter().map(|s| s.blocks.len()).sum();
    let gathered: u64 = (draft.segments().iter().flat_map(|s| &s.ranges))
        .map(|range| u64::from(range.1) * 4096)
        .sum();
    println!(
        "draft: {} segments of {blocks} blocks, {gathered} bytes of base, {:.1} s",
        draft.segments().len(),
        start.elapsed().as_secs_f64()
    );
    let coded = code(&draft, &base, &target, threads, one_in)?;
    let mut by: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for patch in coded.iter().flatten() {
        let entry = by.entry(format!("{:?}", patch.meta.coding)).or_default();
        entry.0 += 1;
        entry.1 += u64::from(patch.meta.coded_bytes);
    }
    let total: u64 = by.values().map(|entry| entry.1).sum();
    println!(
        "{by:?}; coded bytes {total} in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    if std::env::var_os("EACH").is_some() {
        for (number, patch) in coded.iter().enumerate() {
            let Some(patch) = patch else { continue };
            let segment = &draft.segments()[number];
            let base: u32 = segment.ranges.iter().map(|r| r.1).sum();
            println!(
                "{number} block {} base {base} {:?} {}",
                segment.blocks[0],
                patch.meta.coding,
                patch.bytes.len()
            );
        }
    }
    if one_in == 1 {
        let metas: Vec<_> = coded.iter().flatten().map(|patch| patch.meta).collect();
        let mut file = draft.finish(&metas)?;
        println!(
            "index {} bytes; whole {}",
            file.len(),
            file.len() as u64 + total
        );
        coded
            .iter()
            .flatten()
            .for_each(|patch| file.extend_from_slice(&patch.bytes));
        std::fs::write(out, file)?;
    }
    Ok(())
}

/// Writes the target as a node does, and says how much memory that took.
fn apply(delta: &str, base: &str, out: &str, threads: usize) -> Outcomes<()> {
    let file = Disk(File::open(delta)?);
    let base = Disk(File::open(base)?);
    let mut head = [0; 128];
    file.read_at(0, &mut head)?;
    let field = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let mut expect = Expect {
        kind: Kind::File,
        base: [0; 32],
        target: [0; 32],
        target_bytes: field(24),
        file_bytes: field(32),
    };
    expect.base.copy_from_slice(&head[64..96]);
    expect.target.copy_from_slice(&head[96..]);
    // The index is at most so long; its frame says where it ends.
    let mut index = vec![0; (file.len()?.min(4 << 20)) as usize];
    file.read_at(0, &mut index)?;
    let end =
        zstd_safe::find_frame_compressed_size(&index[128..]).map_err(zstd_safe::get_error_name)?;
    let index = DeltaIndex::open(&index[..128 + end], &expect)?;
    let target = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(out)?;
    target.set_len(expect.target_bytes)?;
    let target = Disk(target);
    let plan = Plan::make(&index, &target)?;
    println!("{:?}", plan.figures());
    let io = Io {
        index: &index,
        base: &base,
        target: &target,
    };
    let (segment, stretch) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let work = || -> Outcomes<()> {
            let mut scratch = Scratch::new(&index);
            while let Some(next) = index
                .segments()
                .get(segment.fetch_add(1, Ordering::Relaxed))
            {
                let mut coded = vec![0; next.coded_bytes as usize];
                file.read_at(next.coded_start, &mut coded)?;
                io.patch(next.number, &coded, &mut scratch)?
                    .ok_or("another base")?;
            }
            loop {
                let next = stretch.fetch_add(1, Ordering::Relaxed) as u32;
                if next >= index.stretches() {
                    return Ok(());
                }
                io.copy(next, &mut scratch)?;
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|w| w.join().map_err(|_| "a worker failed")?)
    })?;
    target.flush()?;
    println!("applied in {:.2} s", start.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!(
        "{}",
        status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or_default()
    );
    println!("right: {}", sha256(&std::fs::read(out)?) == expect.target);
    Ok(())
}

fn code(
    draft: &Draft,
    base: &Disk,
    target: &Disk,
    threads: usize,
    one_in: usize,
) -> Outcomes<Vec<Option<CodedPatch>>> {
    let next = AtomicUsize::new(0);
    let total = draft.segments().len();
    let coded = Mutex::new(vec![None; total]);
    std::thread::scope(|scope| {
        let work = || -> Outcomes<()> {
            let mut patcher = Patcher::new();
            loop {
                let number = next.fetch_add(one_in, Ordering::Relaxed);
                if number >= total {
                    return Ok(());
                }
                let patch = patcher.segment(draft, number, base, target)?;
                coded.lock().map_err(|_| "a worker failed")?[number] = Some(patch);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|w| w.join().map_err(|_| "a worker failed")?)
    })?;
    Ok(coded.into_inner()?)
}
