//! Ours, through the real programs: publish, serve, apply on a machine in files. Bytes and requests come
//! from the server's log, so that the node need not be believed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::keep::Kept;
use super::neighbours::{Cgroup, Neighbour, fsync_during};
use super::pair::Pair;
use super::peer::today;
use super::row::{Applied, Made, Row};
use crate::bench::node::Node;
use crate::bench::publisher::{DELTA_LEVEL, PRODUCT, Publisher, Release, Server, boot_file};
use crate::bench::reference::{drop_cache, size_of};
use crate::bench::usage::{self, Usage};
use crate::programs::Programs;
use crate::run;

/// The release that comes; those that run are 1.0, 1.1, ….
const NEW: &str = "2.0";
/// Nobody fetches the payload of the release before.
const UNFETCHED_LEVEL: u8 = 1;
/// The level that releases are made with.
const LEVEL: u8 = 19;

/// The level of a full payload whose size no row shows and no bar names. Deltas beside it are made as ever.
const HURRIED_LEVEL: u8 = 3;

/// Stagings beside a neighbour, for some hundreds of its flushes.
const NEIGHBOUR_RUNS: usize = 8;
/// Makings with each number of threads.
const TWICE: usize = 2;

/// How a node gets the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a delta against the release that runs.
    Delta,
    /// Without any delta: what the booted slot has is not fetched.
    Reuse,
    /// On a slot that has nothing of it.
    Full,
}

impl Way {
    /// As rows name it.
    pub const fn tool(self) -> &'static str {
        match self {
            Self::Delta => "twinroot-delta",
            Self::Reuse => "twinroot-reuse",
            Self::Full => "twinroot-full",
        }
    }

    /// For `twinroot-publish add`: deltas against so many releases.
    fn deltas(self, bases: usize) -> String {
        match self {
            Self::Delta => bases.to_string(),
            Self::Reuse | Self::Full => "0".into(),
        }
    }
}

/// One staging: what was fetched, what it cost, and what it cost up to the proof.
#[derive(Debug, Clone)]
pub struct Staged {
    /// Bytes of the image's payload, index included; the boot file and the manifest aside.
    pub bytes: u64,
    /// Requests for them.
    pub requests: u64,
    /// Bytes of everything that came.
    pub all: u64,
    /// What `twinroot plan` had said.
    pub planned: u64,
    /// The whole process, proof included.
    pub usage: Usage,
    /// The largest file that it wrote on the side.
    pub temp_bytes: u64,
}

impl Staged {
    /// Cost of writing, and cost of proving, in CPU seconds.
    pub fn split(&self) -> Option<(f64, f64)> {
        let (_, written) = self.usage.marked?;
        let proven = self.usage.cpu.saturating_sub(written);
        Some((written.as_secs_f64(), proven.as_secs_f64()))
    }

    fn applied(&self) -> Applied {
        let (wall, cpu) = self
            .usage
            .marked
            .unwrap_or((self.usage.wall, self.usage.cpu));
        Applied {
            cpu_s: cpu.as_secs_f64(),
            wall_s: wall.as_secs_f64(),
            rss_kib: self.usage.peak_rss / 1024,
            temp_bytes: self.temp_bytes,
        }
    }
}

/// Releases that run, a release that comes, and what making that one took.
#[derive(Debug)]
pub struct Published {
    publisher: Publisher,
    /// The releases that run, by the name of their kind.
    bases: Vec<(&'static str, Release)>,
    new: Release,
    made: Made,
    fresh: bool,
    way: Way,
}

impl Published {
    /// Publishes what runs (in the order given) and then what comes, which all pairs share; or takes the
    /// repository that an earlier run has kept. One `add` makes all deltas: coding the full payload takes
    /// longer than they do.
    ///
    /// The full payload is coded as releases are where somebody looks at its size, else in a hurry.
    pub fn make(
        programs: &Programs,
        pairs: &[Pair],
        (way, full_counts): (Way, bool),
        kept: &Kept,
    ) -> Result<Self> {
        let last = pairs.last().context("there is no pair to publish")?;
        // A repository is kept by the program that made it and by the day: its metadata expires.
        let program = super::keep::digest_of(&programs.path("twinroot-publish"))?;
        let (deltas, day) = (way.deltas(pairs.len()), today());
        let level = if full_counts { LEVEL } else { HURRIED_LEVEL };
        let level_word = level.to_string();
        let mut about = vec![
            program.as_str(),
            &deltas,
            &level_word,
            &last.digests[1],
            &day,
        ];
        about.extend(pairs.iter().map(|pair| pair.digests[0].as_str()));
        let version = |number: usize| format!("1.{number}");
        let (folder, made, fresh) = kept.get("twinroot", &about, |folder| {
            let names: Vec<_> = pairs.iter().map(|pair| pair.kind.name).collect();
            println!(
                "publishing {} ({}), {deltas} delta(s)",
                names.join(", "),
                last.format.name()
            );
            let publisher = Publisher::new(programs, folder)?;
            for (number, pair) in pairs.iter().enumerate() {
                let words = ["--delta-from", "0"];
                publisher.publish_with(&version(number), &pair.old, UNFETCHED_LEVEL, &words)?;
            }
            let words = ["--delta-from", &deltas, "--delta-level", DELTA_LEVEL];
            let (release, usage) = publisher.publish_with(NEW, &last.new, level, &words)?;
            Ok(Made {
                bytes: release.payload_bytes,
                requests: 0,
                cpu_s: Some(usage.cpu.as_secs_f64()),
                rss_kib: Some(usage.peak_rss / 1024),
                day: day.clone(),
            })
        })?;
        let publisher = Publisher::reopen(programs, &folder);
        let release = |version: &str, image: &Path| Release {
            version: version.into(),
            image: image.to_owned(),
            uki: publisher.uki(version),
            root_hash: String::new(),
            payload_bytes: made.bytes,
        };
        let bases = pairs.iter().enumerate();
        let bases = bases
            .map(|(number, pair)| (pair.kind.name, release(&version(number), &pair.old)))
            .collect();
        let new = release(NEW, &last.new);
        Ok(Self {
            publisher,
            bases,
            new,
            made,
            fresh,
            way,
        })
    }

    fn base(&self, kind: &str) -> Result<&Release> {
        let found = self.bases.iter().find(|(name, _)| *name == kind);
        Ok(&found
            .with_context(|| format!("{kind} was not published"))?
            .1)
    }

    /// Size of the full payload, index included.
    pub fn full_bytes(&self) -> u64 {
        self.made.bytes
    }

    /// What `add` cost the publisher: CPU seconds.
    pub fn make_cpu_s(&self) -> Option<f64> {
        self.made.cpu_s
    }

    /// Where the release's payload files lie.
    pub fn payloads(&self) -> PathBuf {
        self.publisher.published().join("targets/payload")
    }

    /// Stages the release on a new machine; `cold` drops the cache of the machine's disk and of the served
    /// files first.
    pub fn stage(
        &self,
        programs: &Programs,
        kind: &str,
        cold: bool,
        scratch: &Path,
    ) -> Result<Staged> {
        self.on_a_machine(programs, kind, scratch, |node| {
            if cold {
                drop_cache(&node.disk())?;
                let payloads = self.payloads();
                for file in std::fs::read_dir(payloads).context("cannot list the payloads")? {
                    drop_cache(&file?.path())?;
                }
            }
            node.stage()
        })
    }

    /// The same inside a cgroup.
    pub fn stage_in(
        &self,
        programs: &Programs,
        kind: &str,
        cgroup: &Cgroup,
        scratch: &Path,
    ) -> Result<Staged> {
        self.on_a_machine(programs, kind, scratch, |node| {
            // Pages that lie in the cache already would be counted for whoever brought them.
            settle(scratch)?;
            drop_cache(&node.disk())?;
            usage::measure(&mut cgroup.wrap(&node.command(&["stage"])))
        })
    }

    /// A neighbour's fsync while releases are staged on the same file system, and at rest: by turns, so that
    /// what else goes on meets both, and several times, since one staging lasts for some dozens of flushes.
    pub fn with_neighbour(
        &self,
        programs: &Programs,
        kind: &str,
        scratch: &Path,
    ) -> Result<Neighbour> {
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for _ in 0..NEIGHBOUR_RUNS {
            let mut during = Vec::new();
            let staged = self.on_a_machine(programs, kind, scratch, |node| {
                // What making the machine has left to be written is no work of the node's.
                settle(scratch)?;
                let (usage, latencies) = fsync_during(scratch, || node.stage())?;
                during = latencies;
                Ok(usage)
            })?;
            settle(scratch)?;
            let rest = || {
                std::thread::sleep(staged.usage.wall);
                Ok(())
            };
            idle.extend(fsync_during(scratch, rest)?.1);
            busy.append(&mut during);
        }
        Neighbour::of(&idle, &busy)
    }

    fn on_a_machine(
        &self,
        programs: &Programs,
        kind: &str,
        scratch: &Path,
        stage: impl FnOnce(&Node) -> Result<Usage>,
    ) -> Result<Staged> {
        let mut server = self.publisher.serve()?;
        let folder = scratch.join("machine");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("cannot remove a machine")?;
        }
        let base = match self.way {
            Way::Full => foreign_release(programs, &self.new, scratch)?,
            Way::Delta | Way::Reuse => self.base(kind)?.clone(),
        };
        let node = Node::install(programs, &folder, &self.publisher, &base, &server)?;
        node.check()?;
        let planned = node.planned()?;
        server.sent()?;
        let usage = stage(&node)?;
        let staged = self.tell(&mut server, &node, planned, usage)?;
        std::fs::remove_dir_all(folder).context("cannot remove a machine")?;
        Ok(staged)
    }

    fn tell(&self, server: &mut Server, node: &Node, planned: u64, usage: Usage) -> Result<Staged> {
        let sent = server.sent()?;
        let boot = boot_files(&self.publisher)?;
        let image = sent.files.iter().filter(|(path, _)| !boot.contains(*path));
        let (bytes, requests) = image.fold((0, 0), |(bytes, requests), (_, sent)| {
            (bytes + sent.0, requests + sent.1)
        });
        ensure!(bytes > 0, "the server sent nothing of the image's payload");
        let temp_bytes = usage
            .largest_file_but(|path| node.is_own(path))
            .map_or(0, |(_, size)| size);
        Ok(Staged {
            bytes,
            requests,
            all: sent.bytes,
            planned,
            usage,
            temp_bytes,
        })
    }

    /// A row with a warm and, where asked for, a cold run.
    pub fn row(&self, pair: &Pair, (warm, cold): (&Staged, Option<&Staged>)) -> Row {
        Row {
            pair: pair.kind.name.into(),
            format: pair.format.name().into(),
            tool: self.way.tool().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            made: Made {
                bytes: warm.bytes,
                requests: warm.requests,
                ..self.made.clone()
            },
            fresh: self.fresh,
            warm: Some(warm.applied()),
            cold: cold.map(Staged::applied),
            note: "from an HTTP server to the slot of a machine in files, flushed; the proof after is apart. \
                Making is one `add`: the full payload, and the deltas from all releases that are measured \
                against the same new one"
                .into(),
        }
    }
}

/// Waits until everything that was written before is on the disk.
fn settle(folder: &Path) -> Result<()> {
    run::quiet(std::process::Command::new("sync").arg("-f").arg(folder))
}

/// True where one and two threads, each making the delta anew twice, give the same payload files.
pub fn same_with_threads(programs: &Programs, pair: &Pair, scratch: &Path) -> Result<bool> {
    let mut seen = Vec::new();
    for threads in ["1", "2"].repeat(TWICE) {
        let folder = scratch.join(format!("threads-{threads}"));
        std::fs::create_dir_all(&folder).context("cannot make a folder")?;
        let publisher = Publisher::new(programs, &folder)?;
        let words = ["--threads", threads, "--delta-from"];
        let with = |count| words.iter().copied().chain([count]).collect::<Vec<_>>();
        publisher.publish_with("1.0", &pair.old, UNFETCHED_LEVEL, &with("0"))?;
        publisher.publish_with(NEW, &pair.new, UNFETCHED_LEVEL, &with("1"))?;
        // Files are named by their digest. A boot file carries the time of its build, so it is left out.
        let boot = boot_files(&publisher)?;
        let mut names = BTreeSet::new();
        let payloads = publisher.published().join("targets/payload");
        for file in std::fs::read_dir(payloads).context("cannot list the payloads")? {
            let name = format!("payload/{}", file?.file_name().to_string_lossy());
            names.insert(name);
        }
        let old_boot = format!("payload/{}", super::keep::digest_of(&publisher.uki("1.0"))?);
        names.retain(|name| !boot.contains(name) && *name != old_boot);
        ensure!(
            names.len() >= 3,
            "expected two full payloads and a delta, found {names:?}"
        );
        seen.push(names);
        std::fs::remove_dir_all(folder).context("cannot remove a repository")?;
    }
    Ok(seen.iter().all(|names| *names == seen[0]))
}

/// Payload files of the boot file, by their path below the targets URL, as the manifest lists them.
pub(super) fn boot_files(publisher: &Publisher) -> Result<BTreeSet<String>> {
    let targets = publisher.published().join("targets");
    let folder = targets.join(format!("channels/stable/{PRODUCT}/x86-64/{}", NEW));
    let mut paths = BTreeSet::new();
    for file in
        std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let text = std::fs::read_to_string(file?.path()).context("cannot read a manifest")?;
        let manifest: toml::Table = text.parse().context("the manifest is no TOML")?;
        let artefacts = manifest.get("artefact").and_then(toml::Value::as_array);
        for artefact in artefacts.into_iter().flatten() {
            if artefact.get("kind").and_then(toml::Value::as_str) == Some("uki") {
                collect_paths(artefact, &mut paths);
            }
        }
    }
    ensure!(!paths.is_empty(), "the manifest names no boot file");
    Ok(paths)
}

/// Every `path` in a value.
fn collect_paths(value: &toml::Value, into: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                match value.as_str() {
                    Some(path) if key == "path" => drop(into.insert(path.to_owned())),
                    _ => collect_paths(value, into),
                }
            }
        }
        toml::Value::Array(values) => values.iter().for_each(|value| collect_paths(value, into)),
        _ => {}
    }
}

/// A first release of seeded bytes, as large as the image: no block of it helps.
fn foreign_release(programs: &Programs, new: &Release, scratch: &Path) -> Result<Release> {
    let (image, uki) = (scratch.join("foreign.img"), scratch.join("foreign.efi"));
    let mut seeded = programs.lab();
    seeded.args([
        "seeded",
        "--release",
        "99",
        "--size",
        &size_of(&new.image)?.to_string(),
    ]);
    run::capture(seeded.arg("--out").arg(&image))?;
    let root_hash = boot_file(programs, "0.9", &image, &uki)?;
    Ok(Release {
        version: "0.9".into(),
        image,
        uki,
        root_hash,
        payload_bytes: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_an_artefact_are_found_its_deltas_included() {
        let text = "kind = 'uki'\nfull = { path = 'payload/a' }\n[[delta]]\npath = 'payload/b'\n";
        let table: toml::Table = text.parse().unwrap();
        let mut paths = BTreeSet::new();
        collect_paths(&toml::Value::Table(table), &mut paths);
        assert_eq!(
            paths.into_iter().collect::<Vec<_>>(),
            ["payload/a", "payload/b"]
        );
    }
}
