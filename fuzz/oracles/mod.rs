//! What must hold for any input, beyond 'no panic'. Shared by the fuzz targets (`fuzz/fuzz_targets`) and the
//! replay of the corpus (`crates/payload/tests/corpus.rs`).
//!
//! Each function takes raw bytes and panics where a promise is broken. What is accepted is checked against
//! code of its own, written from docs/formats/payload.md: an accepted index reads the same and is written
//! back to the same bytes; an accepted segment decodes to the named digest and to what a plain decoder
//! makes of it; nothing is ever longer than declared.
#![allow(dead_code, unreachable_pub, clippy::cast_possible_truncation)]

mod delta;
mod full;
mod numbers;

pub use delta::{delta_index, difference, segment};
pub use full::full_index;

use twinroot_payload::encode::delta::erofs::files;
use twinroot_payload::verity::BLOCK;

/// Inputs beyond this teach nothing new and cost time.
const LONGEST: usize = 1 << 16;

/// The walk over an EROFS image: whatever the bytes are, what it lists lies within the image.
pub fn erofs(data: &[u8]) {
    if data.len() > LONGEST {
        return;
    }
    let mut image = data.to_vec();
    // Inputs need not carry the magic and the block size to get anywhere.
    image.resize(data.len().next_multiple_of(BLOCK).max(2 * BLOCK), 0);
    image[1024..1028].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
    image[1036] = 12;
    let Some(files) = files(&image) else { return };
    let blocks = (image.len() / BLOCK) as u32;
    let mut paths = 0;
    for file in &files {
        assert!(file.data.start <= file.data.end, "{file:?}");
        assert!(
            file.data.is_empty() || file.data.end <= blocks,
            "{file:?} leaves the image"
        );
        assert!(file.inode.start < file.inode.end, "{file:?}");
        assert!(
            file.path.len() <= 4096,
            "a path of {} bytes",
            file.path.len()
        );
        let mut names = file.path.split(|byte| *byte == b'/');
        assert!(
            file.path.is_empty() || names.all(|name| name != b"." && name != b".."),
            "{file:?}"
        );
        paths += file.path.len();
    }
    assert!(files.len() <= 1 << 20 && paths <= 128 << 20);
}
