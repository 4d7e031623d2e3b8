//! Small releases made on the spot, for tests that need bytes that boot and no signatures.

use twinroot_core::bootfmt::pe::{Machine as Cpu, build_uki};
use twinroot_payload::io::Fault;
use twinroot_payload::verity::{BLOCK, Superblock, TreeBuilder, TreeShape, block_hash, hex};
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

/// A release's artefacts.
#[derive(Debug, Clone)]
pub struct Release {
    /// Version.
    pub version: Version,
    /// Root image.
    pub data: Vec<u8>,
    /// Superblock and hash tree.
    pub tree: Vec<u8>,
    /// Root hash.
    pub root: Digest,
    /// Unified kernel image that carries the root hash.
    pub uki: Vec<u8>,
}

impl Release {
    /// A release of `blocks` blocks that differ from those of other versions in every second block.
    ///
    /// # Panics
    /// Where `version` is no version or `blocks` is below 2 (an image of one block has no tree).
    #[must_use]
    pub fn make(version: &str, blocks: usize) -> Self {
        let mut data = Vec::with_capacity(blocks * BLOCK);
        for number in 0..blocks {
            let shared = number % 2 == 0;
            let seed = if shared {
                format!("{number}")
            } else {
                format!("{version} {number}")
            };
            data.extend(
                Digest::of(seed.as_bytes())
                    .as_bytes()
                    .iter()
                    .cycle()
                    .take(BLOCK),
            );
        }
        let (tree, root) = tree_of(&data);
        let uki = uki(version, &root);
        let version = version.parse().expect("the caller gives a version");
        Self {
            version,
            data,
            tree,
            root,
            uki,
        }
    }

    /// Digest of its UKI.
    #[must_use]
    pub fn uki_digest(&self) -> Digest {
        Digest::of(&self.uki)
    }
}

/// Superblock, tree and root hash of an image, unsalted.
fn tree_of(data: &[u8]) -> (Vec<u8>, Digest) {
    let shape = TreeShape::for_size(data.len() as u64).expect("whole blocks, at least one");
    let mut tree = vec![0; shape.partition_bytes() as usize];
    let mut builder = TreeBuilder::new(shape, &[]).expect("no salt is short enough");
    let mut emit = |offset: u64, block: &[u8; BLOCK]| -> Result<(), Fault> {
        tree[offset as usize..offset as usize + BLOCK].copy_from_slice(block);
        Ok(())
    };
    for block in data.chunks_exact(BLOCK) {
        builder
            .push(&block_hash(&[], block), &mut emit)
            .expect("as many leaves as blocks");
    }
    let root = builder.finish(&mut emit).expect("all leaves are in");
    let superblock = Superblock::new(&shape, &[], &root).expect("no salt is short enough");
    tree[..BLOCK].copy_from_slice(&superblock.encode());
    (tree, Digest::from_bytes(root))
}

/// A UKI for a root hash, without stub: nothing that firmware could start, all that models read.
///
/// # Panics
/// Never for versions that fit a line.
#[must_use]
pub fn uki(version: &str, root: &Digest) -> Vec<u8> {
    let osrel = format!("ID=toy\nIMAGE_ID=toy\nIMAGE_VERSION={version}\n");
    let cmdline = format!("roothash={}", hex(root.as_bytes()));
    let sections: [(&str, &[u8]); 3] = [
        (".osrel", osrel.as_bytes()),
        (".cmdline", cmdline.as_bytes()),
        (".linux", b"kernel"),
    ];
    build_uki("toy", None, Cpu::X86_64, &sections).expect("three small sections always fit")
}
