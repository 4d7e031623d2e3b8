//! The key directory: `NAME.key` (encrypted PKCS#8, mode 0600) and `NAME.pub` (public PEM).

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pkcs8::der::zeroize::Zeroizing;

use super::{KeyKind, KeySigner, PublicKey, SecretKey};
use crate::error::{Error, Result};
use crate::files;

/// The longest key name; it becomes a file name.
const MAX_NAME: usize = 64;

/// How key files are opened and made.
#[derive(Debug, Clone, Default)]
pub enum Passphrase {
    /// No passphrase: plain key files only.
    #[default]
    None,
    /// The first line of this file.
    File(PathBuf),
}

impl Passphrase {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        let whole = Zeroizing::new(files::read(path)?);
        let line = whole
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(Error::InputFile {
                path: path.clone(),
                why: "its first line is empty; a passphrase is wanted".into(),
            });
        }
        Ok(Some(Zeroizing::new(line.to_vec())))
    }
}

/// A directory of keys, apart from the repository: on another disk, another machine, in a safe.
#[derive(Debug, Clone)]
pub struct KeyDirectory {
    dir: PathBuf,
    passphrase: Passphrase,
}

impl KeyDirectory {
    /// The directory; it need not exist yet.
    pub fn new(dir: impl Into<PathBuf>, passphrase: Passphrase) -> Self {
        Self {
            dir: dir.into(),
            passphrase,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Makes a key and writes both files; an existing one is never overwritten.
    ///
    /// # Errors
    /// [`Error::KeyExists`], [`Error::KeyUnreadable`] when it cannot be encoded, [`Error::Io`].
    pub fn create(&self, name: &str, kind: KeyKind) -> Result<PublicKey> {
        let path = self.secret_path(name)?;
        let secret = SecretKey::generate(kind).map_err(|why| unreadable(&path, why))?;
        self.store(name, &secret)
    }

    /// Writes both files of a key that was made elsewhere.
    ///
    /// # Errors
    /// As [`KeyDirectory::create`].
    pub fn store(&self, name: &str, secret: &SecretKey) -> Result<PublicKey> {
        let path = self.secret_path(name)?;
        let passphrase = self.passphrase.read()?;
        let pem = secret
            .to_pem(passphrase.as_ref().map(|text| text.as_slice()))
            .map_err(|why| unreadable(&path, why))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|cause| Error::io("create the directory", &self.dir, cause))?;
        let public = secret.public();
        create_new(&path, 0o600, pem.as_bytes())?;
        create_new(&self.public_path(name)?, 0o644, public.to_pem().as_bytes())?;
        files::Files::sync_dir(&files::Disk, &self.dir)
            .map_err(|cause| Error::io("sync the directory", &self.dir, cause))?;
        Ok(public)
    }

    /// The names that have a public or a secret file, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = files::list(&self.dir)?
            .iter()
            .filter_map(|file| {
                file.strip_suffix(".pub")
                    .or_else(|| file.strip_suffix(".key"))
            })
            .map(str::to_owned)
            .collect();
        names.dedup();
        Ok(names)
    }

    /// Whether the secret half is here.
    pub fn has_secret(&self, name: &str) -> bool {
        self.secret_path(name).is_ok_and(|path| path.is_file())
    }

    /// The public half of a name.
    ///
    /// # Errors
    /// [`Error::KeyMissing`]; [`Error::KeyUnreadable`] when the file is no public key.
    pub fn public(&self, name: &str) -> Result<PublicKey> {
        let path = self.public_path(name)?;
        let Some(bytes) = files::read_if_there(&path)? else {
            return Err(Error::KeyMissing {
                name: name.into(),
                dir: self.dir.clone(),
            });
        };
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(PublicKey::from_pem)
            .ok_or_else(|| unreadable(&path, "no ed25519 or P-256 public key in PEM"))
    }

    /// A signer with the secret half of a name.
    ///
    /// # Errors
    /// [`Error::KeyMissing`]; [`Error::KeyUnreadable`] for a wrong passphrase, a damaged file or
    /// one that others may read.
    pub fn signer(&self, name: &str) -> Result<KeySigner> {
        let path = self.secret_path(name)?;
        if !path.is_file() {
            return Err(Error::KeyMissing {
                name: name.into(),
                dir: self.dir.clone(),
            });
        }
        self.signer_from_file(name, &path)
    }

    /// A signer from any key file, with this directory's passphrase.
    ///
    /// # Errors
    /// As [`KeyDirectory::signer`].
    pub fn signer_from_file(&self, name: &str, path: &Path) -> Result<KeySigner> {
        let mode = fs::metadata(path)
            .map_err(|cause| Error::io("look at", path, cause))?
            .mode();
        // A key that others can read has to be taken as known to them (as OpenSSH does).
        if mode & 0o077 != 0 {
            let why = format!(
                "others may read it (mode {:o}); `chmod 600` it, and rotate it if it lay open",
                mode & 0o777
            );
            return Err(unreadable(path, why));
        }
        let bytes = Zeroizing::new(files::read(path)?);
        let pem = std::str::from_utf8(&bytes).map_err(|_| unreadable(path, "it is no PEM"))?;
        let passphrase = self.passphrase.read()?;
        SecretKey::from_pem(pem, passphrase.as_ref().map(|text| text.as_slice()))
            .map(|secret| KeySigner::new(name, secret))
            .map_err(|why| unreadable(path, why))
    }

    fn secret_path(&self, name: &str) -> Result<PathBuf> {
        check_name("key", name)?;
        Ok(self.dir.join(format!("{name}.key")))
    }

    fn public_path(&self, name: &str) -> Result<PathBuf> {
        check_name("key", name)?;
        Ok(self.dir.join(format!("{name}.pub")))
    }
}

/// Names of keys and channels become file names, role names and URL parts: letters, digits, `-`
/// and `_` only, so that they mean the same in all three.
///
/// # Errors
/// [`Error::Argument`] saying which rule is broken.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.bytes().all(plain)
        || name.starts_with(['.', '-'])
    {
        return Err(Error::argument(
            format!("{what} name '{name}'"),
            format!(
                "use 1 to {MAX_NAME} letters, digits, '-', '_' or '.', starting with a letter, digit or '_'"
            ),
        ));
    }
    Ok(())
}

fn create_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut file = match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
    {
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::KeyExists(path.to_owned()));
        }
        other => other.map_err(|cause| Error::io("create", path, cause))?,
    };
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|cause| Error::io("write", path, cause))
}

fn unreadable(path: &Path, why: impl ToString) -> Error {
    Error::KeyUnreadable {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
