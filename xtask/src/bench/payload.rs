//! `./x bench payload`: bytes, CPU, memory, temporary space and requests of ours and of every peer, on the
//! same images, on the same machine, in one run.
//!
//! What a peer makes is kept between runs with its figures (the same inputs give the same bytes, and some
//! take minutes); the table says which were made in this run, and `--fresh` makes all anew. Applying is
//! always measured anew.

pub mod bars;
pub mod boot;
pub mod chunked;
pub mod keep;
pub mod limits;
pub mod measure;
pub mod neighbours;
pub mod ours;
pub mod output;
pub mod pair;
pub mod peer;
pub mod plot;
pub mod promises;
pub mod row;
pub mod trees;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::programs::{Profile, Programs};
use crate::run;
use keep::Kept;
use measure::Run;

/// What the part needs of the bench's options.
#[derive(Debug)]
pub struct Options<'a> {
    /// Folder of the images; nothing: `images/make.sh` makes them.
    pub images: Option<&'a Path>,
    /// Folder of the programs; nothing: they are built.
    pub programs: Option<&'a Path>,
    /// Where the table, the JSON and the picture go.
    pub out: &'a Path,
    /// Make everything anew.
    pub fresh: bool,
    /// Only these kinds of pairs; all where empty.
    pub pairs: &'a [String],
    /// Only these tools; all where empty.
    pub tools: &'a [String],
    /// Size of the large seeded image in MiB.
    pub large: u64,
}

/// Measures, prints, writes; a missed bar is listed with its figure and fails the run at the very end.
pub fn run(options: &Options<'_>) -> Result<()> {
    // A run of peers alone needs none of ours.
    let ours = options.tools.is_empty() || options.tools.iter().any(|t| t.starts_with("twinroot"));
    let programs = ours
        .then(|| Programs::get(options.programs, Profile::Release))
        .transpose()?;
    let images = images(options.images)?;
    let scratch = run::target_dir().join("bench-payload");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).context("cannot clear the folder of the last run")?;
    }
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("cannot make {}", scratch.display()))?;
    let kept = Kept::new(run::target_dir().join("bench-kept"), options.fresh)?;
    let mut measured = Run::new(programs.as_ref(), &images, &kept, &scratch);
    measured.all(options)?;
    let figures = measured.into_figures();
    std::fs::remove_dir_all(&scratch).context("cannot clear the folder of this run")?;
    let bars = promises::all(&figures);
    output::write(&figures, &bars, options.out)?;
    let missed = bars.iter().filter(|bar| !bar.met()).count();
    if missed > 0 {
        bail!(
            "{missed} of {} bars missed or not measured; see above",
            bars.len()
        );
    }
    Ok(())
}

/// Where the images are.
fn images(folder: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = folder {
        return Ok(folder.to_owned());
    }
    let recipe = run::root().join("images/make.sh");
    run::show(std::process::Command::new(recipe).arg("--pairs"))
        .context("the test images cannot be built")?;
    Ok(run::root().join("target/images"))
}

/// Fails where what a tool wrote is not the image.
pub(crate) fn same_bytes(expected: &Path, actual: &Path, tool: &str) -> Result<()> {
    let open = |path: &Path| -> Result<BufReader<File>> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    };
    let (mut left, mut right) = (open(expected)?, open(actual)?);
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = left.read(&mut one)?;
        if count == 0 {
            ensure!(
                right.read(&mut other)? == 0,
                "{tool} wrote more than the image"
            );
            return Ok(());
        }
        right
            .read_exact(&mut other[..count])
            .with_context(|| format!("{tool} wrote less than the image"))?;
        ensure!(
            one[..count] == other[..count],
            "{tool} wrote something else than the image"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_is_short_long_or_other_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let expected = file("expected", b"abcdef");
        same_bytes(&expected, &file("same", b"abcdef"), "t").unwrap();
        for (name, content) in [("short", "abcde"), ("long", "abcdefg"), ("other", "abcdeX")] {
            let actual = file(name, content.as_bytes());
            assert!(same_bytes(&expected, &actual, "t").is_err(), "{name}");
        }
    }
}
