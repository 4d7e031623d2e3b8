//! Peers that cut images into chunks: casync, zchunk, and the block index of RAUC's adaptive updates.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::keep::Kept;
use super::pair::Pair;
use super::peer::{run_all, today, version_of};
use super::row::{Applied, Made, Row, peak_kib};
use super::same_bytes;
use crate::bench::reference::{chunks, digest, each_block, size_of};
use crate::run;

/// casync with chunks of 64 KiB on average, its default, and the old image as seed.
pub fn casync(pair: &Pair, kept: &Kept, scratch: &Path) -> Result<Row> {
    let version = version_of("casync")?;
    let [old, new] = &pair.digests;
    let (folder, made, fresh) = kept.get("casync", &[&version, old, new], |folder| {
        let steps = run_all(vec![casync_make(folder, &pair.new)])?;
        let before = scratch.join("casync-before");
        std::fs::create_dir_all(&before).context("cannot make a folder")?;
        run::capture(&mut casync_make(&before, &pair.old))?;
        // A chunk that the seed holds as well is not transferred; every other one is one request.
        let (mut bytes, mut requests) = (size_of(&folder.join("new.caibx"))?, 1);
        for (name, size) in chunks(&folder.join("new.castr"))? {
            if !before.join("new.castr").join(name).is_file() {
                bytes += size;
                requests += 1;
            }
        }
        std::fs::remove_dir_all(before).context("cannot remove a chunk store")?;
        Ok(Made {
            bytes,
            requests,
            cpu_s: Some(steps.iter().map(|step| step.cpu.as_secs_f64()).sum()),
            rss_kib: Some(peak_kib(&steps)),
            day: today(),
        })
    })?;
    let out = scratch.join("casync.out");
    let mut extract = Command::new("casync");
    extract
        .arg("extract")
        .arg(with("--store=", &folder.join("new.castr")));
    extract
        .arg(with("--seed=", &pair.old))
        .arg(folder.join("new.caibx"))
        .arg(&out);
    let steps = run_all(vec![extract])?;
    same_bytes(&pair.new, &out, "casync")?;
    std::fs::remove_file(&out).context("cannot remove the output")?;
    let note = "chunks of 64 KiB; the store is local, so that no request takes time";
    Ok(row(
        pair,
        "casync",
        (version, made, fresh),
        Some(Applied::of(&steps, 0)),
        note,
    ))
}

fn casync_make(folder: &Path, image: &Path) -> Command {
    let mut make = Command::new("casync");
    make.arg("make")
        .arg(with("--store=", &folder.join("new.castr")));
    make.arg(folder.join("new.caibx")).arg(image);
    make
}

fn with(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display())
}

/// zchunk: what its own tool says would be downloaded.
pub fn zchunk(pair: &Pair, kept: &Kept, scratch: &Path) -> Result<Row> {
    let version = version_of("zchunk")?;
    let [old, new] = &pair.digests;
    let (folder, made, fresh) = kept.get("zchunk", &[&version, old, new], |folder| {
        let steps = run_all(vec![zck(&pair.new, &folder.join("new.zck"))])?;
        let before = scratch.join("old.zck");
        run::capture(&mut zck(&pair.old, &before))?;
        let mut ask = Command::new("zck_delta_size");
        ask.arg(&before).arg(folder.join("new.zck"));
        let said = run::capture(&mut ask)?;
        std::fs::remove_file(before).context("cannot remove a file")?;
        let (bytes, requests) = would_download(&said)
            .with_context(|| format!("zck_delta_size said '{said}', which gives no size"))?;
        Ok(Made {
            bytes,
            requests,
            cpu_s: Some(steps.iter().map(|step| step.cpu.as_secs_f64()).sum()),
            rss_kib: Some(peak_kib(&steps)),
            day: today(),
        })
    })?;
    let out = scratch.join("zchunk.out");
    let mut unpack = Command::new("sh");
    unpack.args(["-c", "exec unzck -c \"$1\" >\"$2\"", "sh"]);
    unpack.arg(folder.join("new.zck")).arg(&out);
    let steps = run_all(vec![unpack])?;
    same_bytes(&pair.new, &out, "zchunk")?;
    std::fs::remove_file(&out).context("cannot remove the output")?;
    let note = "requests: chunks that differ, of which a server may take several at once; \
        applying is `unzck` of the whole file, which it has to store";
    let temp = size_of(&folder.join("new.zck"))?;
    Ok(row(
        pair,
        "zchunk",
        (version, made, fresh),
        Some(Applied::of(&steps, temp)),
        note,
    ))
}

fn zck(image: &Path, out: &Path) -> Command {
    let mut zck = Command::new("zck");
    zck.arg("-o").arg(out).arg(image);
    zck
}

/// `Would download 28151 of 2902310 bytes` and `Matched 69 of 70 chunks`: bytes, and chunks that differ.
fn would_download(said: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.parse::<u64>().ok();
    let bytes = said
        .lines()
        .find_map(|line| number(line.strip_prefix("Would download ")?.split(' ').next()?))?;
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("Matched "))?;
    let mut words = line.split(' ');
    let (matched, all) = (number(words.next()?)?, number(words.nth(1)?)?);
    Some((bytes, all.checked_sub(matched)? + 1))
}

/// The block of RAUC's index, in bytes.
const BLOCK: usize = 4096;
/// The compressed block of the bundle's squashfs, in bytes.
const CLUSTER: usize = 64 << 10;
/// A SHA-256 for each block.
const INDEX_ENTRY: u64 = 32;

/// RAUC's adaptive update (`block-hash-index`), computed: an index of 32 bytes for each 4 KiB block, and
/// each 64 KiB block of a squashfs (zstd -19) in which any block is missing. Its own program needs a kernel
/// with nbd.
pub fn rauc(pair: &Pair, kept: &Kept, scratch: &Path) -> Result<Row> {
    let version = format!("computed, zstd {}", version_of("zstd")?);
    let [old, new] = &pair.digests;
    let (_, made, fresh) = kept.get("rauc", &[&version, old, new], |_| {
        let folder = scratch.join("rauc");
        std::fs::create_dir_all(&folder).context("cannot make a folder")?;
        let (blocks, clusters) = missing_clusters(&pair.old, &pair.new, &folder)?;
        let mut pack = Command::new("zstd");
        pack.args(["-19", "-q", "--rm", "-r"]).arg(&folder);
        run::quiet(&mut pack)?;
        let mut bytes = blocks * INDEX_ENTRY;
        for file in std::fs::read_dir(&folder).context("cannot list a folder")? {
            bytes += file?.metadata()?.len();
        }
        std::fs::remove_dir_all(&folder).context("cannot remove a folder")?;
        Ok(Made {
            bytes,
            requests: clusters + 1,
            cpu_s: None,
            rss_kib: None,
            day: today(),
        })
    })?;
    let note = "computed: index and the 64 KiB blocks of a squashfs (zstd -19) that hold a missing block; \
        requests: those blocks, of which neighbours may be taken at once";
    Ok(row(
        pair,
        "rauc-block-index",
        (version, made, fresh),
        None,
        note,
    ))
}

/// Writes each cluster of `new` that holds a block which `old` lacks into `folder`: (blocks of the new
/// image, clusters written).
fn missing_clusters(old: &Path, new: &Path, folder: &Path) -> Result<(u64, u64)> {
    let mut known = HashSet::from([digest(&[0; BLOCK])]);
    each_block(old, |block| {
        known.insert(digest(block));
        Ok(())
    })?;
    let (mut blocks, mut clusters) = (0, 0);
    let (mut cluster, mut missing) = (Vec::with_capacity(CLUSTER), false);
    let mut flush = |cluster: &mut Vec<u8>, missing: &mut bool| -> Result<()> {
        if std::mem::take(missing) {
            clusters += 1;
            let file: PathBuf = folder.join(format!("{clusters}"));
            std::fs::write(&file, &*cluster).context("cannot write a cluster")?;
        }
        cluster.clear();
        Ok(())
    };
    each_block(new, |block| {
        blocks += 1;
        missing |= !known.contains(&digest(block));
        cluster.extend_from_slice(block);
        if cluster.len() == CLUSTER {
            flush(&mut cluster, &mut missing)?;
        }
        Ok(())
    })?;
    flush(&mut cluster, &mut missing)?;
    Ok((blocks, clusters))
}

/// A row of a tool whose apply was measured once, warm.
pub(super) fn row(
    pair: &Pair,
    tool: &str,
    (version, made, fresh): (String, Made, bool),
    warm: Option<Applied>,
    note: &str,
) -> Row {
    Row {
        pair: pair.kind.name.into(),
        format: pair.format.name().into(),
        tool: tool.into(),
        version,
        made,
        fresh,
        warm,
        cold: None,
        note: note.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zchunk_says_is_read() {
        let said = "Would download 28151 of 2902310 bytes\nMatched 69 of 70 chunks\n";
        assert_eq!(would_download(said), Some((28151, 2)));
        assert_eq!(would_download("nothing\n"), None);
    }

    #[test]
    fn a_cluster_with_one_missing_block_is_fetched_whole_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new, out) = (
            dir.path().join("old"),
            dir.path().join("new"),
            dir.path().join("out"),
        );
        std::fs::create_dir(&out).unwrap();
        let per_cluster = CLUSTER / BLOCK;
        let image = |marks: &[usize]| -> Vec<u8> {
            (0..3 * per_cluster)
                .flat_map(|block| {
                    [if marks.contains(&block) {
                        200
                    } else {
                        (block % 40) as u8
                    }; BLOCK]
                })
                .collect()
        };
        std::fs::write(&old, image(&[])).unwrap();
        std::fs::write(&new, image(&[per_cluster + 3])).unwrap();
        assert_eq!(missing_clusters(&old, &new, &out).unwrap(), (48, 1));
        assert_eq!(std::fs::read(out.join("1")).unwrap().len(), CLUSTER);
    }
}
