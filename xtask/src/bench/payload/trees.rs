//! ostree: static deltas between file trees. It does other work than writing a partition: it adds objects
//! to a repository and links what did not change, so its times are no measure for ours; its bytes are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::chunked::row;
use super::keep::Kept;
use super::pair::Pair;
use super::peer::{run_all, today, version_of};
use super::row::{Applied, Made, Row, peak_kib};
use crate::bench::reference::size_of;
use crate::run;

/// A static delta in one file, applied to a repository that has the old commit.
pub fn ostree(pair: &Pair, kept: &Kept, scratch: &Path) -> Result<Row> {
    let version = version_of("ostree")?;
    let [old, new] = &pair.digests;
    let (folder, made, fresh) = kept.get("ostree", &[&version, old, new], |folder| {
        let repo = folder.join("archive");
        run::capture(ostree_in(&repo).args(["init", "--mode=archive"]))?;
        for (branch, image) in [("old", &pair.old), ("new", &pair.new)] {
            let tree = extract(image, scratch)?;
            let mut commit = ostree_in(&repo);
            commit.args([
                "commit",
                "--timestamp=2024-01-01 00:00:00Z",
                "-s",
                branch,
                "-b",
                branch,
            ]);
            run::capture(commit.arg(format!("--tree=dir={}", tree.display())))?;
            std::fs::remove_dir_all(tree).context("cannot remove a tree")?;
        }
        let mut generate = ostree_in(&repo);
        // Everything in one file and nothing left to be fetched object by object.
        generate.args([
            "static-delta",
            "generate",
            "--inline",
            "--min-fallback-size=0",
        ]);
        generate.args(["--from=old", "--to=new"]);
        generate.arg(format!("--filename={}", folder.join("delta").display()));
        let steps = run_all(vec![generate])?;
        Ok(Made {
            bytes: size_of(&folder.join("delta"))?,
            requests: 1,
            cpu_s: Some(steps.iter().map(|step| step.cpu.as_secs_f64()).sum()),
            rss_kib: Some(peak_kib(&steps)),
            day: today(),
        })
    })?;
    let node = scratch.join("ostree-node");
    run::capture(ostree_in(&node).args(["init", "--mode=bare-user"]))?;
    run::capture(
        ostree_in(&node)
            .arg("pull-local")
            .arg(folder.join("archive"))
            .arg("old"),
    )?;
    let mut apply = ostree_in(&node);
    apply
        .args(["static-delta", "apply-offline"])
        .arg(folder.join("delta"));
    let steps = run_all(vec![apply])?;
    // The commit must be there and whole; the file tree is ostree's own to prove.
    let commit = run::capture(ostree_in(&folder.join("archive")).args(["rev-parse", "new"]))?;
    run::capture(ostree_in(&node).args(["ls", "-R", commit.trim()]))?;
    std::fs::remove_dir_all(&node).context("cannot remove a repository")?;
    let note = "file trees, not images: it adds objects to a repository and writes no partition";
    let temp = size_of(&folder.join("delta"))?;
    Ok(row(
        pair,
        "ostree-static-delta",
        (version, made, fresh),
        Some(Applied::of(&steps, temp)),
        note,
    ))
}

fn ostree_in(repo: &Path) -> Command {
    let mut command = Command::new("ostree");
    command.arg(format!("--repo={}", repo.display()));
    command
}

/// The files of an EROFS image.
pub(super) fn extract(image: &Path, scratch: &Path) -> Result<PathBuf> {
    let tree = scratch.join("tree");
    let mut fsck = Command::new("fsck.erofs");
    fsck.arg(format!("--extract={}", tree.display())).arg(image);
    run::capture(&mut fsck)?;
    Ok(tree)
}
