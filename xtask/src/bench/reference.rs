//! What other tools need for the same job, measured in the same run. Nothing here uses our own code.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::usage::{self, Usage};
use crate::run;

/// The block of the images and of dm-verity here, in bytes.
const BLOCK: usize = 4096;
/// The group in which missing blocks are compressed, in bytes: the same as a full payload's segment.
const GROUP: usize = 4 << 20;

/// Bytes of `image` as one `zstd -19` stream, kept in `into` for later decoding.
pub fn zstd_stream(image: &Path, into: &Path) -> Result<u64> {
    // One thread: more would cut the stream into jobs and cost a little size.
    let mut command = Command::new("zstd");
    command
        .args(["-19", "--single-thread", "-q", "-f"])
        .arg(image)
        .arg("-o")
        .arg(into);
    run::quiet(&mut command)?;
    size_of(into)
}

/// The blocks of `target` that lie nowhere in `base`, each once, zero blocks aside, compressed with
/// `zstd -19` in groups of 4 MiB: (number of blocks, compressed bytes).
pub fn missing_blocks(base: &Path, target: &Path) -> Result<(u64, u64)> {
    let mut known = HashSet::from([digest(&[0; BLOCK])]);
    each_block(base, |block| {
        known.insert(digest(block));
        Ok(())
    })?;
    let (mut blocks, mut bytes) = (0, 0);
    let mut group = Vec::with_capacity(GROUP);
    each_block(target, |block| {
        if known.insert(digest(block)) {
            blocks += 1;
            group.extend_from_slice(block);
            if group.len() == GROUP {
                bytes += zstd_size(&group)?;
                group.clear();
            }
        }
        Ok(())
    })?;
    if !group.is_empty() {
        bytes += zstd_size(&group)?;
    }
    Ok((blocks, bytes))
}

/// SHA-256 of a block.
pub(super) fn digest(block: &[u8]) -> [u8; 32] {
    Sha256::digest(block).into()
}

/// Hands each whole block of `image` to `each`, in order.
pub(super) fn each_block(image: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let file = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
    let blocks = file.metadata()?.len() / BLOCK as u64;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut block = [0; BLOCK];
    for _ in 0..blocks {
        reader
            .read_exact(&mut block)
            .with_context(|| format!("cannot read {}", image.display()))?;
        each(&block)?;
    }
    Ok(())
}

/// Size of `data` after `zstd -19`, by the tool itself.
fn zstd_size(data: &[u8]) -> Result<u64> {
    let mut child = Command::new("zstd")
        .args(["-19", "-q", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start zstd")?;
    let mut stdin = child.stdin.take().context("zstd has no standard input")?;
    let output = std::thread::scope(|scope| {
        let write = scope.spawn(move || stdin.write_all(data));
        let output = child.wait_with_output();
        write
            .join()
            .expect("writing to a pipe does not panic")
            .context("cannot feed zstd")?;
        output.context("cannot wait for zstd")
    })?;
    if !output.status.success() {
        bail!("zstd -19 failed ({})", output.status);
    }
    Ok(output.stdout.len() as u64)
}

/// CPU time of the separate tools that together do what staging a full payload does: decode, hash
/// twice, write and flush, read back past the cache. Each part is named with its own time.
pub fn stage_by_tools(
    compressed: &Path,
    image: &Path,
    scratch: &Path,
) -> Result<Vec<(&'static str, Duration)>> {
    let written = scratch.join("written-by-tools");
    let mut parts = Vec::new();
    let mut part = |name, command: &mut Command| -> Result<()> {
        parts.push((name, usage::measure(command)?.cpu));
        Ok(())
    };
    part(
        "zstd -d",
        Command::new("zstd")
            .args(["-d", "-q", "-c"])
            .arg(compressed)
            .stderr(Stdio::inherit()),
    )?;
    for _ in 0..2 {
        part(
            "openssl dgst -sha256",
            Command::new("openssl").args(["dgst", "-sha256"]).arg(image),
        )?;
    }
    let of = format!("of={}", written.display());
    let mut write = Command::new("dd");
    write.args([
        format!("if={}", image.display()),
        of,
        "bs=1M".into(),
        "conv=fsync".into(),
        "status=none".into(),
    ]);
    part("write and flush (dd)", &mut write)?;
    drop_cache(&written)?;
    let mut read = Command::new("dd");
    read.args([
        format!("if={}", written.display()),
        "of=/dev/null".into(),
        "bs=1M".into(),
        "status=none".into(),
    ]);
    part("read back (dd)", &mut read)?;
    std::fs::remove_file(&written).context("cannot remove what dd wrote")?;
    Ok(parts)
}

/// Makes the kernel forget the pages of a flushed file.
pub fn drop_cache(file: &Path) -> Result<()> {
    let of = format!("of={}", file.display());
    run::quiet(Command::new("dd").args([
        &of,
        "oflag=nocache",
        "conv=notrunc,fdatasync",
        "count=0",
        "status=none",
    ]))
}

/// What `casync` transfers from a chunk store to get `target` with `base` as seed: (bytes, requests).
/// Chunks of 64 KiB on average, its default.
pub fn casync_bytes(base: &Path, target: &Path, scratch: &Path) -> Result<(u64, u64)> {
    let index_of = |image: &Path, name: &str| -> Result<(PathBuf, PathBuf)> {
        let (store, index) = (
            scratch.join(format!("{name}.castr")),
            scratch.join(format!("{name}.caibx")),
        );
        let mut make = Command::new("casync");
        make.arg("make")
            .arg(format!("--store={}", store.display()))
            .arg(&index)
            .arg(image);
        run::capture(&mut make)?;
        Ok((store, index))
    };
    let (base_store, _) = index_of(base, "base")?;
    let (target_store, target_index) = index_of(target, "target")?;
    // A chunk that the seed holds as well is not transferred; every other one is one request.
    let (mut bytes, mut requests) = (size_of(&target_index)?, 1);
    for (name, size) in chunks(&target_store)? {
        if !base_store.join(&name).is_file() {
            bytes += size;
            requests += 1;
        }
    }
    for path in [&base_store, &target_store] {
        std::fs::remove_dir_all(path)
            .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok((bytes, requests))
}

/// Chunk files of a store, below its folders of four hex digits: (relative name, size).
pub(super) fn chunks(store: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for folder in
        std::fs::read_dir(store).with_context(|| format!("cannot list {}", store.display()))?
    {
        let folder = folder?;
        for chunk in std::fs::read_dir(folder.path())? {
            let chunk = chunk?;
            found.push((
                PathBuf::from(folder.file_name()).join(chunk.file_name()),
                chunk.metadata()?.len(),
            ));
        }
    }
    if found.is_empty() {
        bail!("casync left no chunks in {}", store.display());
    }
    Ok(found)
}

/// Root hash of `image` as the kernel's own tool computes it.
pub fn veritysetup_root(image: &Path, salt: &str, scratch: &Path) -> Result<String> {
    let tree = scratch.join("veritysetup.tree");
    let mut format = Command::new("veritysetup");
    format
        .args(["format", "--salt", salt])
        .arg(image)
        .arg(&tree);
    let output = run::capture(&mut format)?;
    std::fs::remove_file(&tree).context("cannot remove veritysetup's tree")?;
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"));
    Ok(line
        .context("veritysetup printed no root hash")?
        .trim()
        .to_owned())
}

/// Size of a file in bytes.
pub fn size_of(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path)
        .with_context(|| format!("cannot look at {}", path.display()))?
        .len())
}

/// The sum of the parts' CPU times.
pub fn total(parts: &[(&'static str, Duration)]) -> Duration {
    parts.iter().map(|(_, cpu)| *cpu).sum()
}

/// Keeps a usage for the report's notes.
pub fn describe(usage: &Usage) -> String {
    format!(
        "{} wall, {} CPU",
        run::seconds(usage.wall),
        run::seconds(usage.cpu)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_that_lie_nowhere_in_the_base_are_missing() {
        if !run::have("zstd") {
            println!("SKIP zstd is not installed");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (base, target) = (dir.path().join("base"), dir.path().join("target"));
        let block = |byte: u8| [byte; BLOCK];
        std::fs::write(&base, [block(1), block(2), block(3)].concat()).unwrap();
        // Moved, zero, new, new again: one is missing.
        std::fs::write(&target, [block(3), block(0), block(9), block(9)].concat()).unwrap();
        let (blocks, bytes) = missing_blocks(&base, &target).unwrap();
        assert_eq!(blocks, 1);
        assert!((1..200).contains(&bytes), "{bytes}");
    }
}
