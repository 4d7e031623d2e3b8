//! dm-verity hash trees as `veritysetup format` makes them: format 1, sha256, 4096-byte data and
//! hash blocks, the salt hashed before the data.
//!
//! The parameters come from the signed manifest. What the superblock on disk says is a hint for
//! finding out what a slot claims to hold and never the ground for trusting it.

mod prove;
mod shape;
mod superblock;
mod tree;

pub(crate) use prove::STREAM;
#[cfg(feature = "encode")]
pub(crate) use prove::for_each_block;
pub use prove::{TreeLeaves, check_stored_tree, root_of};
pub use shape::{BLOCKS_MAX, Level, TreeShape};
pub use superblock::{Claim, Superblock, claimed_root};
pub use tree::{Emit, TreeBuilder};

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: a leaf, a root hash, the digest of coded bytes.
pub type Hash = [u8; 32];

/// Bytes in a data block, in a hash block, and in a block of a payload. dm-verity allows others;
/// one size everywhere keeps the tree of the booted slot usable as the index for reuse.
pub const BLOCK: usize = 4096;

/// Hashes in one hash block: 4096 / 32.
pub const HASHES_PER_BLOCK: usize = BLOCK / 32;

/// Longest salt that fits the superblock's field.
pub const SALT_MAX: usize = 256;

/// The hash of one data or hash block: sha256(salt ‖ block), as dm-verity's format 1 has it.
#[must_use]
pub fn block_hash(salt: &[u8], block: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(salt);
    sha.update(block);
    sha.finalize().into()
}

/// Plain SHA-256, for digests of coded bytes and of the index.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Lower-case hex, for messages.
#[must_use]
pub fn hex(bytes: &[u8]) -> alloc::string::String {
    use core::fmt::Write as _;
    let mut out = alloc::string::String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(out, "{byte:02x}").expect("writing to a String cannot fail");
    }
    out
}
