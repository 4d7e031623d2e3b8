//! Names of files in a repository, as they may come out of signed metadata.

use twinroot_core::error::{Code, Failure};
use twinroot_ports::Outcome;

/// Refuses what could leave the repository's folder, locally or on the server (facts: target names
/// are attacker-chosen until metadata is verified, and in a foreign repository even after).
pub(super) fn check(name: &str) -> Outcome<()> {
    let part = |p: &str| {
        !p.is_empty()
            && p != "."
            && p != ".."
            && p.len() <= 255
            && !p.chars().any(|c| c.is_control() || c == '\\')
    };
    if name.len() <= 4096 && name.split('/').all(part) {
        return Ok(());
    }
    Err(Failure::new(
        Code::NameRefused,
        name.escape_debug().to_string(),
        "would leave the repository",
    ))
}

/// The name as part of a URL: names of roles arrive quoted already, so `%` stays as it is; what
/// would end the path or is no URL character at all is quoted.
pub(super) fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&byte);
        if plain {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
