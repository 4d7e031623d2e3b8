//! python-tuf, the reference client, reads what `twinroot-publish` writes.
//!
//! The repository is made by the built program with the real clock and served by its own server;
//! the judge is installed from PyPI into the build directory, its versions pinned.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use twinroot_publish::documents::{Envelope, SnapshotEntry};
use twinroot_publish::fake;
use twinroot_publish::keys::{KeyDirectory, Passphrase, Signer};
use twinroot_publish::layout::Layout;
use twinroot_publish::published::Published;
use twinroot_tests::{program, skip};

const STABLE: &str = "channels/stable/container-host/x86-64/1.0/manifest.toml";
const EDGE: &str = "channels/edge/container-host/x86-64/2.0/manifest.toml";
const POLICY: &str = "rollout/container-host/x86-64/stable.toml";

/// A repository made by the program, and its server.
struct Made {
    dir: tempfile::TempDir,
    server: Child,
    metadata: String,
    targets: String,
}

impl Drop for Made {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let keys = dir.path().join("keys");
        publish(
            dir.path(),
            &[
                "init",
                "repository",
                "--product",
                "container-host",
                "--channel",
                "stable:2of3",
                "--channel",
                "edge:1of1",
                "--create-keys",
                "--no-passphrase",
            ],
        );
        assert!(keys.is_dir());
        for (channel, version, seed) in [("stable", "1.0", 1), ("edge", "2.0", 2)] {
            let image = fake::image(seed, 64);
            let uki = fake::uki(&version.parse().unwrap(), &fake::root_hash(&image));
            std::fs::write(dir.path().join("root.img"), image).unwrap();
            std::fs::write(dir.path().join("uki.efi"), uki).unwrap();
            let salt: String = fake::SALT
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            publish(
                dir.path(),
                &[
                    "add",
                    "--channel",
                    channel,
                    "--version",
                    version,
                    "--root",
                    "root.img",
                    "--uki",
                    "uki.efi",
                    "--salt",
                    &salt,
                    "--level",
                    "1",
                ],
            );
        }
        // The three files of a first ceremony, two of three signatures each where two are wanted.
        for (draft, names) in [
            ("root", &["root-1", "root-3"]),
            ("targets", &["targets-2", "targets-3"]),
            ("channel-stable", &["stable-1", "stable-2"]),
        ] {
            for key in names {
                publish(dir.path(), &["sign", draft, "--key", key]);
            }
        }
        publish(dir.path(), &["sign", "channel-edge"]);
        publish(dir.path(), &["sign", "rollout"]);
        publish(dir.path(), &["release"]);
        publish(
            dir.path(),
            &["rollout", "--channel", "stable", "--offer", "1.0"],
        );
        let (server, metadata, targets) = serve(dir.path());
        Self {
            dir,
            server,
            metadata,
            targets,
        }
    }

    fn published(&self) -> PathBuf {
        self.dir.path().join("repository/repo")
    }

    /// Asks the judge; `store` is what the client keeps.
    fn ask(&self, judge: &Path, store: &str, names: &[&str]) -> Value {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/python_tuf_reads_publish.py");
        let output = Command::new(judge)
            .arg(script)
            .args([&self.metadata, &self.targets])
            .arg(self.published().join("metadata/1.root.json"))
            .arg(self.dir.path().join(store))
            .args(names)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the targets really are, by name.
    fn expected(&self, name: &str) -> (u64, String) {
        let (directory, file) = name.rsplit_once('/').unwrap();
        let suffix = format!(".{file}");
        let directory = self.published().join("targets").join(directory);
        let paths = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let newest = paths
            .filter(|path| path.to_string_lossy().ends_with(&suffix))
            .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
        let bytes = std::fs::read(newest.unwrap()).unwrap();
        (
            bytes.len() as u64,
            twinroot_trust::digest::Digest::of(&bytes).to_string(),
        )
    }
}

fn publish(dir: &Path, arguments: &[&str]) {
    let output = Command::new(program("twinroot-publish"))
        .args(["-C", "repository", "--keys", "keys"])
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn serve(dir: &Path) -> (Child, String, String) {
    let mut server = Command::new(program("twinroot-publish"))
        .args(["-C", "repository", "serve", "--json"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let urls: Value = serde_json::from_str(&line).unwrap();
    let url = |name: &str| urls[name].as_str().unwrap().to_owned();
    let (metadata, targets) = (url("metadata"), url("targets"));
    (server, metadata, targets)
}

/// The Python of an environment with the pinned judge; none where PyPI cannot be reached or Python
/// is missing.
fn judge() -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let environment = target.join("interop/python-tuf-7.0.0");
    let python = environment.join("bin/python");
    let ready = environment.join("ready");
    if !ready.is_file() {
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/requirements.txt");
        let made = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment)
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        let installed = Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--retries",
                "1",
                "--timeout",
                "20",
                "-r",
            ])
            .arg(requirements)
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            return None;
        }
        std::fs::write(ready, "").unwrap();
    }
    Some(python)
}

#[test]
fn python_tuf_reads_our_repository_with_a_channel_that_two_of_three_keys_sign() {
    let Some(judge) = judge() else {
        return skip("python-tuf cannot be installed from PyPI");
    };
    let mut made = Made::new();
    let missing = "channels/stable/container-host/x86-64/9.9/manifest.toml";
    let answer = made.ask(&judge, "store", &[STABLE, EDGE, POLICY, missing]);
    for name in [STABLE, EDGE, POLICY] {
        let (length, sha256) = made.expected(name);
        assert_eq!(answer["targets"][name]["length"], length, "{answer}");
        assert_eq!(
            answer["targets"][name]["sha256"],
            sha256.as_str(),
            "{answer}"
        );
    }
    assert_eq!(answer["targets"][missing], Value::Null, "{answer}");
    let versions: BTreeMap<String, u64> =
        serde_json::from_value(answer["versions"].clone()).unwrap();
    assert_eq!(versions["timestamp"], 2, "{answer}");

    // The same client comes back after keys of every kind of role have been replaced.
    let keys = ["root-9", "timestamp-9", "stable-9"];
    for (key, (role, old)) in keys.iter().zip([
        ("root", "root-1"),
        ("timestamp", "timestamp-1"),
        ("stable", "stable-1"),
    ]) {
        publish(made.dir.path(), &["key", "new", key, "--no-passphrase"]);
        publish(made.dir.path(), &["key", "rotate", role, old, key]);
    }
    publish(made.dir.path(), &["sign", "all"]);
    publish(made.dir.path(), &["release"]);
    publish(
        made.dir.path(),
        &["pause", "--channel", "stable", "--reason", "a test"],
    );
    for store in ["store", "new-store"] {
        let answer = made.ask(&judge, store, &[STABLE, POLICY]);
        let (length, sha256) = made.expected(POLICY);
        assert_eq!(
            answer["targets"][POLICY]["length"], length,
            "{store}: {answer}"
        );
        assert_eq!(
            answer["targets"][POLICY]["sha256"],
            sha256.as_str(),
            "{store}: {answer}"
        );
        assert_eq!(answer["versions"]["root"], 2, "{store}: {answer}");
    }

    // That the judge sees: one signature of the two that are wanted is refused, and so is silence.
    publish_with_one_signature(&made);
    let refused = made.ask(&judge, "third-store", &[STABLE]);
    assert_eq!(refused["refused"], "UnsignedMetadataError", "{refused}");
    made.server.kill().unwrap();
    made.server.wait().unwrap();
    let unreachable = made.ask(&judge, "store", &[STABLE]);
    assert!(unreachable["refused"].is_string(), "{unreachable}");
}

/// Publishes, past all checks of our own, a channel file that only one of three keys has signed:
/// snapshot and timestamp name it and are signed as ever, so the threshold alone is in its way.
fn publish_with_one_signature(made: &Made) {
    let metadata = made.published().join("metadata");
    let keys = KeyDirectory::new(made.dir.path().join("keys"), Passphrase::None);
    let published = Published::load(&Layout::new(made.dir.path().join("repository"))).unwrap();
    let write = |role: &str, version: u64, envelope: &Envelope| {
        let bytes = envelope.to_bytes();
        std::fs::write(metadata.join(Layout::role_file(role, version)), &bytes).unwrap();
        SnapshotEntry::of(version, &bytes)
    };
    let sign = |envelope: &mut Envelope, key: &str| {
        let signer = keys.signer(key).unwrap();
        let signature = signer.sign(&envelope.message()).unwrap();
        envelope.sign(signer.public().unwrap().id(), signature);
    };
    let role = "channel-stable";
    let mut channel = published.targets[role].document.clone();
    channel.version += 1;
    let mut envelope = Envelope::new(&channel);
    sign(&mut envelope, "stable-2");
    let entry = write(role, channel.version, &envelope);

    let mut snapshot = published.snapshot.unwrap().document;
    snapshot.version += 1;
    snapshot.meta.insert(role.into(), entry);
    let mut envelope = Envelope::new(&snapshot);
    sign(&mut envelope, "snapshot-1");
    let entry = write("snapshot", snapshot.version, &envelope);

    let mut timestamp = published.timestamp.unwrap().document;
    timestamp.version += 1;
    timestamp.snapshot = entry;
    let mut envelope = Envelope::new(&timestamp);
    sign(&mut envelope, "timestamp-9");
    write("timestamp", timestamp.version, &envelope);
}
