//! The root of the image as a folder: packages, minus what is pruned, plus programs and overlays, with
//! nothing left that differs from one build to the next.

mod catalog;
mod ids;
pub(crate) mod kernel;
mod packages;
mod prune;
mod release;
pub(crate) mod secrets;
mod units;
mod var;

use std::path::{Path, PathBuf};

use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::base::Packages;
use crate::files;
use crate::recipe::{Recipe, Variant};
use crate::sbom;
use crate::tool::Tool;

pub use ids::sysusers_lines;
pub use packages::{Package, parse_status};
pub use release::{Stamp, os_release};
pub use units::{Install, parse_install};

/// Where things of the build lie.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Folder of the recipe, with `overlay/`.
    pub rootfs: PathBuf,
    /// Folder of the project, for what the recipe copies.
    pub project: PathBuf,
    /// Programs of the project by name.
    pub programs: Vec<(String, PathBuf)>,
    /// More trees laid over, for images that differ a little.
    pub overlays: Vec<PathBuf>,
    /// The trust anchor.
    pub anchor: Option<PathBuf>,
    /// Configuration of the image.
    pub config: Vec<PathBuf>,
}

/// A finished tree.
#[derive(Debug)]
pub struct Tree {
    /// The folder.
    pub root: PathBuf,
    /// What is in it.
    pub packages: Vec<Package>,
    /// Release of its kernel.
    pub kernel: String,
    /// Bytes of its kernel modules.
    pub modules: u64,
}

/// What goes into a tree.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// What was decided.
    pub recipe: &'a Recipe,
    /// Of which variant.
    pub variant: &'a Variant,
    /// What it is made of.
    pub packages: &'a Packages,
    /// What is laid over.
    pub sources: &'a Sources,
    /// What it says of itself.
    pub stamp: &'a Stamp<'a>,
}

/// Makes the tree in `root`, which must not exist.
///
/// # Errors
/// What is missing or wrong, by path; `config-value` where the recipe does not fit the packages.
pub fn make(root: &Path, wanted: &Wanted<'_>) -> Outcome<Tree> {
    let Wanted {
        recipe,
        variant,
        packages,
        sources,
        stamp,
    } = wanted;
    unpack(packages, root)?;
    let part = &variant.part;
    let mut installed = packages::take(root, &part.prune.packages)?;
    installed.extend(packages.boot_packages()?);
    installed.extend(own(variant, sources));
    installed.sort_by(|a, b| a.name.cmp(&b.name));
    prune::paths(root, &part.prune.paths)?;
    let (kernel, modules) = kernel::modules(root, &packages.pool(), &part.modules.keep)?;
    programs(root, variant, sources)?;
    overlays(root, variant, sources)?;
    configuration(root, recipe, variant, sources)?;
    files::write(&root.join("usr/lib/os-release"), os_release(stamp))?;
    files::link("../usr/lib/os-release", &root.join("etc/os-release"))?;
    ids::make(root)?;
    ids::fix(root, &part.ids)?;
    units::settle(root, &part.units)?;
    catalog::settle(root)?;
    var::settle(root)?;
    clean(root)?;
    secrets::refuse(root)?;
    let about = sbom::About {
        product: stamp.product,
        version: stamp.version,
        built: stamp.built,
        suite: stamp.suite,
    };
    files::write(&root.join(sbom::PLACE), sbom::document(&about, &installed))?;
    Ok(Tree {
        root: root.to_owned(),
        packages: installed,
        kernel,
        modules,
    })
}

fn unpack(packages: &Packages, root: &Path) -> Outcome<()> {
    files::make_folder(root)?;
    Tool::new("tar")
        .args([
            "--extract",
            "--numeric-owner",
            "--preserve-permissions",
            "--xattrs",
            "--xattrs-include=*",
        ])
        .args([
            "--exclude=./dev/*",
            "--exclude=./var/cache/apt/*",
            "--exclude=./var/lib/apt/*",
        ])
        .arg("--file")
        .arg(packages.tree())
        .arg("--directory")
        .arg(root)
        .run()
        .map(drop)
}

/// The project's own programs, as the list of packages names them.
fn own(variant: &Variant, sources: &Sources) -> Vec<Package> {
    let part = &variant.part;
    let optional = part.optional_programs.keys();
    let given = |name: &&String| sources.programs.iter().any(|(known, _)| known == *name);
    let names = part.programs.keys().chain(optional.filter(given));
    let package = |name: &String| Package {
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: "amd64".to_owned(),
        source: "twinroot".to_owned(),
        source_version: env!("CARGO_PKG_VERSION").to_owned(),
        maintainer: String::new(),
        homepage: None,
        licences: vec![env!("CARGO_PKG_LICENSE").to_owned()],
    };
    names.map(package).collect()
}

fn programs(root: &Path, variant: &Variant, sources: &Sources) -> Outcome<()> {
    let given = |name: &str| {
        sources
            .programs
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, path)| path)
    };
    for (name, place) in &variant.part.programs {
        let path = given(name).ok_or_else(|| {
            Failure::new(
                Code::BadRequest,
                format!("program {name}"),
                "the recipe wants it and it is not given",
            )
            .with_remedy(format!(
                "build it and give --program {name}=PATH, or use `./x image`"
            ))
        })?;
        files::write_mode(&root.join(place), files::read(path)?, 0o755)?;
    }
    for (name, place) in &variant.part.optional_programs {
        if let Some(path) = given(name) {
            files::write_mode(&root.join(place), files::read(path)?, 0o755)?;
        }
    }
    Ok(())
}

fn overlays(root: &Path, variant: &Variant, sources: &Sources) -> Outcome<()> {
    for overlay in &variant.part.overlay {
        let from = sources.rootfs.join("overlay").join(&overlay.name);
        if files::lay_over(&from, root)? == 0 {
            let cause = "the overlay holds no file";
            return Err(Failure::new(
                Code::ConfigValue,
                from.display().to_string(),
                cause,
            ));
        }
    }
    for (folder, place) in &variant.part.copy {
        let from = sources.project.join(folder);
        if files::lay_over(&from, &root.join(place))? == 0 {
            let cause = "the recipe copies it and it holds no file";
            return Err(Failure::new(
                Code::ConfigValue,
                from.display().to_string(),
                cause,
            ));
        }
    }
    for overlay in &sources.overlays {
        files::lay_over(overlay, root)?;
    }
    Ok(())
}

/// Who the image is, its trust anchor, and what its maker configures.
fn configuration(
    root: &Path,
    recipe: &Recipe,
    variant: &Variant,
    sources: &Sources,
) -> Outcome<()> {
    let mut identity = format!(
        "# Who this image is; only the image may say it.\n[identity]\nproduct = \"{}\"\narchitecture = \"{}\"\n",
        recipe.product.name, recipe.product.architecture
    );
    if let Some(name) = &variant.name {
        identity.push_str(&format!("variant = \"{name}\"\n"));
    }
    let folder = root.join("usr/lib/twinroot/config.d");
    files::write(&folder.join("00-identity.toml"), identity)?;
    for config in &sources.config {
        files::lay_over(config, &folder)?;
    }
    if let Some(anchor) = &sources.anchor {
        files::write(
            &root.join("usr/share/twinroot/root.json"),
            files::read(anchor)?,
        )?;
    }
    Ok(())
}

/// Takes out what differs per run or per host, and what no image carries.
fn clean(root: &Path) -> Outcome<()> {
    for folder in ["dev", "proc", "sys", "run", "tmp"] {
        files::remove(&root.join(folder))?;
        files::make_folder(&root.join(folder))?;
    }
    files::set_mode(&root.join("tmp"), 0o1777)?;
    files::make_folder(&root.join("efi"))?;
    // systemd-gpt-auto-generator takes /boot for the ESP where that is empty or not there.
    files::remove(&root.join("boot"))?;
    files::write(
        &root.join("boot/README"),
        "The EFI system partition is on /efi.\n",
    )?;
    for name in [
        "etc/hostname",
        "etc/resolv.conf",
        "etc/ld.so.cache~",
        ".dockerenv",
    ] {
        files::remove(&root.join(name))?;
    }
    secrets::forget(root)?;
    // Copies that the tools for passwd and group leave behind.
    for path in files::list(&root.join("etc"))? {
        if path.to_string_lossy().ends_with('-') {
            files::remove(&path)?;
        }
    }
    // Empty, so that each host makes its own; but there, so that the first boot is no 'first boot' that
    // would set units to presets in /etc.
    files::write(&root.join("etc/machine-id"), "")?;
    files::link(
        "../run/systemd/resolve/stub-resolv.conf",
        &root.join("etc/resolv.conf"),
    )
}
