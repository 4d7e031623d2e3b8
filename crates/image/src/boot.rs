//! The boot image: kernel, initramfs, command line and the image's word of itself in one file that
//! firmware starts and one signature covers.

use std::path::{Path, PathBuf};

use twinroot_core::bootfmt::pe::{self, Machine, build_uki};
use twinroot_core::error::{Code, Failure};
use twinroot_trust::digest::Digest;

use crate::Outcome;
use crate::files;

/// Where the distribution's packages have stub and loader.
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// The longest command line that the kernel takes (`COMMAND_LINE_SIZE` on x86-64).
const CMDLINE_MAX: usize = 2048;

/// What goes into a UKI.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Unpacked packages with stub and kernel.
    pub pool: &'a Path,
    /// Release of the kernel.
    pub kernel: &'a str,
    /// `os-release`.
    pub os_release: &'a str,
    /// Root hash of the image.
    pub root_hash: &'a Digest,
    /// More words of the command line.
    pub cmdline: &'a [String],
    /// The initramfs.
    pub initramfs: &'a [u8],
}

/// The loader of the packages.
#[must_use]
pub fn loader(pool: &Path) -> PathBuf {
    pool.join(LOADER)
}

/// The command line.
///
/// # Errors
/// `config-value` where it is too long or a word would be a second root hash.
pub fn cmdline(root_hash: &Digest, words: &[String]) -> Outcome<String> {
    let line = format!("roothash={root_hash} {}", words.join(" "));
    let line = line.trim_end().to_owned();
    // The same reading as the node's: exactly one root hash.
    pe::root_hash("boot.cmdline", &line)?;
    if line.len() >= CMDLINE_MAX {
        let cause = format!(
            "it has {} bytes, the kernel takes {}",
            line.len(),
            CMDLINE_MAX - 1
        );
        return Err(Failure::new(Code::ConfigValue, "boot.cmdline", cause));
    }
    Ok(line)
}

/// The UKI, unsigned.
///
/// # Errors
/// `file-io` for stub and kernel, `config-value` for the command line, `uki-invalid` for a stub that is
/// none.
pub fn uki(parts: &Parts<'_>) -> Outcome<Vec<u8>> {
    let stub = files::read(&parts.pool.join(STUB))?;
    let kernel = files::read(
        &parts
            .pool
            .join("boot")
            .join(format!("vmlinuz-{}", parts.kernel)),
    )?;
    let line = cmdline(parts.root_hash, parts.cmdline)?;
    // .linux last (see `build_uki`).
    let sections: [(&str, &[u8]); 5] = [
        (".osrel", parts.os_release.as_bytes()),
        (".cmdline", line.as_bytes()),
        (".uname", parts.kernel.as_bytes()),
        (".initrd", parts.initramfs),
        (".linux", &kernel),
    ];
    build_uki("UKI", Some(&stub), Machine::X86_64, &sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_root_hash_or_an_endless_line_is_refused() {
        let hash = Digest::from_bytes([7; 32]);
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            cmdline(&hash, &words(&["panic=10", "quiet"])).unwrap(),
            format!("roothash={hash} panic=10 quiet")
        );
        assert!(cmdline(&hash, &words(&["usrhash=00"])).is_err());
        assert!(cmdline(&hash, &words(&[&"x".repeat(2000)])).is_err());
    }
}
