//! Artefacts are kept between runs: making some takes minutes of CPU, and the same inputs give the same
//! bytes. Applying is measured anew in every run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::row::Made;

/// Raised when a recipe changes in a way that its version does not show.
const RECIPES: u32 = 1;
/// Name of the file with the figures, written last: an artefact without it is not whole.
const FIGURES: &str = "made.json";

/// The folder of kept artefacts.
#[derive(Debug)]
pub struct Kept {
    folder: PathBuf,
    /// Make everything anew.
    fresh: bool,
}

impl Kept {
    /// Keeps artefacts in `folder`; with `fresh` none of an earlier run is taken.
    pub fn new(folder: PathBuf, fresh: bool) -> Result<Self> {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder, fresh })
    }

    /// Where the artefact of `tool` for these inputs lies, if it was made.
    pub fn folder_of(&self, tool: &str, about: &[&str]) -> PathBuf {
        self.folder.join(format!("{tool}-{}", key(about)))
    }

    /// The artefact of `tool` for the inputs that `about` names (versions, digests), made by `make` in an
    /// empty folder where it is not there. True where it was made now.
    pub fn get(
        &self,
        tool: &str,
        about: &[&str],
        make: impl FnOnce(&Path) -> Result<Made>,
    ) -> Result<(PathBuf, Made, bool)> {
        let folder = self.folder_of(tool, about);
        let figures = folder.join(FIGURES);
        if !self.fresh && figures.is_file() {
            let text = std::fs::read_to_string(&figures)
                .with_context(|| format!("cannot read {}", figures.display()))?;
            let value = serde_json::from_str(&text)
                .with_context(|| format!("{} is no JSON", figures.display()))?;
            return Ok((folder, Made::from_json(&value)?, false));
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder).context("cannot clear a half-made artefact")?;
        }
        std::fs::create_dir_all(&folder).context("cannot make a folder for an artefact")?;
        let made = make(&folder)?;
        std::fs::write(&figures, format!("{:#}\n", made.json()))
            .with_context(|| format!("cannot write {}", figures.display()))?;
        Ok((folder, made, true))
    }
}

/// Sixteen hex digits of a digest over everything that the artefact depends on.
fn key(about: &[&str]) -> String {
    let mut digest = Sha256::new();
    digest.update(RECIPES.to_le_bytes());
    for part in about {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    hex(&digest.finalize()[..8])
}

/// SHA-256 of a file in hex.
pub fn digest_of(path: &Path) -> Result<String> {
    let mut file =
        std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = std::io::Read::read(&mut file, &mut piece)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if count == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&piece[..count]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::payload::row::tests::row;

    #[test]
    fn an_artefact_is_made_once_for_the_same_inputs_and_again_for_others() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("kept"), false).unwrap();
        let mut calls = 0;
        let mut get = |kept: &Kept, about: &[&str]| {
            let (folder, made, fresh) = kept
                .get("tool", about, |folder| {
                    calls += 1;
                    std::fs::write(folder.join("patch"), "x")?;
                    Ok(row("a", "b", "c", 5).made)
                })
                .unwrap();
            assert!(folder.join("patch").is_file());
            (made.bytes, fresh, calls)
        };
        assert_eq!(get(&kept, &["1.0", "ab"]), (5, true, 1));
        assert_eq!(get(&kept, &["1.0", "ab"]), (5, false, 1));
        assert_eq!(get(&kept, &["1.0a", "b"]), (5, true, 2));
        let fresh = Kept::new(dir.path().join("kept"), true).unwrap();
        assert_eq!(get(&fresh, &["1.0", "ab"]), (5, true, 3));
    }

    #[test]
    fn an_artefact_whose_making_failed_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().to_owned(), false).unwrap();
        kept.get("tool", &[], |folder| {
            std::fs::write(folder.join("half"), "x")?;
            anyhow::bail!("killed")
        })
        .unwrap_err();
        let (folder, _, fresh) = kept
            .get("tool", &[], |_| Ok(row("a", "b", "c", 5).made))
            .unwrap();
        assert!(fresh && !folder.join("half").exists());
    }
}
