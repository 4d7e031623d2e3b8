//! Images that no compressor can shrink, the same bytes on every machine, half of them found again in
//! the image before. They show that memory and time depend on neither size nor content.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The block of dm-verity here, in bytes.
const BLOCK: u64 = 4096;

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Size in bytes, a multiple of 4096
    #[arg(long)]
    size: u64,
    /// Which release of the seeded image: odd blocks differ between releases, even ones move
    #[arg(long)]
    release: u64,
    /// With a few other bytes in one block of 64, as a rebuilt program has them
    #[arg(long)]
    patched: bool,
    /// Where to write it
    #[arg(long)]
    out: PathBuf,
}

/// Writes the image.
pub(crate) fn make(args: &Args) -> Result<()> {
    if args.size == 0 || !args.size.is_multiple_of(BLOCK) {
        bail!(
            "a size of {} bytes: a multiple of {BLOCK} is needed",
            args.size
        );
    }
    let name = args.out.display();
    let file = File::create(&args.out).with_context(|| format!("cannot make {name}"))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let blocks = args.size / BLOCK;
    for block in 0..blocks {
        let mut content = block_of(args.release, block, blocks);
        if args.patched && block.is_multiple_of(PATCHED) {
            patch(&mut content);
        }
        writer
            .write_all(&content)
            .with_context(|| format!("cannot write {name}"))?;
    }
    writer
        .flush()
        .with_context(|| format!("cannot write {name}"))
}

/// One block of so many is patched: scattered, and few enough that their deltas are made in a minute.
const PATCHED: u64 = 64;

fn patch(content: &mut [u8]) {
    content
        .iter_mut()
        .step_by(512)
        .for_each(|byte| *byte ^= 0x15);
}

/// Even blocks are the same in every release but lie elsewhere, so that reuse has to find them by
/// content; odd blocks belong to one release.
fn block_of(release: u64, block: u64, blocks: u64) -> Vec<u8> {
    let seed = if block.is_multiple_of(2) {
        let evens = blocks.div_ceil(2);
        // Turning by a third keeps it a permutation whatever the number of even blocks.
        (block / 2 + release * (evens / 3)) % evens
    } else {
        mix(release ^ mix(block)) | 1 << 63
    };
    let mut state = seed;
    let mut content = Vec::with_capacity(4096);
    while content.len() < 4096 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        content.extend_from_slice(&mix(state).to_le_bytes());
    }
    content
}

/// The output function of SplitMix64: passes the usual tests of randomness and needs no state.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_patched_block_is_another_one_and_nearly_the_same() {
        let old = block_of(2, 64, 128);
        let mut new = old.clone();
        patch(&mut new);
        assert_eq!(old.iter().zip(&new).filter(|(a, b)| a != b).count(), 8);
    }

    #[test]
    fn half_of_the_next_release_lies_in_the_one_before_at_other_places() {
        let blocks = 64;
        let image = |release| -> Vec<_> {
            (0..blocks)
                .map(|block| block_of(release, block, blocks))
                .collect()
        };
        let (old, new) = (image(1), image(2));
        let known: HashSet<_> = old.iter().collect();
        assert_eq!(known.len(), 64, "every block is different");
        assert_eq!(new.iter().filter(|block| known.contains(block)).count(), 32);
        assert!(
            old.iter().zip(&new).all(|(old, new)| old != new),
            "nothing stays in place"
        );
    }
}
