//! The real images that are measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// Three releases of a container host: `old` is one routine refresh behind `new`, `middle` a hotfix.
#[derive(Debug, Clone)]
pub struct Images {
    /// The release that a node runs.
    pub old: PathBuf,
    /// The one between.
    pub middle: PathBuf,
    /// The one that is offered.
    pub new: PathBuf,
}

impl Images {
    /// Takes the images in `folder`, or builds them from Debian packages (needs root and an archive).
    pub fn get(folder: Option<&Path>) -> Result<Self> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => {
                let recipe = run::root().join("images/make.sh");
                run::show(&mut Command::new(recipe)).context("the test images cannot be built")?;
                // Where the recipe puts them, whatever Cargo's target folder is.
                run::root().join("target/images")
            }
        };
        let image = |name| image(&folder, name);
        Ok(Self {
            old: image("old")?,
            middle: image("middle")?,
            new: image("new")?,
        })
    }

    /// The release that a node runs and the one that is offered, in `folder`.
    pub fn old_and_new(folder: &Path) -> Result<(PathBuf, PathBuf)> {
        Ok((image(folder, "old")?, image(folder, "new")?))
    }
}

fn image(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.erofs"));
    if !path.is_file() {
        bail!("{} is missing: images/make.sh builds it", path.display());
    }
    Ok(path)
}
