//! The slot's content: the tree as a file system, and the hash tree over it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use twinroot_core::error::Failure;
use twinroot_payload::io::Fault;
use twinroot_payload::verity::{BLOCK, Superblock, TreeBuilder, TreeShape, block_hash};
use twinroot_trust::digest::Digest;

use crate::Outcome;
use crate::files;
use crate::recipe::Format;
use crate::tool::Tool;

/// Everything under the same UUID: the root hash tells images apart.
const UUID: &str = "5e2d2c1a-7477-4696-8e72-6f6f74000001";

/// The distribution's own loader of programs, its libraries, and its tool for EROFS, so that the tool
/// counts as an input of the build and not as a property of the machine that builds.
const LD: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const MKFS: &str = "usr/bin/mkfs.erofs";

/// Writes the tree as an image. Every time in it is `built`.
///
/// # Errors
/// `tool-failed`, `disk-full`.
pub fn image(pool: &Path, tree: &Path, built: u64, format: Format, out: &Path) -> Outcome<u64> {
    files::remove(out)?;
    let compression: &[&str] = match format {
        Format::Erofs => &[],
        Format::ErofsLz4hc => &["-zlz4hc,9"],
    };
    Tool::new(pool.join(LD))
        .arg("--library-path")
        .arg(pool.join(LIBRARIES))
        .arg(pool.join(MKFS))
        .args([
            "--quiet",
            "-b4096",
            &format!("-T{built}"),
            &format!("-U{UUID}"),
        ])
        .args(compression)
        .arg(out)
        .arg(tree)
        .run()?;
    Ok(files::metadata(out)?.len())
}

/// Computes the hash tree of an image and writes it as a slot's tree partition has it; gives the root
/// hash.
///
/// # Errors
/// `payload-image-size`, `file-io`, `disk-full`.
pub fn hash_tree(image: &Path, salt: &[u8], out: &Path) -> Outcome<Digest> {
    let lower = |error: twinroot_payload::error::Error| {
        Failure::from_code(error.code(), image.display().to_string(), error.to_string())
    };
    let file = File::open(image).map_err(|error| files::failed(image, "open", &error))?;
    let size = file
        .metadata()
        .map_err(|error| files::failed(image, "look at", &error))?
        .len();
    let shape = TreeShape::for_size(size).map_err(lower)?;
    files::write(out, "")?;
    let tree = File::options()
        .write(true)
        .open(out)
        .map_err(|error| files::failed(out, "open", &error))?;
    let mut emit = |offset: u64, block: &[u8; BLOCK]| {
        tree.write_all_at(block, offset)
            .map_err(|error| Fault::disk(error.to_string()))
    };
    let mut builder = TreeBuilder::new(shape, salt).map_err(lower)?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut block = [0; BLOCK];
    for _ in 0..shape.data_blocks() {
        reader
            .read_exact(&mut block)
            .map_err(|error| files::failed(image, "read", &error))?;
        builder
            .push(&block_hash(salt, &block), &mut emit)
            .map_err(lower)?;
    }
    let root = builder.finish(&mut emit).map_err(lower)?;
    let superblock = Superblock::new(&shape, salt, &root).map_err(lower)?;
    tree.write_all_at(&superblock.encode(), 0)
        .map_err(|error| files::failed(out, "write", &error))?;
    Ok(Digest::from_bytes(root))
}
