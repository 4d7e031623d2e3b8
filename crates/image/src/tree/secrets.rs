//! A private key in an image is one that every host of a release has, and that anybody who gets the release can
//! read.

use std::io::Read;
use std::path::Path;

use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;

/// Bytes of a file that are looked at: the first line of a key is 40 at the most.
const HEAD: u64 = 64;

/// Removes what the scripts of packages make once for each host; a host makes its own.
pub(super) fn forget(root: &Path) -> Outcome<()> {
    let folder = root.join("etc/ssh");
    if !folder.is_dir() {
        return Ok(());
    }
    for path in files::list(&folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if files::matches("ssh_host_*_key", &name) || files::matches("ssh_host_*_key.pub", &name) {
            files::remove(&path)?;
        }
    }
    Ok(())
}

/// Refuses a tree with a private key in it, wherever it came from.
///
/// # Errors
/// `input-file-invalid` with the first one's path.
pub(super) fn refuse(root: &Path) -> Outcome<()> {
    match private_keys(root)?.into_iter().next() {
        None => Ok(()),
        Some(path) => {
            let cause = "it is a private key, and every host of the release would have it";
            Err(Failure::new(Code::InputFileInvalid, path, cause)
                .with_remedy("take it out of the package (prune.paths), overlay or configuration that brings it"))
        }
    }
}

/// Paths below `root` of plain files that begin as a private key does (RFC 7468 section 2, and OpenSSH's own).
///
/// # Errors
/// For a file that cannot be read.
pub(crate) fn private_keys(root: &Path) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    files::walk(root, &mut |path, meta| {
        let full = root.join(path);
        if meta.is_file() && is_private_key(&full)? {
            found.push(path.to_string_lossy().into_owned());
        }
        Ok(())
    })?;
    Ok(found)
}

fn is_private_key(path: &Path) -> Outcome<bool> {
    let unread = |error| files::failed(path, "read", &error);
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(HEAD).read_to_end(&mut head).map_err(unread)?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii_end();
    Ok(line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(with: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in with {
            files::write(&dir.path().join(path), text).unwrap();
        }
        dir
    }

    #[test]
    fn keys_that_a_package_made_for_this_one_host_are_not_shipped() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n";
        let tree = tree(&[
            ("etc/ssh/ssh_host_ed25519_key", key),
            ("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 abc"),
            ("etc/ssh/sshd_config", "UsePAM yes\n"),
        ]);
        assert!(refuse(tree.path()).is_err());
        forget(tree.path()).unwrap();
        refuse(tree.path()).unwrap();
        let left = files::list(&tree.path().join("etc/ssh")).unwrap();
        assert_eq!(left, [tree.path().join("etc/ssh/sshd_config")]);
    }

    #[test]
    fn a_private_key_of_any_kind_and_place_is_refused_by_its_path() {
        for kind in ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "] {
            let text = format!("-----BEGIN {kind}PRIVATE KEY-----\r\nabc\n");
            let tree = tree(&[("usr/share/some/where.txt", &text)]);
            let failure = refuse(tree.path()).unwrap_err().to_string();
            assert!(failure.contains("usr/share/some/where.txt"), "{failure}");
        }
    }

    #[test]
    fn what_only_speaks_of_keys_or_is_public_stays() {
        let tree = tree(&[
            ("usr/bin/tool", "\u{7f}ELF -----BEGIN PRIVATE KEY-----\n"),
            ("etc/ssl/a.pem", "-----BEGIN CERTIFICATE-----\nabc\n"),
            ("etc/b.pub", "-----BEGIN PUBLIC KEY-----\nabc\n"),
            ("etc/empty", ""),
        ]);
        refuse(tree.path()).unwrap();
    }
}
