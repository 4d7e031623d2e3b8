//! What every scenario starts from: programs, images, keys, a folder of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::host::{alone_in, say};
use crate::image::{Builder, Built, Programs, Wanted};
use crate::publisher::Publisher;

/// Variants of the recipe that scenarios run: the lean one, everything that ships with the tests' way in, and
/// what ships.
const VARIANTS: [Option<&str>; 3] = [Some("test"), Some("probe"), None];

/// Keys that the images of one variant trust, and the builder of these images.
#[derive(Debug)]
struct Line {
    builder: Builder,
    publisher: Publisher,
}

/// The laboratory of one scenario.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    lines: Vec<(Option<&'static str>, Line)>,
    image_program: PathBuf,
    figures: Vec<String>,
}

impl Lab {
    /// With these programs, what is kept in `cache`, and a scenario's own `folder`.
    ///
    /// # Errors
    /// When keys cannot be made.
    pub fn new(programs: &Programs, cache: &Path, folder: &Path) -> Result<Self> {
        let alone = alone_in(cache)?;
        let mut lines = Vec::new();
        for variant in VARIANTS {
            let name = variant.unwrap_or("release");
            let home = cache.join("publisher").join(name);
            let publisher = publisher(programs, &home, variant)?;
            let builder = Builder::new(programs, cache, publisher.anchor());
            lines.push((variant, Line { builder, publisher }));
        }
        drop(alone);
        // What is left of an earlier play would be taken for this one's.
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            lines,
            image_program: programs.image.clone(),
            figures: Vec::new(),
        })
    }

    /// The scenario's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The image builder's program.
    #[must_use]
    pub fn image_program(&self) -> &Path {
        &self.image_program
    }

    /// Builds an image.
    ///
    /// # Errors
    /// What the image builder says.
    pub fn build(&self, wanted: &Wanted) -> Result<Built> {
        self.line(wanted.variant.as_deref())?.builder.build(wanted)
    }

    /// A disk with the image in slot A.
    ///
    /// # Errors
    /// What the image builder says.
    pub fn disk(&self, built: &Built) -> Result<PathBuf> {
        self.line(built.variant.as_deref())?.builder.disk(built)
    }

    /// A disk with the image in slot A, made with more options of `twinroot-image disk`.
    ///
    /// # Errors
    /// What the image builder says.
    pub fn disk_with(&self, built: &Built, options: &[&str]) -> Result<PathBuf> {
        let builder = &self.line(built.variant.as_deref())?.builder;
        builder.disk_with(built, options)
    }

    /// A repository of its own, with the keys that images of this variant trust.
    ///
    /// # Errors
    /// What the publisher's program says.
    pub fn publisher(&self, variant: Option<&str>) -> Result<Publisher> {
        let folder = self.folder.join("publisher");
        self.line(variant)?.publisher.fork(&folder)
    }

    /// Notes a figure that is printed with the result.
    pub fn figure(&mut self, figure: String) {
        say(&figure);
        self.figures.push(figure);
    }

    /// Figures so far.
    #[must_use]
    pub fn figures(&self) -> &[String] {
        &self.figures
    }

    fn line(&self, variant: Option<&str>) -> Result<&Line> {
        let found = self.lines.iter().find(|(known, _)| *known == variant);
        found
            .map(|(_, line)| line)
            .with_context(|| format!("no keys are made for the variant {variant:?}"))
    }
}

/// The kept keys and empty repository, made at first use: images carry its root.
fn publisher(programs: &Programs, home: &Path, variant: Option<&str>) -> Result<Publisher> {
    if home.is_dir() {
        return Ok(Publisher::at(&programs.publish, home));
    }
    let new = home.with_extension("new");
    if new.exists() {
        std::fs::remove_dir_all(&new)?;
    }
    Publisher::new(&programs.publish, &new, variant)?;
    // Named last, so that one that is there is whole.
    std::fs::rename(&new, home).with_context(|| format!("cannot make {}", home.display()))?;
    Ok(Publisher::at(&programs.publish, home))
}
