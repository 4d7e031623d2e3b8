//! The list of what is in the image, as SPDX 2.2 JSON at the place where scanners of such hosts look.

use serde_json::{Value, json};
use twinroot_trust::time::UnixTime;

use crate::tree::Package;

/// Its place in the image.
pub const PLACE: &str = "usr/share/os-manifests/package-manifest.spdx.json";

/// What the document is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Product name.
    pub product: &'a str,
    /// Version of the release.
    pub version: &'a str,
    /// Time of the build in Unix seconds.
    pub built: u64,
    /// Name of the distribution's release.
    pub suite: &'a str,
}

/// The document. The same packages give the same bytes: its namespace is made of name and version, its
/// time is that of the build.
#[must_use]
pub fn document(about: &About<'_>, packages: &[Package]) -> String {
    let name = format!("{}-{}", about.product, about.version);
    let described = "SPDXRef-image";
    let image = json!({
        "SPDXID": described,
        "name": about.product,
        "versionInfo": about.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    });
    let listed = packages.iter().map(|package| entry(package, about.suite));
    let all: Vec<Value> = std::iter::once(image).chain(listed).collect();
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", described)];
    relations.extend(
        packages
            .iter()
            .map(|package| relation(described, "CONTAINS", &identifier(package))),
    );
    let document = json!({
        "spdxVersion": "SPDX-2.2",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("urn:twinroot:image:{name}"),
        "creationInfo": {
            "created": UnixTime(i64::try_from(about.built).unwrap_or(i64::MAX)).to_string(),
            "creators": ["Tool: twinroot-image"],
        },
        "packages": all,
        "relationships": relations,
    });
    format!("{document:#}\n")
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn entry(package: &Package, suite: &str) -> Value {
    let mut entry = json!({
        "SPDXID": identifier(package),
        "name": package.name,
        "versionInfo": package.version,
        "supplier": supplier(&package.maintainer),
        "sourceInfo": format!("built from {} {}", package.source, package.source_version),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        // The distribution's short names are not all SPDX's, so that they are handed on as a comment
        // instead of as an expression that no reader could parse.
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE_MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(package, suite),
        }],
    });
    if !package.licences.is_empty() {
        entry["licenseComments"] =
            json!(format!("copyright file: {}", package.licences.join(", ")));
    }
    if let Some(homepage) = &package.homepage {
        entry["homepage"] = json!(homepage);
    }
    entry
}

/// `SPDXRef-` and letters, digits, `.` and `-` only (SPDX 2.2, 3.2.4).
fn identifier(package: &Package) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = format!("{}-{}", package.name, package.architecture)
        .chars()
        .map(plain)
        .collect();
    // `c++` and `c--` would be one.
    let plus = package.name.matches('+').count();
    if plus == 0 {
        format!("SPDXRef-{name}")
    } else {
        format!("SPDXRef-{name}-plus{plus}")
    }
}

fn supplier(maintainer: &str) -> String {
    match maintainer {
        "" => "NOASSERTION".to_owned(),
        name => format!("Organization: {}", name.replace('<', "(").replace('>', ")")),
    }
}

/// Package URL of the kind that scanners look advisories up with (purl specification, type `deb`).
fn purl(package: &Package, suite: &str) -> String {
    if package.source == "twinroot" {
        return format!("pkg:generic/{}@{}", package.name, escaped(&package.version));
    }
    let (name, version) = (escaped(&package.name), escaped(&package.version));
    let mut purl = format!(
        "pkg:deb/debian/{name}@{version}?arch={}&distro={suite}",
        package.architecture
    );
    if package.source != package.name {
        purl.push_str(&format!("&upstream={}", escaped(&package.source)));
    }
    purl
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                out.push(byte.into())
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Package {
        Package {
            name: name.into(),
            version: "1:2.0+b1".into(),
            architecture: "amd64".into(),
            source: "src".into(),
            source_version: "1:2.0".into(),
            maintainer: "A <a@b>".into(),
            homepage: None,
            licences: vec!["MIT".into()],
        }
    }

    const ABOUT: About<'_> = About {
        product: "host",
        version: "1.0",
        built: 1_700_000_000,
        suite: "trixie",
    };

    #[test]
    fn every_package_is_listed_with_what_scanners_need() {
        let text = document(&ABOUT, &[package("libstdc++6")]);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["spdxVersion"], "SPDX-2.2");
        assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        let listed = &document["packages"][1];
        assert_eq!(listed["versionInfo"], "1:2.0+b1");
        let purl = &listed["externalRefs"][0]["referenceLocator"];
        assert_eq!(
            purl,
            "pkg:deb/debian/libstdc%2B%2B6@1%3A2.0%2Bb1?arch=amd64&distro=trixie&upstream=src"
        );
        let relations = document["relationships"].as_array().unwrap();
        assert!(
            relations
                .iter()
                .any(|r| r["relatedSpdxElement"] == listed["SPDXID"])
        );
    }

    #[test]
    fn names_that_differ_in_signs_only_stay_apart() {
        assert_ne!(identifier(&package("g++")), identifier(&package("g--")));
        let id = identifier(&package("libstdc++6"));
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'),
            "{id}"
        );
    }
}
