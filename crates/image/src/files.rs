//! Files of the build: every error names its path and what was being done.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use twinroot_core::error::{Code, Failure};

use crate::Outcome;

/// An error about a path.
pub(crate) fn failed(path: &Path, verb: &str, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::StorageFull => Code::DiskFull,
        ErrorKind::PermissionDenied => Code::NotPermitted,
        _ => Code::FileIo,
    };
    Failure::new(
        code,
        path.display().to_string(),
        format!("cannot {verb}: {error}"),
    )
}

pub(crate) fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| failed(path, "read", &error))
}

pub(crate) fn read_text(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| failed(path, "read", &error))
}

/// Writes a file of the image or of the output, mode 0644. What matters of an output is named last by
/// a rename, so that nothing here needs to be atomic.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Outcome<()> {
    write_mode(path, bytes, 0o644)
}

pub(crate) fn write_mode(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) -> Outcome<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    remove(path)?;
    fs::write(path, bytes).map_err(|error| failed(path, "write", &error))?;
    set_mode(path, mode)
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Outcome<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| failed(path, "set the mode of", &error))
}

/// Makes a folder and its parents, each 0755 whatever the umask.
pub(crate) fn make_folder(path: &Path) -> Outcome<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(failed(path, "create", &error))
        }
        _ => set_mode(path, 0o755),
    }
}

pub(crate) fn link(target: &str, path: &Path) -> Outcome<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    remove(path)?;
    symlink(target, path).map_err(|error| failed(path, "link", &error))
}

/// Removes a file, link or whole folder; what is not there is removed.
pub(crate) fn remove(path: &Path) -> Outcome<()> {
    let gone = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    gone.map_err(|error| failed(path, "remove", &error))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Outcome<()> {
    remove(to)?;
    fs::rename(from, to).map_err(|error| failed(to, "put in place", &error))
}

/// Puts a file in place, also where that is on another file system.
pub(crate) fn rename_or_copy(from: &Path, to: &Path) -> Outcome<()> {
    let moved = fs::rename(from, to);
    match moved {
        Ok(()) => Ok(()),
        Err(_) => fs::copy(from, to)
            .map(drop)
            .map_err(|error| failed(to, "write", &error)),
    }
}

/// What is in a folder, sorted by name.
pub(crate) fn list(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, "list", &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(
            entry
                .map_err(|error| failed(folder, "list", &error))?
                .path(),
        );
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn metadata(path: &Path) -> Outcome<fs::Metadata> {
    fs::symlink_metadata(path).map_err(|error| failed(path, "look at", &error))
}

/// Calls `each` for everything below `root`, parents first, in order of names, with the path below
/// `root`.
pub(crate) fn walk(
    root: &Path,
    each: &mut dyn FnMut(&Path, &fs::Metadata) -> Outcome<()>,
) -> Outcome<()> {
    fn below(
        root: &Path,
        folder: &Path,
        each: &mut dyn FnMut(&Path, &fs::Metadata) -> Outcome<()>,
    ) -> Outcome<()> {
        for path in list(folder)? {
            let meta = metadata(&path)?;
            let relative = path.strip_prefix(root).unwrap_or(&path);
            each(relative, &meta)?;
            // `each` may have removed it.
            if meta.is_dir() && path.is_dir() {
                below(root, &path, each)?;
            }
        }
        Ok(())
    }
    below(root, root, each)
}

/// Copies a tree over another: everything belongs to root, folders are 0755, files 0755 where their
/// owner may run them and else 0644, whatever the checkout's owner and umask.
pub(crate) fn lay_over(from: &Path, to: &Path) -> Outcome<u64> {
    let mut count = 0;
    walk(from, &mut |path, meta| {
        let (source, target) = (from.join(path), to.join(path));
        if meta.is_dir() {
            return make_folder(&target);
        }
        count += 1;
        if meta.file_type().is_symlink() {
            let text = fs::read_link(&source).map_err(|error| failed(&source, "read", &error))?;
            return link(&text.to_string_lossy(), &target);
        }
        let mode = if meta.mode() & 0o100 != 0 {
            0o755
        } else {
            0o644
        };
        write_mode(&target, read(&source)?, mode)
    })?;
    Ok(count)
}

/// Bytes of all plain files below a folder; 0 where there is none.
pub(crate) fn bytes_below(folder: &Path) -> Outcome<u64> {
    let mut sum = 0;
    if folder.is_dir() {
        walk(folder, &mut |_, meta| {
            sum += if meta.is_file() { meta.len() } else { 0 };
            Ok(())
        })?;
    }
    Ok(sum)
}

/// Whether a path (without a slash at the start) matches a pattern in which `*` stands for any
/// characters of one name.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if name_matches(pattern.as_bytes(), name.as_bytes()) => {}
            _ => return false,
        }
    }
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skip| name_matches(rest, &name[skip..])),
        (Some((p, pattern)), Some((n, name))) if p == n => name_matches(pattern, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_one_name() {
        assert!(matches(
            "usr/share/doc/*/copyright",
            "usr/share/doc/bash/copyright"
        ));
        assert!(!matches("usr/share/doc/*", "usr/share/doc/bash/copyright"));
        assert!(matches("usr/lib/*.so.?", "usr/lib/a.so.?"));
        assert!(!matches("usr/lib", "usr/lib/a"));
        assert!(matches("etc/rc*.d", "etc/rc0.d"));
    }

    #[test]
    fn an_overlay_belongs_to_root_with_plain_modes() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_mode(&from.path().join("usr/bin/tool"), "x", 0o700).unwrap();
        write_mode(&from.path().join("etc/secret"), "x", 0o600).unwrap();
        link("tool", &from.path().join("usr/bin/alias")).unwrap();
        assert_eq!(lay_over(from.path(), to.path()).unwrap(), 3);
        let mode = |path: &str| metadata(&to.path().join(path)).unwrap().mode() & 0o7777;
        assert_eq!(
            (mode("usr/bin/tool"), mode("etc/secret"), mode("usr")),
            (0o755, 0o644, 0o755)
        );
        assert_eq!(
            fs::read_link(to.path().join("usr/bin/alias")).unwrap(),
            Path::new("tool")
        );
    }
}
