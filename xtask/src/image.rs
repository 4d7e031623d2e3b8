//! `./x image ARGS…`: builds the programs that go into an image as they ship, then hands over to
//! `twinroot-image`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{programs, run};

/// Options of `./x image`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// Arguments of `twinroot-image`; see `./x image help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Programs that go into an image: package, binary, whether the image may lack it.
const PROGRAMS: [(&str, &str, bool); 2] = [
    ("twinroot", "twinroot", false),
    ("twinroot-vm-guest", "twinroot-vm-guest", true),
];

/// Package of the static program in the initramfs.
const INIT: &str = "twinroot-init";

/// Carries it out.
pub fn run(args: &Args) -> Result<()> {
    let mut image = std::process::Command::new(builder()?);
    image.args(&args.rest);
    if args.rest.iter().any(|word| word == "build") {
        for (name, path) in programs()? {
            image
                .arg("--program")
                .arg(format!("{name}={}", path.display()));
        }
        if !args
            .rest
            .iter()
            .any(|word| word == "--init" || word.starts_with("--init="))
        {
            image.arg("--init").arg(init()?);
        }
    }
    run::quiet(&mut image)
}

/// Builds the image builder; gives its path.
pub fn builder() -> Result<PathBuf> {
    // With the features of the whole workspace, as the tests have it built.
    let build = ["build", "--quiet", "--workspace", "--bin", "twinroot-image"];
    run::quiet(&mut run::cargo(build))?;
    Ok(run::target_dir().join("debug/twinroot-image"))
}

/// Builds the programs of an image; gives their names and paths.
pub fn programs() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut built = Vec::new();
    for (package, name, may_lack) in PROGRAMS {
        if !in_workspace(package)? {
            match may_lack {
                true => continue,
                false => bail!("there is no package {package}"),
            }
        }
        built.push((name, programs::as_it_ships(package, name)?));
    }
    Ok(built)
}

/// Builds the initramfs's program: static, since nothing else is there to load libraries from.
pub fn init() -> Result<PathBuf> {
    // With a target named, flags do not reach build scripts and macros, which must stay dynamic.
    let target = "x86_64-unknown-linux-gnu";
    let mut cargo = run::cargo([
        "build",
        "--quiet",
        "--release",
        "-p",
        INIT,
        "--target",
        target,
    ]);
    run::quiet(cargo.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(run::target_dir().join(target).join("release").join(INIT))
}

fn in_workspace(package: &str) -> Result<bool> {
    let metadata = run::capture(&mut run::cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages.into_iter().any(|known| known["name"] == package))
}
