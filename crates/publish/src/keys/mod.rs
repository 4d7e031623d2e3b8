//! Keys: their two kinds, their TUF form and id, the files they live in, and whoever signs.

mod directory;
mod public;
mod secret;
mod signer;

pub use directory::{KeyDirectory, Passphrase, check_name};
pub use public::{KeyKind, PublicKey};
pub use secret::SecretKey;
pub use signer::{CommandSigner, KeySigner, Signer};

/// Lowercase hex, the form of keys and signatures in TUF documents.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String");
            text
        })
}

/// Reads hex of either case; anything else is `None`.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
