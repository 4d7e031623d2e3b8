//! Repositories made by python-tuf and tough are read, to the byte.

use std::path::{Path, PathBuf};

use twinroot_publish::serve::Server;
use twinroot_tests::python_tuf;
use twinroot_trust::digest::Digest;

use crate::support::Client;

fn fixtures(maker: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/trust/tests/fixtures")
        .join(maker)
}

/// Every target that is published in `folder` under its digest or its plain name.
fn published(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(here) = folders.pop() {
        for entry in std::fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder).unwrap().to_str().unwrap();
            let (dir, leaf) = relative.rsplit_once('/').unwrap_or(("", relative));
            let hex =
                |prefix: &str| prefix.len() >= 64 && prefix.bytes().all(|b| b.is_ascii_hexdigit());
            let plain = leaf
                .split_once('.')
                .filter(|(prefix, _)| hex(prefix))
                .map_or(leaf, |(_, rest)| rest);
            let name = if dir.is_empty() {
                plain.to_owned()
            } else {
                format!("{dir}/{plain}")
            };
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Refreshes and fetches every target; the store must then hold exactly the bytes that are served.
fn reads_all(repository: &Path, metadata: &str, targets: &str) {
    let anchor = repository.join("metadata/1.root.json");
    let client = Client::new(metadata, targets);
    client
        .refresh(&["--root", anchor.to_str().unwrap()])
        .is_good();
    let expected = published(&repository.join("targets"));
    assert!(!expected.is_empty(), "{}", repository.display());
    let names: Vec<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    client.fetch(&names).is_good();
    for (name, bytes) in &expected {
        let got = std::fs::read(client.out().join(name)).unwrap();
        assert_eq!(Digest::of(&got), Digest::of(bytes), "{name}");
    }
    let served = crate::support::files(&repository.join("metadata"));
    for (name, bytes) in client.stored() {
        let same = served.values().any(|document| *document == bytes);
        assert!(same, "{name} in the store is not what was served");
    }
    let newest_root = served
        .keys()
        .filter(|name| name.ends_with(".root.json"))
        .max()
        .unwrap();
    assert_eq!(client.stored()["root.json"], served[newest_root]);
}

fn over_files(repository: &Path) {
    let url = |part: &str| {
        format!(
            "file://{}/{part}",
            repository.canonicalize().unwrap().display()
        )
    };
    reads_all(repository, &url("metadata"), &url("targets"));
}

fn over_http(repository: &Path) {
    let server = Server::start(repository, "127.0.0.1:0").unwrap();
    reads_all(repository, &server.metadata_url(), &server.targets_url());
}

#[test]
fn repositories_made_by_python_tuf_are_read_from_files() {
    for name in [
        "plain",
        "not-consistent",
        "delegations",
        "p256",
        "rotated-roots",
    ] {
        over_files(&fixtures("python-tuf").join(name));
    }
}

/// `delegations` is left out: on disk its file names are quoted, as a request spells them.
#[test]
fn repositories_made_by_python_tuf_are_read_over_http() {
    for name in ["plain", "not-consistent", "p256", "rotated-roots"] {
        over_http(&fixtures("python-tuf").join(name));
    }
}

#[test]
fn repositories_made_by_tough_are_read_over_http_and_from_files() {
    for name in ["ed25519", "p256"] {
        over_http(&fixtures("tough").join(name));
        over_files(&fixtures("tough").join(name));
    }
}

#[test]
fn repositories_that_python_tuf_makes_now_are_read() {
    let Some(python) = python_tuf::python() else {
        return twinroot_tests::skip("python-tuf cannot be installed from PyPI");
    };
    let dir = tempfile::TempDir::new().unwrap();
    let script = dir.path().join("make.py");
    std::fs::copy(fixtures("python-tuf").join("make.py"), &script).unwrap();
    let made = std::process::Command::new(python)
        .arg(&script)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for name in [
        "plain",
        "not-consistent",
        "delegations",
        "p256",
        "rotated-roots",
    ] {
        over_files(&dir.path().join(name));
    }
}
