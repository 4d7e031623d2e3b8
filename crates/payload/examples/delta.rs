//! Measures deltas on real images.
//!
//! ```text
//! delta make BASE TARGET OUT [--threads N] [--one-in K] [--level N] [--no-names]
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

use twinroot_payload::delta::Kind;
use twinroot_payload::encode::delta::{CodedPatch, DeltaParams, Draft, Identity, Patcher};
use twinroot_payload::io::{Fault, ReadAt};
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

fn main() -> Outcomes<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: usize| {
        let at = arguments.iter().position(|a| a == name);
        at.map_or(Ok(default), |at| arguments[at + 1].parse())
    };
    let [_, base, target, out, ..] = arguments.as_slice() else {
        return Err("delta make BASE TARGET OUT".into());
    };
    let (threads, one_in) = (option("--threads", 2)?, option("--one-in", 1)?);
    let params = DeltaParams {
        level: option("--level", 19)? as i32,
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
