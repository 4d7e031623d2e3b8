//! Which bars there are. Numbers are those of issue "Deltas as small as the best, applied in a few megabytes
//! of memory"; each is a ratio of two figures of this run.

use std::path::Path;

use anyhow::{Context, Result};

use super::bars::{Bar, Key, bytes, bytes_best, find, mega};
use super::boot;
use super::measure::{CGROUP, Figures, WITHIN_CGROUP};
use crate::bench::memory;
use crate::programs::Programs;

/// Peak memory of the node's process with two workers, in MiB.
const RSS_MIB: f64 = 32.0;
/// The smaller seeded image: 400 MB, the size of a real container host, in MiB.
const SMALL: u64 = 382;
/// The publisher's memory, in MiB.
const PUBLISHER_MIB: f64 = 1536.0;

const DELTA: &str = "twinroot-delta";
const OURS: Key<'static> = Key("refresh", "erofs", DELTA);

/// All bars, in the order of the issue.
pub fn all(figures: &Figures) -> Vec<Bar> {
    let mut bars = sizes(figures);
    bars.extend(node(figures));
    bars.extend(memory_bars(figures));
    bars.extend(publisher(figures));
    bars
}

fn sizes(figures: &Figures) -> Vec<Bar> {
    let rows = &figures.rows;
    let bsdiff = Key("refresh", "erofs", "bsdiff");
    let ext4 = |pair| Key(pair, "ext4", DELTA);
    let erofs = |pair| Key(pair, "erofs", DELTA);
    let mut bars = vec![
        bytes(
            rows,
            "bytes of the refresh, index included",
            OURS,
            bsdiff,
            0.90,
        ),
        bytes(
            rows,
            "bytes with the kernel stored unpacked",
            erofs("refresh-unpacked"),
            bsdiff,
            0.70,
        ),
        bytes(
            rows,
            "bytes of the hotfix",
            erofs("hotfix"),
            Key("hotfix", "erofs", "ostree-static-delta"),
            1.0,
        ),
        bytes_best(
            rows,
            "bytes with containerd and another large Go program rebuilt",
            ("go-rebuilt", "erofs"),
            1.0,
        ),
        bytes_best(rows, "bytes of a week", ("week", "erofs"), 1.0),
        bytes(
            rows,
            "bytes of the next distribution release",
            erofs("major"),
            Key("major", "erofs", "full-zstd-19"),
            0.88,
        ),
    ];
    bars.push(never_larger(figures));
    for (pair, what) in [
        ("refresh", "the refresh as ext4"),
        ("hotfix", "the hotfix as ext4"),
        ("major", "the next distribution release as ext4"),
    ] {
        bars.push(bytes(rows, what, ext4(pair), erofs(pair), 1.10));
    }
    bars.push(bytes(
        rows,
        "boot file, same kernel, changed initrd",
        Key(boot::INITRD, boot::FORMAT, DELTA),
        Key(boot::INITRD, boot::FORMAT, "plain"),
        0.15,
    ));
    bars.push(reuse(figures));
    bars.push(bytes(
        rows,
        "full payload",
        Key("refresh", "erofs", "twinroot-full"),
        Key("refresh", "erofs", "full-zstd-19"),
        1.05,
    ));
    bars
}

fn never_larger(figures: &Figures) -> Bar {
    let what = "a delta is never larger than our full payload";
    let full = figures.full.iter().find(|(name, _)| name == "major");
    match (full, find(&figures.rows, Key("major", "erofs", DELTA))) {
        (Some((_, full)), Some(row)) => {
            Bar::new(what, mega(row.made.bytes), mega(*full), 1.0, "MB")
        }
        _ => Bar::missing(what, 1.0, "no row"),
    }
}

fn reuse(figures: &Figures) -> Bar {
    let what = "bytes by reuse, without any delta";
    match (
        find(&figures.rows, Key("refresh", "erofs", "twinroot-reuse")),
        figures.missing,
    ) {
        (Some(row), Some(missing)) => {
            Bar::new(what, mega(row.made.bytes), mega(missing), 1.06, "MB")
                .against("missing blocks, groups of 4 MiB, zstd -19")
        }
        _ => Bar::missing(what, 1.06, "no row of twinroot-reuse"),
    }
}

fn node(figures: &Figures) -> Vec<Bar> {
    let (writing, proving) = (
        "CPU of applying, patch output hashed",
        "CPU of proving the slot after",
    );
    let wall = "wall time of applying, flushed, 2 workers";
    let (Some(limits), Some(delta)) = (&figures.limits, &figures.delta) else {
        return [(writing, 2.2), (proving, 1.4), (wall, 2.5)]
            .map(|(what, limit)| Bar::missing(what, limit, "the refresh was not measured"))
            .into();
    };
    let mut bars = Vec::new();
    match delta.split() {
        Some((write, prove)) => {
            let bar = |what, cpu, limit| {
                Bar::new(what, cpu, limits.sha256_cpu_s, limit, "s").against("openssl dgst -sha256")
            };
            bars.extend([bar(writing, write, 2.2), bar(proving, prove, 1.4)]);
        }
        None => {
            bars.extend([(writing, 2.2), (proving, 1.4)].map(|(what, limit)| {
                Bar::missing(what, limit, "the node did not say when it proved")
            }))
        }
    }
    let until = delta
        .usage
        .marked
        .map_or(delta.usage.wall, |(wall, _)| wall);
    bars.push(
        Bar::new(
            wall,
            until.as_secs_f64(),
            limits.direct_write_wall_s,
            2.5,
            "s",
        )
        .against("writing the image with O_DIRECT"),
    );
    bars
}

#[expect(clippy::cast_precision_loss, reason = "sizes here stay far below 2^52")]
fn memory_bars(figures: &Figures) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mib = |kib: u64| kib as f64 / 1024.0;
    match &figures.delta {
        Some(delta) => {
            let peak = mib(delta.usage.peak_rss / 1024);
            bars.push(Bar::new(
                "peak memory of the node, the refresh by delta",
                peak,
                RSS_MIB,
                1.0,
                "MiB",
            ));
            bars.push(Bar::new(
                "requests for a delta",
                delta.requests as f64,
                1.0,
                1.0,
                "request(s)",
            ));
            let temp = delta.temp_bytes as f64 / 1024.0;
            bars.push(
                Bar::new("temporary files while applying", temp, 64.0, 1.0, "KiB")
                    .against("records only, at most"),
            );
            let (planned, came) = (delta.planned as f64, delta.all as f64);
            let off = (planned - came).abs() / planned;
            bars.push(Bar::new(
                "what `plan` said against what came",
                off * 100.0,
                2.0,
                1.0,
                "%",
            ));
        }
        None => bars.push(Bar::missing(
            "peak memory of the node",
            1.0,
            "the refresh was not measured",
        )),
    }
    if figures.seeded.is_empty() {
        bars.push(Bar::missing(
            "peak memory, seeded images",
            1.0,
            "left out of this run",
        ));
    }
    for (size, way, kib) in &figures.seeded {
        let what = format!("peak memory, seeded image of {size} MiB, {way}");
        bars.push(Bar::new(&what, mib(*kib), RSS_MIB, 1.0, "MiB"));
    }
    bars.extend(surroundings(figures));
    bars
}

/// What the update costs the rest of the machine.
#[expect(clippy::cast_precision_loss, reason = "sizes here stay far below 2^52")]
fn surroundings(figures: &Figures) -> Vec<Bar> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (within, flush) = (
        "memory in a cgroup, page cache included",
        "a neighbour's fsync, 99th percentile",
    );
    // The kernel lets the group have no more: what shows is whether staging came to its end in it.
    let cgroup = match figures.cgroup {
        Some(peak) => {
            Bar::new(within, mib(peak), mib(CGROUP), 1.0, "MiB").against("ran to its end within")
        }
        None => Bar::missing(within, 1.0, why(figures, WITHIN_CGROUP)),
    };
    let fsync = match figures.fsync {
        Some(seen) => Bar::new(flush, seen.busy_ms, seen.idle_ms, 1.25, "ms")
            .against(&format!("idle, {} flushes", seen.flushes)),
        None => Bar::missing(flush, 1.25, why(figures, "a neighbour's fsync")),
    };
    vec![cgroup, fsync]
}

/// What was noted when something was skipped.
fn why(figures: &Figures, what: &str) -> String {
    let noted = figures.skipped.iter().find(|(name, _)| name == what);
    noted.map_or_else(
        || "the refresh was not measured".to_owned(),
        |(_, why)| why.clone(),
    )
}

#[expect(clippy::cast_precision_loss, reason = "sizes here stay far below 2^52")]
fn publisher(figures: &Figures) -> Vec<Bar> {
    let rows = &figures.rows;
    let (cpu, memory) = (
        "publisher's CPU for the delta of the refresh",
        "publisher's memory",
    );
    let mut bars = Vec::new();
    let bsdiff = find(rows, Key("refresh", "erofs", "bsdiff")).and_then(|row| row.made.cpu_s);
    let with = find(rows, OURS).and_then(|row| row.made.cpu_s);
    bars.push(match (with, figures.make_plain_cpu_s, bsdiff) {
        (Some(with), Some(without), Some(bsdiff)) => {
            Bar::new(cpu, with - without, bsdiff, 0.4, "s").against("bsdiff")
        }
        _ => Bar::missing(
            cpu,
            0.4,
            "needs the refresh with and without delta, and bsdiff",
        ),
    });
    bars.push(match find(rows, OURS).and_then(|row| row.made.rss_kib) {
        Some(kib) => Bar::new(memory, kib as f64 / 1024.0, PUBLISHER_MIB, 1.0, "MiB"),
        None => Bar::missing(memory, 1.0, "the refresh was not measured"),
    });
    let what = "one and two threads, each anew: different files";
    bars.push(match figures.deterministic {
        // A difference is counted, so that none is the only way to meet it.
        Some(same) => Bar {
            what: what.into(),
            measured: if same { "none" } else { "some" }.into(),
            against: "none, on the hotfix".into(),
            ratio: Some(if same { 0.0 } else { 1.0 }),
            limit: 0.0,
            missing: None,
        },
        None => Bar::missing(what, 0.0, "the hotfix was not measured"),
    });
    bars
}

/// Peak memory while staging seeded images that cannot be compressed and are half reusable.
pub fn seeded(
    figures: &mut Figures,
    programs: &Programs,
    scratch: &Path,
    large: u64,
) -> Result<()> {
    for size in [SMALL, large] {
        let folder = scratch.join(format!("seeded-{size}"));
        std::fs::create_dir_all(&folder).context("cannot make a folder")?;
        for (way, staged) in memory::stage_seeded(programs, &folder, size)? {
            let kib = staged.usage.peak_rss / 1024;
            println!("  seeded, {size} MiB, {way}: {kib} KiB");
            figures.seeded.push((size, way, kib));
        }
        std::fs::remove_dir_all(&folder).context("cannot remove a folder")?;
    }
    Ok(())
}
