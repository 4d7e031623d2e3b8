//! The packages of a tree, from the record that the package manager keeps; and their removal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use twinroot_core::error::{Code, Failure};

use crate::Outcome;
use crate::files;

/// One package of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version, as the distribution writes it.
    pub version: String,
    /// Architecture, as the distribution writes it.
    pub architecture: String,
    /// The source package and its version, which advisories name.
    pub source: String,
    /// Version of the source package.
    pub source_version: String,
    /// Who maintains it.
    pub maintainer: String,
    /// Its home page, where it says one.
    pub homepage: Option<String>,
    /// Licences that its copyright file names, in its words.
    #[serde(default)]
    pub licences: Vec<String>,
}

/// Reads dpkg's `status`.
#[must_use]
pub fn parse_status(text: &str) -> Vec<Package> {
    let paragraphs = text.split("\n\n").map(fields);
    let mut packages: Vec<Package> = paragraphs.filter_map(|fields| package(&fields)).collect();
    packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    packages
}

/// Fields of a paragraph; lines that continue a field are left out, as none of ours has any.
fn fields(paragraph: &str) -> BTreeMap<&str, &str> {
    let lines = paragraph.lines().filter(|line| !line.starts_with(' '));
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key, value.trim()))
        .collect()
}

fn package(fields: &BTreeMap<&str, &str>) -> Option<Package> {
    let text = |key: &str| fields.get(key).map(|value| (*value).to_owned());
    let (name, version) = (text("Package")?, text("Version")?);
    // `Source: name (version)` where either differs from the package's own.
    let (source, source_version) = match fields.get("Source").map(|source| source.split_once(" ("))
    {
        Some(Some((source, rest))) => (source.to_owned(), rest.trim_end_matches(')').to_owned()),
        Some(None) => (text("Source")?, version.clone()),
        None => (name.clone(), version.clone()),
    };
    Some(Package {
        architecture: text("Architecture")?,
        maintainer: text("Maintainer").unwrap_or_default(),
        homepage: text("Homepage"),
        licences: Vec::new(),
        name,
        version,
        source,
        source_version,
    })
}

/// Takes out the packages of `pruned` and the package manager's records; gives what stays.
pub(super) fn take(root: &Path, pruned: &[String]) -> Outcome<Vec<Package>> {
    let info = root.join("var/lib/dpkg/info");
    let all = parse_status(&files::read_text(&root.join("var/lib/dpkg/status"))?);
    for name in pruned {
        if !all.iter().any(|package| package.name == *name) {
            return Err(Failure::new(
                Code::ConfigValue,
                format!("prune.packages {name}"),
                "is not installed",
            ));
        }
    }
    let (gone, mut stay): (Vec<Package>, Vec<Package>) = all
        .into_iter()
        .partition(|package| pruned.contains(&package.name));
    let mut owned = BTreeSet::new();
    for package in &mut stay {
        owned.extend(files_of(&info, package)?);
        package.licences = licences(root, &package.name)?;
    }
    let mut folders = BTreeSet::new();
    for package in &gone {
        for path in files_of(&info, package)?.difference(&owned) {
            let path = root.join(path);
            match std::fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {
                    folders.insert(path);
                }
                Ok(_) => files::remove(&path)?,
                // Its own scripts, or another package's, have taken it away.
                Err(_) => {}
            }
        }
    }
    // Deepest first; a folder in which something is left stays.
    for folder in folders.iter().rev() {
        if files::list(folder)?.is_empty() {
            files::remove(folder)?;
        }
    }
    for folder in [
        "var/lib/dpkg",
        "var/lib/apt",
        "var/cache/apt",
        "var/cache/debconf",
        "usr/share/doc",
    ] {
        files::remove(&root.join(folder))?;
    }
    Ok(stay)
}

/// Paths of a package's files below the root, the merged folders of `/` resolved.
fn files_of(info: &Path, package: &Package) -> Outcome<BTreeSet<String>> {
    let with_architecture = info.join(format!("{}:{}.list", package.name, package.architecture));
    let plain = info.join(format!("{}.list", package.name));
    let path = if with_architecture.is_file() {
        with_architecture
    } else {
        plain
    };
    let text = files::read_text(&path)?;
    let merged = |line: &str| {
        let path = line.trim_start_matches('/');
        let first = path.split('/').next().unwrap_or(path);
        match first {
            "bin" | "sbin" | "lib" | "lib64" if path.len() > first.len() => format!("usr/{path}"),
            _ => path.to_owned(),
        }
    };
    Ok(text
        .lines()
        .map(merged)
        .filter(|path| path != ".")
        .collect())
}

/// `License:` lines of a copyright file of the machine-readable kind.
fn licences(root: &Path, name: &str) -> Outcome<Vec<String>> {
    let path = root.join("usr/share/doc").join(name).join("copyright");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        // A link to another package's file, or none: the list then says that it is not known.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::failed(&path, "read", &error)),
    };
    Ok(licence_names(&String::from_utf8_lossy(&bytes)))
}

fn licence_names(copyright: &str) -> Vec<String> {
    let lines = copyright
        .lines()
        .filter_map(|line| line.strip_prefix("License:"));
    let names: BTreeSet<String> = lines
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: libssl3t64\nStatus: install ok installed\nMaintainer: A <a@b>\nArchitecture: amd64\nSource: openssl\nVersion: 3.5.1-1\nDescription: x\n more: text\n\nPackage: bash\nMaintainer: B\nArchitecture: amd64\nSource: bash (5.2.37-2)\nVersion: 5.2.37-2+b5\nHomepage: https://example.org/bash\n";

    #[test]
    fn the_source_that_advisories_name_is_known() {
        let packages = parse_status(STATUS);
        assert_eq!(packages.len(), 2);
        assert_eq!(
            (&*packages[0].name, &*packages[0].source_version),
            ("bash", "5.2.37-2")
        );
        assert_eq!(
            packages[0].homepage.as_deref(),
            Some("https://example.org/bash")
        );
        assert_eq!(
            (&*packages[1].source, &*packages[1].source_version),
            ("openssl", "3.5.1-1")
        );
    }

    #[test]
    fn pruning_a_package_keeps_what_another_one_has_too() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        files::write(&root.join("var/lib/dpkg/status"), STATUS).unwrap();
        let list = |name: &str, text: &str| {
            files::write(&root.join("var/lib/dpkg/info").join(name), text).unwrap();
        };
        list("bash.list", "/.\n/bin\n/bin/bash\n/usr/share/shared\n");
        list(
            "libssl3t64:amd64.list",
            "/.\n/usr/share/shared\n/usr/lib/libssl.so.3\n",
        );
        for path in ["usr/bin/bash", "usr/share/shared", "usr/lib/libssl.so.3"] {
            files::write(&root.join(path), "x").unwrap();
        }
        let stay = take(root, &["bash".to_owned()]).unwrap();
        assert_eq!(stay.len(), 1);
        assert!(!root.join("usr/bin/bash").exists());
        assert!(
            root.join("usr/share/shared").exists() && root.join("usr/lib/libssl.so.3").exists()
        );
        assert!(!root.join("var/lib/dpkg").exists());
    }

    #[test]
    fn a_pruned_package_that_is_not_there_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        files::write(&dir.path().join("var/lib/dpkg/status"), STATUS).unwrap();
        let failure = take(dir.path(), &["perl".to_owned()]).unwrap_err();
        assert!(
            failure.to_string().contains("prune.packages perl"),
            "{failure}"
        );
    }

    #[test]
    fn licences_are_those_of_the_copyright_file() {
        let text = "Files: *\nLicense: GPL-2+\n text\n\nLicense: MIT\n\nLicense: GPL-2+\n";
        assert_eq!(licence_names(text), ["GPL-2+", "MIT"]);
    }
}
