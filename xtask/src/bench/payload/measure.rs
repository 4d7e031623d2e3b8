//! What is measured, in order: cheap things first, so that a run that breaks off has something to show.

use std::path::Path;

use anyhow::{Context, Result};

use super::keep::Kept;
use super::limits::{self, Limits};
use super::neighbours::Neighbour;
use super::ours::{Published, Staged, Way, same_with_threads};
use super::pair::{self, Format, Kind, Pair};
use super::peer::{Peer, today, version_of};
use super::row::{Made, Row};
use super::{Options, boot, chunked, neighbours, trees};
use crate::programs::Programs;

/// Each staging of ours is measured this often and the one with the least CPU is taken.
const RUNS: usize = 3;
/// Memory with the page cache that staging must get by with, in bytes.
pub const CGROUP: u64 = 64 << 20;

/// What a missing figure of it is called.
pub const WITHIN_CGROUP: &str = "staging within a memory cgroup";

/// What `--pair` calls the seeded images.
const SEEDED: &str = "seeded";

/// Which tools run on a pair. The refresh gets all; on the others the peers that are best there or that a
/// bar names.
const PLAN: &[(Kind, Format, &[&str])] = &[
    (
        pair::REFRESH,
        Format::Erofs,
        &[
            "xdelta3",
            "rdiff",
            "casync",
            "zchunk",
            "rauc-block-index",
            "ostree-static-delta",
            "full-zstd-19",
            "twinroot-delta",
            "twinroot-reuse",
            "twinroot-full",
            "zstd-patch-from",
            "full-xz",
            "bsdiff",
        ],
    ),
    (
        pair::HOTFIX,
        Format::Erofs,
        &[
            "xdelta3",
            "ostree-static-delta",
            "casync",
            "twinroot-delta",
            "bsdiff",
        ],
    ),
    // Two pairs are held against the best peer, so all that may be the best run.
    (
        pair::WEEK,
        Format::Erofs,
        &[
            "xdelta3",
            "ostree-static-delta",
            "twinroot-delta",
            "zstd-patch-from",
            "bsdiff",
        ],
    ),
    (
        pair::REBUILT,
        Format::Erofs,
        &[
            "xdelta3",
            "ostree-static-delta",
            "twinroot-delta",
            "zstd-patch-from",
            "bsdiff",
        ],
    ),
    (
        pair::UNPACKED,
        Format::Erofs,
        &["xdelta3", "twinroot-delta"],
    ),
    (
        pair::MAJOR,
        Format::Erofs,
        &["full-zstd-19", "xdelta3", "twinroot-delta"],
    ),
    (pair::HOTFIX, Format::Ext4, &["xdelta3", "twinroot-delta"]),
    (pair::REFRESH, Format::Ext4, &["xdelta3", "twinroot-delta"]),
    (pair::MAJOR, Format::Ext4, &["twinroot-delta"]),
    (
        pair::REFRESH,
        Format::ErofsLz4,
        &["xdelta3", "full-zstd-19", "twinroot-delta"],
    ),
];

/// The blocks of the new image that the old one lacks, in groups of 4 MiB at zstd -19: bytes.
fn missing(pair: &Pair, kept: &Kept) -> Result<u64> {
    let version = version_of("zstd")?;
    let [old, new] = &pair.digests;
    let (_, made, _) = kept.get("missing-blocks", &[&version, old, new], |_| {
        let (_, bytes) = crate::bench::reference::missing_blocks(&pair.old, &pair.new)?;
        Ok(Made {
            bytes,
            requests: 0,
            cpu_s: None,
            rss_kib: None,
            day: today(),
        })
    })?;
    Ok(made.bytes)
}

/// Everything of one run.
#[derive(Debug, Default)]
pub struct Figures {
    /// The table.
    pub rows: Vec<Row>,
    /// Limits of the machine for the new image of the refresh.
    pub limits: Option<Limits>,
    /// Our stagings of the refresh by delta, the one with the least CPU.
    pub delta: Option<Staged>,
    /// Our staging of the refresh by reuse.
    pub reuse: Option<Staged>,
    /// Blocks of the refresh that are missing, in groups of 4 MiB at zstd -19, in bytes.
    pub missing: Option<u64>,
    /// Size of our full payload for the refresh and for the major pair.
    pub full: Vec<(String, u64)>,
    /// Publisher's CPU seconds for the refresh without a delta.
    pub make_plain_cpu_s: Option<f64>,
    /// A neighbour's fsync, idle and while staging.
    pub fsync: Option<Neighbour>,
    /// Peak bytes of the cgroup in which staging ran to its end.
    pub cgroup: Option<u64>,
    /// Peak memory of staging seeded images: (MiB of the image, the way, KiB).
    pub seeded: Vec<(u64, &'static str, u64)>,
    /// Two makings of a delta with one and with two threads gave the same files.
    pub deterministic: Option<bool>,
    /// What could not be measured, and why.
    pub skipped: Vec<(String, String)>,
}

/// One run.
#[derive(Debug)]
pub struct Run<'a> {
    programs: Option<&'a Programs>,
    images: &'a Path,
    kept: &'a Kept,
    scratch: &'a Path,
    /// Releases that are measured against the same new one lie in one repository.
    shared: Option<Published>,
    figures: Figures,
}

impl<'a> Run<'a> {
    /// A run on the images of a folder.
    pub fn new(
        programs: Option<&'a Programs>,
        images: &'a Path,
        kept: &'a Kept,
        scratch: &'a Path,
    ) -> Self {
        Self {
            programs,
            images,
            kept,
            scratch,
            shared: None,
            figures: Figures::default(),
        }
    }

    /// The figures.
    pub fn into_figures(self) -> Figures {
        self.figures
    }

    /// Measures what the options ask for.
    pub fn all(&mut self, options: &Options<'_>) -> Result<()> {
        for (kind, format, tools) in PLAN {
            let wanted =
                |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
            if !wanted(options.pairs, kind.name) {
                continue;
            }
            let tools: Vec<&str> = tools
                .iter()
                .copied()
                .filter(|tool| wanted(options.tools, tool))
                .collect();
            match Pair::find(self.images, *kind, *format) {
                Ok(pair) => self.pair(&pair, &tools)?,
                // Without its images a pair is skipped by name, and its bars count as missed.
                Err(error) => self.skip(&format!("{} ({})", kind.name, format.name()), &error),
            }
        }
        if options.pairs.is_empty() || options.pairs.iter().any(|name| name == boot::INITRD) {
            self.boot(options)?;
        }
        let seeded = options.pairs.iter().any(|name| name == SEEDED);
        if seeded || options.pairs.is_empty() && options.tools.is_empty() {
            let programs = self.programs()?;
            super::promises::seeded(&mut self.figures, programs, self.scratch, options.large)?;
        }
        Ok(())
    }

    /// New boot files, unless only tools are asked for that have nothing to do with them.
    fn boot(&mut self, options: &Options<'_>) -> Result<()> {
        if !options.tools.is_empty() && !options.tools.iter().any(|tool| tool == "twinroot-delta") {
            return Ok(());
        }
        println!("== boot files");
        match boot::rows(self.programs()?, self.images, self.scratch) {
            Ok(rows) => {
                for row in &rows {
                    println!("  {:<26} {}", row.pair, super::output::line(row));
                }
                self.figures.rows.extend(rows);
            }
            Err(error) => self.skip("boot files", &error),
        }
        Ok(())
    }

    fn programs(&self) -> Result<&'a Programs> {
        self.programs
            .context("our programs were not built for this run")
    }

    fn skip(&mut self, what: &str, error: &anyhow::Error) {
        println!("SKIP {what}: {error:#}");
        self.figures
            .skipped
            .push((what.to_owned(), format!("{error:#}")));
    }

    fn pair(&mut self, pair: &Pair, tools: &[&str]) -> Result<()> {
        println!("== {} ({})", pair.kind.name, pair.format.name());
        for tool in tools {
            let outcome = match *tool {
                "casync" => chunked::casync(pair, self.kept, self.scratch),
                "zchunk" => chunked::zchunk(pair, self.kept, self.scratch),
                "rauc-block-index" => chunked::rauc(pair, self.kept, self.scratch),
                "ostree-static-delta" => trees::ostree(pair, self.kept, self.scratch),
                "twinroot-delta" => self.ours(pair, Way::Delta),
                "twinroot-reuse" => self.ours(pair, Way::Reuse),
                "twinroot-full" => self.ours(pair, Way::Full),
                peer => Peer::named(peer)?.measure(pair, self.kept, self.scratch),
            };
            match outcome {
                Ok(row) => {
                    println!("  {}", super::output::line(&row));
                    self.figures.rows.push(row);
                }
                // One tool that fails here must not hide what the others do; its bars count as missed.
                Err(error) => self.skip(&format!("{tool} on {}", pair.kind.name), &error),
            }
        }
        let ours = tools.iter().any(|tool| tool.starts_with("twinroot"));
        if ours && pair.kind == pair::REFRESH && pair.format == Format::Erofs {
            self.limits(pair)?;
        }
        Ok(())
    }

    /// Hashing, decoding and writing the refresh's new image by the shortest way.
    fn limits(&mut self, pair: &Pair) -> Result<()> {
        let stream = match Peer::named("full-zstd-19")?.patch(pair, self.kept) {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.skip("zstd -d", &error);
                None
            }
        };
        self.figures.limits = Some(limits::measure(&pair.new, stream.as_deref(), self.scratch)?);
        self.figures.missing = Some(missing(pair, self.kept)?);
        Ok(())
    }

    /// The repository with deltas from every release that `new` follows, the refresh's the last before it.
    fn publish_shared(&mut self) -> Result<Published> {
        if let Some(published) = self.shared.take() {
            return Ok(published);
        }
        let kinds = [pair::HOTFIX, pair::WEEK, pair::REFRESH];
        let pairs: Vec<Pair> = kinds
            .into_iter()
            .filter_map(|kind| Pair::find(self.images, kind, Format::Erofs).ok())
            .collect();
        Published::make(self.programs()?, &pairs, (Way::Delta, true), self.kept)
    }

    fn ours(&mut self, pair: &Pair, way: Way) -> Result<Row> {
        let programs = self.programs()?;
        let erofs = pair.format == Format::Erofs;
        let shares = way == Way::Delta && erofs && pair.kind.new == pair::REFRESH.new;
        let published = if shares {
            self.publish_shared()?
        } else {
            let full_counts = way != Way::Delta || pair.kind == pair::MAJOR && erofs;
            let pairs = std::slice::from_ref(pair);
            Published::make(programs, pairs, (way, full_counts), self.kept)?
        };
        let row = self.ours_of(pair, way, &published);
        if shares {
            self.shared = Some(published);
        }
        row
    }

    fn ours_of(&mut self, pair: &Pair, way: Way, published: &Published) -> Result<Row> {
        let programs = self.programs()?;
        let kind = pair.kind.name;
        let mut best: Option<Staged> = None;
        let mut peak = 0;
        for _ in 0..RUNS {
            let staged = published.stage(programs, kind, false, self.scratch)?;
            peak = peak.max(staged.usage.peak_rss);
            best = best
                .filter(|best| best.usage.cpu <= staged.usage.cpu)
                .or(Some(staged));
        }
        let mut warm = best.context("nothing was staged")?;
        // Other work on the machine only adds to CPU and wall; memory must hold in every run.
        warm.usage.peak_rss = peak;
        let refresh = pair.kind == pair::REFRESH && pair.format == Format::Erofs;
        let cold = refresh
            .then(|| published.stage(programs, kind, true, self.scratch))
            .transpose()?;
        let row = published.row(pair, (&warm, cold.as_ref()));
        if way == Way::Delta && pair.format == Format::Erofs {
            self.figures
                .full
                .push((kind.to_owned(), published.full_bytes()));
        }
        if refresh {
            self.refresh(published, way, warm)?;
        }
        if pair.kind == pair::HOTFIX && pair.format == Format::Erofs && way == Way::Delta {
            let same = same_with_threads(programs, pair, self.scratch)?;
            self.figures.deterministic = Some(same);
        }
        Ok(row)
    }

    /// What only the refresh is asked for.
    fn refresh(&mut self, published: &Published, way: Way, staged: Staged) -> Result<()> {
        let programs = self.programs()?;
        match way {
            Way::Full => {}
            Way::Reuse => {
                self.figures.make_plain_cpu_s = published.make_cpu_s();
                self.figures.reuse = Some(staged);
            }
            Way::Delta => {
                self.figures.delta = Some(staged);
                match published.with_neighbour(programs, pair::REFRESH.name, self.scratch) {
                    Ok(fsync) => self.figures.fsync = Some(fsync),
                    Err(error) => self.skip("a neighbour's fsync", &error),
                }
                let within = neighbours::Cgroup::new(CGROUP).and_then(|cgroup| {
                    published.stage_in(programs, pair::REFRESH.name, &cgroup, self.scratch)?;
                    cgroup.peak()
                });
                match within {
                    Ok(peak) => self.figures.cgroup = Some(peak),
                    Err(error) => self.skip(WITHIN_CGROUP, &error),
                }
            }
        }
        Ok(())
    }
}
