//! Pure rooms hold no clock, network, file system or runtime: not in their own code, not in what they
//! link. And the node's binary holds no encoder.

use std::path::Path;

use anyhow::{Context, Result};

use crate::run;

/// Rooms that decide or compute only.
pub const PURE_ROOMS: [&str; 3] = ["twinroot-trust", "twinroot-payload", "twinroot-core"];

/// Packages that bring a runtime, a network, a kernel interface or a clock with them.
const IMPURE: [&str; 24] = [
    "async-std",
    "chrono",
    "curl",
    "fs-err",
    "getrandom",
    "h2",
    "hyper",
    "jiff",
    "libc",
    "mio",
    "nix",
    "openssl",
    "rand",
    "reqwest",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "ureq",
    "walkdir",
    "web-time",
];

/// Packages of the list above that a pure room links all the same, with the reason. Empty reasons are
/// not accepted by the test below.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "twinroot-core",
    "jiff",
    "judges windows in zones whose rules come in as bytes; without its `std` it has neither clock nor files",
)];

/// One package in a room's normal dependencies, with the features that are on for it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Package name.
    pub name: String,
    /// Its features, as Cargo resolves them when the room alone is built.
    pub features: Vec<String>,
}

/// What a room links when it is built alone, its default features on, proc macros and tests aside.
pub fn dependency_tree(root: &Path, package: &str) -> Result<Vec<Linked>> {
    let mut command = run::cargo(["tree", "-p", package, "-e", "normal,no-proc-macro"]);
    command
        .args(["--prefix", "none", "--no-dedupe", "-f", "{p}|{f}"])
        .current_dir(root);
    let mut linked = parse(&run::capture(&mut command)?)?;
    linked.sort_by(|a, b| a.name.cmp(&b.name));
    linked.dedup();
    Ok(linked)
}

fn parse(output: &str) -> Result<Vec<Linked>> {
    output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(parse_line)
        .collect()
}

/// `sha2 v0.11.1|alloc,std`
fn parse_line(line: &str) -> Result<Linked> {
    let (package, features) = line
        .split_once('|')
        .with_context(|| format!("odd line of cargo tree: {line}"))?;
    let name = package
        .split_whitespace()
        .next()
        .context("cargo tree printed an empty name")?;
    let features = features
        .trim_end_matches(" (*)")
        .split(',')
        .filter(|f| !f.is_empty());
    Ok(Linked {
        name: name.to_owned(),
        features: features.map(str::to_owned).collect(),
    })
}

/// Everything about the pure room `package` that breaks the rule, as one line each.
pub fn violations(root: &Path, package: &str, linked: &[Linked]) -> Result<Vec<String>> {
    let mut found = impure(package, linked);
    let folder = root
        .join("crates")
        .join(package.trim_start_matches("twinroot-"));
    let lib = folder.join("src/lib.rs");
    let text =
        std::fs::read_to_string(&lib).with_context(|| format!("cannot read {}", lib.display()))?;
    if !text.lines().any(|line| line.trim() == "#![no_std]") {
        found.push(format!(
            "purity: {package}: src/lib.rs does not say #![no_std]"
        ));
    }
    let bans = folder.join("clippy.toml");
    let bans = std::fs::read_to_string(&bans)
        .with_context(|| format!("cannot read {}", bans.display()))?;
    for method in [
        "std::time::SystemTime::now",
        "std::fs::write",
        "std::net::TcpStream::connect",
    ] {
        if !bans.contains(&format!("path = \"{method}\", reason = \"")) {
            found.push(format!(
                "purity: {package}: clippy.toml does not ban {method} with a reason"
            ));
        }
    }
    Ok(found)
}

fn impure(package: &str, linked: &[Linked]) -> Vec<String> {
    let excepted = |name: &str| {
        EXCEPTIONS
            .iter()
            .any(|(room, used, _)| *room == package && *used == name)
    };
    let mut found = Vec::new();
    for Linked { name, features } in linked {
        if IMPURE.contains(&name.as_str()) && !excepted(name) {
            found.push(format!(
                "purity: {package} links {name}: clock, network, files and runtimes stay above"
            ));
        }
        // No exception here: `std` is what would bring the clock and the files that an exception rests on.
        if features.iter().any(|feature| feature == "std") {
            found.push(format!(
                "purity: {package} turns on `std` of {name}; use default-features = false"
            ));
        }
    }
    found
}

/// What the node's binary must not carry when it is built by itself.
pub fn node_violations(root: &Path) -> Result<Vec<String>> {
    Ok(node_misfits(&dependency_tree(root, "twinroot")?))
}

fn node_misfits(linked: &[Linked]) -> Vec<String> {
    let mut found = Vec::new();
    for Linked { name, features } in linked {
        // DESIGN, decisions: encoding lives behind the publisher's feature; the node cannot make payloads.
        if name == "twinroot-payload" && features.iter().any(|feature| feature == "encode") {
            found.push("purity: twinroot turns on `encode` of twinroot-payload".to_owned());
        }
        if ["twinroot-sim", "twinroot-publish"].contains(&name.as_str()) {
            found.push(format!(
                "purity: twinroot links {name}, which never belongs on a node"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(name: &str, features: &[&str]) -> Linked {
        Linked {
            name: name.into(),
            features: features.iter().map(|&f| f.to_owned()).collect(),
        }
    }

    #[test]
    fn a_runtime_anywhere_below_a_pure_room_is_found() {
        let found = impure(
            "twinroot-core",
            &[linked("serde", &["alloc"]), linked("tokio", &[])],
        );
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("links tokio"), "{found:?}");
    }

    #[test]
    fn a_std_feature_below_a_pure_room_is_found() {
        let found = impure("twinroot-trust", &[linked("sha2", &["alloc", "std"])]);
        assert!(found[0].contains("`std` of sha2"), "{found:?}");
    }

    #[test]
    fn an_exception_does_not_let_std_in() {
        let core = "twinroot-core";
        assert_eq!(
            impure(core, &[linked("jiff", &["alloc"])]),
            Vec::<String>::new()
        );
        assert_eq!(impure(core, &[linked("jiff", &["alloc", "std"])]).len(), 1);
        assert_eq!(
            impure("twinroot-trust", &[linked("jiff", &["alloc"])]).len(),
            1
        );
    }

    #[test]
    fn an_encoder_on_the_node_is_found() {
        assert_eq!(
            node_misfits(&[linked("twinroot-payload", &["encode"])]).len(),
            1
        );
        assert_eq!(
            node_misfits(&[linked("twinroot-payload", &[])]),
            Vec::<String>::new()
        );
        assert_eq!(node_misfits(&[linked("twinroot-sim", &[])]).len(), 1);
    }

    #[test]
    fn the_output_of_cargo_tree_is_read_whole() {
        let tree =
            parse("twinroot-core v0.1.0 (/a b/crates/core)|\nserde v1.0.229|alloc,derive (*)\n\n")
                .unwrap();
        assert_eq!(
            tree,
            vec![
                linked("twinroot-core", &[]),
                linked("serde", &["alloc", "derive"])
            ]
        );
        assert!(parse("no bar here").is_err());
    }

    #[test]
    fn every_exception_has_a_reason() {
        for (room, used, reason) in EXCEPTIONS {
            assert!(reason.len() > 20, "{room} may link {used}, but why?");
        }
    }
}
