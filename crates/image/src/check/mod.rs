//! `check`: what must hold of an image before anybody publishes it, judged on the image itself.

mod elf;
mod rules;

use std::path::Path;

use crate::Outcome;
use crate::build::{Description, names, read_description};
use crate::files;
use crate::tool::Tool;

pub use elf::{Needs, needs_of};
pub use rules::{Entry, Finding, Kind};

/// What a person wants judged beside the image's own rules.
#[derive(Debug)]
pub struct Order {
    /// Folder of a build.
    pub image: std::path::PathBuf,
    /// The recipe, for what may be setuid and for the budget.
    pub recipe: std::path::PathBuf,
    /// The image is to be released: what is for tests only is refused.
    pub release: bool,
    /// The release before, for how fast images grow.
    pub previous: Option<std::path::PathBuf>,
}

/// What was found, and how much was looked at.
#[derive(Debug)]
pub struct Report {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// One line for each rule: what was looked at.
    pub looked_at: Vec<String>,
}

/// Judges a built image.
///
/// # Errors
/// `tool-missing`, `input-file-invalid`; what is wrong with the image is a finding, not an error.
pub fn run(order: &Order) -> Outcome<Report> {
    let description = read_description(&order.image)?;
    let name = order.recipe.display().to_string();
    let recipe = crate::recipe::Recipe::parse(&name, &files::read_text(&order.recipe)?)?;
    let variant = recipe.choose(description.variant.as_deref())?;
    let work = tempfile::tempdir_in(&order.image)
        .map_err(|error| files::failed(&order.image, "use", &error))?;
    let root = work.path().join("root");
    extract(&order.image.join(names::ROOT), &root)?;
    let entries = rules::entries(&root)?;
    let mut report = Report {
        findings: Vec::new(),
        looked_at: Vec::new(),
    };
    report.add(
        format!("{} files: owners, modes, devices", entries.len()),
        rules::modes(&entries, &variant.part.setuid),
    );
    report.add("no private key".into(), rules::keys(&root)?);
    let (programs, missing) = elf::closure(&root, &entries)?;
    report.add(
        format!("{programs} programs and libraries: everything they need is there"),
        missing,
    );
    let (units, wrong) = units(&root, &entries)?;
    report.add(format!("{units} units: systemd-analyze verify"), wrong);
    report.add(
        "identity of image, boot image and description".into(),
        identity(order, &description)?,
    );
    let sizes = rules::Sizes {
        now: description.bytes,
        before: previous(order)?,
        partitions: description.partitions,
    };
    report.add(
        "room for this release and the two after it".into(),
        rules::room(&sizes),
    );
    if order.release {
        let findings = rules::for_release(&root, &description, &entries)?;
        report.add(
            "what a release must have and must not have".into(),
            findings,
        );
    }
    Ok(report)
}

impl Report {
    fn add(&mut self, what: String, findings: Vec<Finding>) {
        let verdict = if findings.is_empty() { "ok" } else { "WRONG" };
        self.looked_at.push(format!("{verdict:<6}{what}"));
        self.findings.extend(findings);
    }
}

fn previous(order: &Order) -> Outcome<Option<crate::build::Bytes>> {
    let before = order.previous.as_ref().map(|dir| read_description(dir));
    Ok(before.transpose()?.map(|description| description.bytes))
}

/// Unpacks a root image with a reader that is not the writer's.
///
/// # Errors
/// `tool-missing`, `tool-failed`.
pub fn extract(image: &Path, root: &Path) -> Outcome<()> {
    Tool::new("fsck.erofs")
        .arg(format!("--extract={}", root.display()))
        .arg(image)
        .run()
        .map(drop)
}

/// Units that start by themselves, and the project's own, must be valid, with all that they pull in.
fn units(root: &Path, entries: &[Entry]) -> Outcome<(usize, Vec<Finding>)> {
    let names = rules::units_that_start(entries);
    let (fine, said) = Tool::of_image(root, "usr/bin/systemd-analyze")
        .args(["verify", "--man=no", "--generators=no"])
        .arg(format!("--root={}", root.display()))
        .args(&names)
        .judge()?;
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    let finding = |line: &str| Finding::new("unit", line, "correct the unit, or mask it");
    let mut findings: Vec<Finding> = lines.map(finding).collect();
    if !fine && findings.is_empty() {
        findings.push(finding("systemd-analyze failed and said nothing"));
    }
    Ok((names.len(), findings))
}

/// One identity: the root hash of image, boot image and description is one number.
fn identity(order: &Order, description: &Description) -> Outcome<Vec<Finding>> {
    let salt: twinroot_trust::digest::Digest = match description.salt.parse() {
        Ok(salt) => salt,
        Err(_) => {
            return Ok(vec![Finding::new(
                "salt",
                names::DESCRIPTION,
                "build it again",
            )]);
        }
    };
    let tree = tempfile::NamedTempFile::new_in(&order.image)
        .map_err(|error| files::failed(&order.image, "use", &error))?;
    let computed =
        crate::slot::hash_tree(&order.image.join(names::ROOT), salt.as_bytes(), tree.path())?;
    let uki = files::read(&order.image.join(names::UKI))?;
    let info = twinroot_core::bootfmt::pe::read_uki(names::UKI, &uki)?;
    let mut findings = Vec::new();
    for (what, found) in [
        ("boot image", info.root_hash),
        ("description", description.root_hash),
    ] {
        if found != computed {
            let detail = format!("the {what} says {found}, the image has {computed}");
            findings.push(Finding::new("root-hash", &detail, "build it again"));
        }
    }
    let (version, wanted) = (info.os_release.version(), description.version.as_str());
    if version != wanted {
        let detail = format!("the boot image says {version:?}, the description {wanted:?}");
        findings.push(Finding::new("version", &detail, "build it again"));
    }
    Ok(findings)
}
