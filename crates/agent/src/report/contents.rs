//! What an update changes in the contents: two bills of materials, SPDX documents that the signed manifests
//! name by size and digest, compared package by package. Read by `plan` alone; nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use twinroot_core::update::Candidate;
use twinroot_core::wire::{ContentsChange, PackageChange};
use twinroot_ports::{Code, Failure, Outcome};
use twinroot_trust::digest::Digest;

use crate::agent::Agent;
use crate::perform::signed;

/// Largest document that is read: a host of a few hundred packages has one of less than 1 MiB, and the
/// node holds two of them for a moment.
const LARGEST: u64 = 8 << 20;

/// Versions by package name; a package may be there in several.
type Packages = BTreeMap<String, BTreeSet<String>>;

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    packages: Vec<Package>,
    #[serde(default)]
    relationships: Vec<Relationship>,
}

#[derive(Deserialize)]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(rename = "versionInfo")]
    version: Option<String>,
}

#[derive(Deserialize)]
struct Relationship {
    #[serde(rename = "relationshipType")]
    kind: String,
    #[serde(rename = "relatedSpdxElement")]
    related: String,
}

/// What `release` changes against what runs. Where the documents cannot be compared, the components that
/// both manifests name are, and the reason is said.
pub(super) fn change(agent: &Agent<'_>, release: &Candidate) -> Option<ContentsChange> {
    let running = running(agent);
    let compared = running
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|running| Ok((packages(agent, running)?, packages(agent, release)?)));
    match compared {
        Ok((before, after)) => Some(differ("sbom", &before, &after, None)),
        Err(failure) => {
            let before = components(running.as_ref().ok()?);
            let why = format!("{}: {}", failure.subject, failure.cause);
            Some(differ(
                "components",
                &before,
                &components(release),
                Some(why),
            ))
        }
    }
}

/// The release that runs, proven again from the bytes on the node.
fn running(agent: &Agent<'_>) -> Outcome<Candidate> {
    let system = agent.facts().system();
    let saved = agent.records().known_by_root(&system.root_hash);
    let saved = saved.ok_or_else(|| {
        let subject = format!("release {}", system.version);
        Failure::new(
            Code::StoredMetadataInvalid,
            subject,
            "its signed description is not on this node",
        )
    })?;
    signed::reverify(agent.ports(), agent.options(), saved)
}

/// The packages of a release by its signed bill of materials.
fn packages(agent: &Agent<'_>, release: &Candidate) -> Outcome<Packages> {
    let subject = format!("bill of materials of {}", release.version());
    let refuse = |code, cause: &str| Failure::new(code, subject.clone(), cause);
    let file = release.manifest().contents.sbom.as_ref();
    let file = file.ok_or_else(|| refuse(Code::TargetNotFound, "the manifest names none"))?;
    if file.size > LARGEST {
        let cause = format!("it has {} bytes, and at most {LARGEST} are read", file.size);
        return Err(refuse(Code::PayloadTooLarge, &cause));
    }
    let bytes = agent.ports().fetch.target(&file.path, file.size)?;
    let bytes = bytes.ok_or_else(|| refuse(Code::NotOnServer, "the repository lacks it"))?;
    if bytes.len() as u64 != file.size || Digest::of(&bytes) != file.sha256 {
        return Err(refuse(
            Code::DigestMismatch,
            "it does not have the signed size and digest",
        ));
    }
    read(&bytes).map_err(|cause| refuse(Code::InputFileInvalid, &cause))
}

/// The packages of an SPDX document, without the one that stands for the image itself.
fn read(bytes: &[u8]) -> Result<Packages, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let described: BTreeSet<String> = document
        .relationships
        .into_iter()
        .filter(|relation| relation.kind == "DESCRIBES")
        .map(|relation| relation.related)
        .collect();
    let mut packages = Packages::new();
    for package in document.packages {
        if !described.contains(&package.id) {
            let versions = packages.entry(package.name).or_default();
            versions.insert(package.version.unwrap_or_default());
        }
    }
    Ok(packages)
}

fn components(release: &Candidate) -> Packages {
    let components = release.manifest().contents.components.iter();
    components
        .map(|(name, version)| (name.clone(), BTreeSet::from([version.clone()])))
        .collect()
}

fn differ(
    source: &str,
    before: &Packages,
    after: &Packages,
    unknown: Option<String>,
) -> ContentsChange {
    let versions = |packages: &Packages, name: &String| {
        let versions = packages.get(name)?;
        let list: Vec<&str> = versions.iter().map(String::as_str).collect();
        Some(list.join(", "))
    };
    let mut change = ContentsChange {
        source: source.to_owned(),
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        unknown,
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let package = PackageChange {
            name: name.clone(),
            before: versions(before, name),
            after: versions(after, name),
        };
        match (&package.before, &package.after) {
            (None, _) => change.added.push(package),
            (_, None) => change.removed.push(package),
            (before, after) if before != after => change.changed.push(package),
            _ => {}
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(packages: &[(&str, &str)]) -> Vec<u8> {
        let list: Vec<_> = packages
            .iter()
            .map(|(name, version)| {
                serde_json::json!({"SPDXID": format!("SPDXRef-{name}"), "name": name, "versionInfo": version})
            })
            .collect();
        serde_json::to_vec(&serde_json::json!({
            "spdxVersion": "SPDX-2.2",
            "packages": list,
            "relationships": [{
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": "SPDXRef-host",
            }],
        }))
        .unwrap()
    }

    #[test]
    fn packages_that_come_go_and_change_are_told_apart_and_the_image_itself_is_none() {
        let before = document(&[
            ("host", "1.0"),
            ("bash", "5.2"),
            ("curl", "8.0"),
            ("tar", "1"),
        ]);
        let after = document(&[
            ("host", "1.1"),
            ("bash", "5.2"),
            ("curl", "8.1"),
            ("zstd", "1.5"),
        ]);
        let change = differ(
            "sbom",
            &read(&before).unwrap(),
            &read(&after).unwrap(),
            None,
        );
        let one = |name: &str, before: Option<&str>, after: Option<&str>| PackageChange {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(change.added, [one("zstd", None, Some("1.5"))]);
        assert_eq!(change.removed, [one("tar", Some("1"), None)]);
        assert_eq!(change.changed, [one("curl", Some("8.0"), Some("8.1"))]);
    }

    #[test]
    fn a_package_in_two_versions_changes_when_one_of_them_does() {
        let before = document(&[("kernel", "6.1"), ("kernel", "6.2")]);
        let after = document(&[("kernel", "6.2"), ("kernel", "6.3")]);
        let change = differ(
            "sbom",
            &read(&before).unwrap(),
            &read(&after).unwrap(),
            None,
        );
        assert_eq!(change.changed[0].before.as_deref(), Some("6.1, 6.2"));
        assert_eq!(change.changed[0].after.as_deref(), Some("6.2, 6.3"));
    }

    #[test]
    fn what_is_no_spdx_document_is_said_to_be_none() {
        assert!(read(b"<html>").is_err());
        assert!(read(b"{\"packages\": [{\"name\": 3}]}").is_err());
    }
}
