//! The reference host: bytes of what ships, and how long a changed overlay takes to become a release.
//!
//! Figures of a start, of memory and of writing a slot need a machine: the scenarios `update-is-committed` and
//! `what-ships-is-updated` of `./x vm` print those.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::report::{Report, Row, megabytes, ratio};
use crate::{image, run};

/// Bars in bytes: what is measured, its key below `bytes` in `image.json`, the bar.
const BYTES: [(&str, &str, u64); 4] = [
    ("root image", "root", 320_000_000),
    ("boot image", "uki", 30_000_000),
    ("initramfs, stored as it is", "initramfs", 12_000_000),
    ("kernel modules of the root", "modules", 30_000_000),
];
/// Bar of a warm build, on two cores.
const WARM: Duration = Duration::from_secs(60);
/// The overlay that is changed between the two builds.
const CHANGED: &str = "overlay/container-host/usr/lib/sysctl.d/80-container-host.conf";
/// What a build calls that a machine may lack, and the Debian package that brings it.
const NEEDS: [(&str, &str); 2] = [("mmdebstrap", "mmdebstrap"), ("depmod", "kmod")];

/// Builds what ships, changes an overlay, and builds again.
pub fn rows(report: &mut Report, scratch: &Path) -> Result<()> {
    let lacking = NEEDS.iter().find(|(program, _)| !is_there(program));
    if let Some((program, package)) = lacking {
        report.skip(
            "reference host",
            &format!("{program} is missing (package {package})"),
        );
        return Ok(());
    }
    let rootfs = scratch.join("rootfs");
    copy(&run::root().join("rootfs"), &rootfs)?;
    let builder = Builder::new(&rootfs)?;
    // Fetches what is not kept, so that the second one is warm.
    let first = builder.build(&scratch.join("1.0"), "1.0")?;
    for (what, key, bar) in BYTES {
        let bytes = first.described["bytes"][key].as_u64();
        report.row(Row {
            what: what.into(),
            value: bytes.map_or_else(|| "nothing".into(), megabytes),
            against: megabytes(bar),
            ratio: bytes.map(|bytes| ratio(bytes, bar)),
            limit: Some(1.0),
        });
    }
    change(&rootfs.join(CHANGED))?;
    let second = builder.build(&scratch.join("1.1"), "1.1")?;
    let differ = first.described["root-hash"] != second.described["root-hash"];
    report.row(Row {
        what: "warm build of a changed overlay".into(),
        value: format!("{:.1} s", second.took.as_secs_f64()),
        against: format!("{} s", WARM.as_secs()),
        // A build that did not see the change has no figure.
        ratio: differ.then(|| second.took.as_secs_f64() / WARM.as_secs_f64()),
        limit: Some(1.0),
    });
    Ok(())
}

/// Builds the variant that ships, from a copy of the recipe.
struct Builder {
    image: PathBuf,
    recipe: PathBuf,
    programs: Vec<(&'static str, PathBuf)>,
    init: PathBuf,
}

struct Built {
    described: Value,
    took: Duration,
}

impl Builder {
    fn new(rootfs: &Path) -> Result<Self> {
        Ok(Self {
            recipe: rootfs.join("container-host.toml"),
            image: image::builder()?,
            programs: image::programs()?,
            init: image::init()?,
        })
    }

    fn build(&self, out: &Path, version: &str) -> Result<Built> {
        let mut command = Command::new(&self.image);
        command.current_dir(run::root()).args(["--quiet", "build"]);
        command.arg("--recipe").arg(&self.recipe);
        command.args(["--image-version", version]);
        command.arg("--out").arg(out).arg("--init").arg(&self.init);
        command
            .arg("--cache")
            .arg(run::target_dir().join("image-cache"));
        for (name, path) in &self.programs {
            command
                .arg("--program")
                .arg(format!("{name}={}", path.display()));
        }
        let begin = Instant::now();
        run::quiet(&mut command)?;
        let took = begin.elapsed();
        let path = out.join("image.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("the build made no {}", path.display()))?;
        Ok(Built {
            described: serde_json::from_str(&text)?,
            took,
        })
    }
}

fn change(file: &Path) -> Result<()> {
    let mut text =
        std::fs::read_to_string(file).with_context(|| format!("there is no {}", file.display()))?;
    text.push_str("# Changed by the bench.\n");
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run::quiet(Command::new("cp").arg("-a").arg(from).arg(to))
}

/// Debian keeps an administrator's tools where an ordinary user's PATH does not lead.
fn is_there(program: &str) -> bool {
    run::have(program)
        || ["/usr/sbin", "/sbin"]
            .iter()
            .any(|folder| Path::new(folder).join(program).is_file())
}
