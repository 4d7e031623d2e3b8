//! Other tools for the same job, as a list of data: how each makes its patch, and how it applies it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::keep::Kept;
use super::pair::Pair;
use super::row::{Applied, Made, Row, peak_kib};
use super::same_bytes;
use crate::bench::reference::{drop_cache, size_of};
use crate::bench::usage::{self, Usage};
use crate::run;

/// The files that a recipe speaks of.
#[derive(Debug)]
pub struct Files<'a> {
    /// The image that the node has.
    pub old: &'a Path,
    /// The image that it gets.
    pub new: &'a Path,
    /// The patch that is fetched.
    pub patch: PathBuf,
    /// Where the node writes.
    pub out: PathBuf,
    /// For whatever lies between, in its own folder.
    pub between: PathBuf,
}

/// A tool that makes one file out of two images and the new image out of that file.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// As rows name it.
    pub tool: &'static str,
    /// The Debian package that it comes from; its version is the tool's.
    pub package: &'static str,
    /// The commands of the publisher.
    pub make: fn(&Files<'_>) -> Vec<Command>,
    /// The commands of the node.
    pub apply: fn(&Files<'_>) -> Vec<Command>,
    /// Reads its patch from a pipe, so that it need not be stored.
    pub streams: bool,
    /// Unpacks the patch to a file in between.
    pub unpacks: bool,
    /// What a reader has to know.
    pub note: &'static str,
}

/// Single-file peers. `-19` everywhere where zstd is used, so that tools differ and not levels; one thread
/// each, since threads cut the input and cost size.
pub const PEERS: &[Peer] = &[
    Peer {
        tool: "full-zstd-19",
        package: "zstd",
        make: |f| {
            vec![command(
                "zstd",
                &["-19", "--single-thread", "-q", "-f"],
                &[f.new, "-o".as_ref(), &f.patch],
            )]
        },
        apply: |f| {
            vec![command(
                "zstd",
                &["-d", "-q", "-f"],
                &[&f.patch, "-o".as_ref(), &f.out],
            )]
        },
        streams: true,
        unpacks: false,
        note: "",
    },
    Peer {
        tool: "full-xz",
        package: "xz-utils",
        make: |f| vec![shell("xz -9 -T1 -k -c \"$1\" >\"$2\"", &[f.new, &f.patch])],
        apply: |f| vec![shell("exec xz -d -c \"$1\" >\"$2\"", &[&f.patch, &f.out])],
        streams: true,
        unpacks: false,
        note: "",
    },
    Peer {
        tool: "zstd-patch-from",
        package: "zstd",
        make: |f| {
            vec![command(
                "zstd",
                &[
                    "-19",
                    "--single-thread",
                    "--long=31",
                    "-q",
                    "-f",
                    "--patch-from",
                ],
                &[f.old, f.new, "-o".as_ref(), &f.patch],
            )]
        },
        apply: |f| {
            vec![command(
                "zstd",
                &[
                    "-d",
                    "--long=31",
                    "--memory=2048MB",
                    "-q",
                    "-f",
                    "--patch-from",
                ],
                &[f.old, &f.patch, "-o".as_ref(), &f.out],
            )]
        },
        streams: true,
        unpacks: false,
        note: "memory includes the old image, which it maps",
    },
    Peer {
        tool: "xdelta3",
        package: "xdelta3",
        make: |f| {
            vec![command(
                "xdelta3",
                &["-e", "-9", "-f", "-s"],
                &[f.old, f.new, &f.patch],
            )]
        },
        apply: |f| {
            vec![command(
                "xdelta3",
                &["-d", "-f", "-s"],
                &[f.old, &f.patch, &f.out],
            )]
        },
        streams: true,
        unpacks: false,
        note: "",
    },
    Peer {
        tool: "bsdiff",
        package: "bsdiff",
        make: |f| vec![command("bsdiff", &[], &[f.old, f.new, &f.patch])],
        apply: |f| vec![command("bspatch", &[], &[f.old, &f.out, &f.patch])],
        streams: false,
        unpacks: false,
        note: "",
    },
    Peer {
        tool: "rdiff",
        package: "rdiff",
        make: |f| {
            let signature = f.between.with_extension("sig");
            vec![
                command(
                    "rdiff",
                    &["-f", "-b", "4096", "signature"],
                    &[f.old, &signature],
                ),
                command("rdiff", &["-f", "delta"], &[&signature, f.new, &f.between]),
                command(
                    "zstd",
                    &["-19", "--single-thread", "-q", "-f", "--rm"],
                    &[&f.between, "-o".as_ref(), &f.patch],
                ),
            ]
        },
        apply: |f| {
            vec![
                command(
                    "zstd",
                    &["-d", "-q", "-f"],
                    &[&f.patch, "-o".as_ref(), &f.between],
                ),
                command("rdiff", &["-f", "patch"], &[f.old, &f.between, &f.out]),
            ]
        },
        streams: false,
        unpacks: true,
        note: "blocks of 4096 bytes, its delta compressed with zstd -19",
    },
];

fn command(program: &str, words: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(program);
    command.args(words).args(paths);
    command
}

/// For tools that write to their standard output only.
fn shell(script: &str, paths: &[&Path]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(paths);
    command
}

impl Peer {
    /// The peer named so.
    pub fn named(tool: &str) -> Result<&'static Self> {
        let found = PEERS.iter().find(|peer| peer.tool == tool);
        found.with_context(|| format!("there is no peer '{tool}'"))
    }

    /// The patch that was made in this run or an earlier one.
    pub fn patch(&self, pair: &Pair, kept: &Kept) -> Result<PathBuf> {
        let version = version_of(self.package)?;
        let [old, new] = &pair.digests;
        let patch = kept
            .folder_of(self.tool, &[&version, old, new])
            .join("patch");
        if !patch.is_file() {
            bail!("{} has made nothing for this pair", self.tool);
        }
        Ok(patch)
    }

    /// Makes the patch or takes the kept one, applies it warm and cold, and compares what came out.
    pub fn measure(&self, pair: &Pair, kept: &Kept, scratch: &Path) -> Result<Row> {
        let version = version_of(self.package)?;
        let [old, new] = &pair.digests;
        let (folder, made, fresh) = kept.get(self.tool, &[&version, old, new], |folder| {
            let steps = run_all((self.make)(&files(pair, folder, scratch)))?;
            Ok(Made {
                bytes: size_of(&folder.join("patch"))?,
                requests: 1,
                cpu_s: Some(steps.iter().map(|step| step.cpu.as_secs_f64()).sum()),
                rss_kib: Some(peak_kib(&steps)),
                day: today(),
            })
        })?;
        let files = files(pair, &folder, scratch);
        let warm = self.apply(&files)?;
        for input in [files.old, &files.patch] {
            drop_cache(input)?;
        }
        let cold = self.apply(&files)?;
        Ok(Row {
            pair: pair.kind.name.into(),
            format: pair.format.name().into(),
            tool: self.tool.into(),
            version,
            made,
            fresh,
            warm: Some(warm),
            cold: Some(cold),
            note: self.note.into(),
        })
    }

    fn apply(&self, files: &Files<'_>) -> Result<Applied> {
        let steps = run_all((self.apply)(files))?;
        same_bytes(files.new, &files.out, self.tool)?;
        let mut temp = if self.streams {
            0
        } else {
            size_of(&files.patch)?
        };
        if self.unpacks {
            temp += size_of(&files.between)?;
            std::fs::remove_file(&files.between).context("cannot remove what lay between")?;
        }
        std::fs::remove_file(&files.out).context("cannot remove the output")?;
        Ok(Applied::of(&steps, temp))
    }
}

fn files<'a>(pair: &'a Pair, folder: &Path, scratch: &Path) -> Files<'a> {
    Files {
        old: &pair.old,
        new: &pair.new,
        patch: folder.join("patch"),
        out: scratch.join("peer.out"),
        between: scratch.join("peer.between"),
    }
}

/// Runs the commands one after the other.
pub fn run_all(commands: Vec<Command>) -> Result<Vec<Usage>> {
    commands
        .into_iter()
        .map(|mut command| usage::measure(&mut command))
        .collect()
}

/// The version of a Debian package.
pub fn version_of(package: &str) -> Result<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Version}", package]);
    let version = run::capture(&mut query)?.trim().to_owned();
    if version.is_empty() {
        bail!("the package {package} is not installed");
    }
    Ok(version)
}

/// Today's date.
pub fn today() -> String {
    run::capture(Command::new("date").args(["-u", "+%F"]))
        .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}
