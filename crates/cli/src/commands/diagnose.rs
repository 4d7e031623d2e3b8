//! `twinroot diagnose`: what somebody who helps needs to see, in one archive, without secrets. Only what
//! is named here goes in; files of the node are never copied as they are.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use twinroot_agent::{Quiet, report};
use twinroot_core::error::{Code, Failure};
use twinroot_core::wire::Schema;
use twinroot_ports::Outcome;

use super::look::{self, Target};
use crate::archive;
use crate::client::Client;
use crate::machine::{Access, Node, SEED};
use crate::scrub::scrub;

/// Blobs of the store that are secrets of the node: its place in rollouts and the key that signs reports.
const SECRET_BLOBS: [&str; 2] = [SEED, "node-key"];

/// Writes the archive.
pub(super) fn run(target: &Target<'_>, out: Option<&Path>) -> Outcome<()> {
    let node = Node::open(target.machine, Access::Look)?;
    let known = secrets(&node);
    let at = node.ports().clock.now().wall.0;
    let mut documents = collect(target, &node)?;
    for (_, content) in &mut documents {
        *content = scrub(&String::from_utf8_lossy(content), &known).into_bytes();
    }
    let name = format!("twinroot-diagnose-{at}.tar");
    let path = out.unwrap_or_else(|| Path::new(&name));
    write(
        path,
        &archive::tar(&documents, u64::try_from(at).unwrap_or(0)),
    )?;
    let diagnosis = Diagnosis {
        schema: Schema,
        archive: path.display().to_string(),
        documents: documents.into_iter().map(|(name, _)| name).collect(),
    };
    target.screen.answer(&diagnosis, |diagnosis| {
        format!(
            "{}: {}\n",
            diagnosis.archive,
            diagnosis.documents.join(", ")
        )
    })
}

/// The answer.
#[derive(Debug, Serialize)]
struct Diagnosis {
    schema: Schema<1>,
    /// Where the archive lies.
    archive: String,
    /// Names of the documents in it.
    documents: Vec<String>,
}

/// A part that cannot be had says why in its place: an archive is asked for when things are broken.
fn collect(target: &Target<'_>, node: &Node) -> Outcome<Vec<(String, Vec<u8>)>> {
    let mut documents = vec![
        (String::from("about.txt"), about().into_bytes()),
        (String::from("config.json"), json(&look::settings_of(node))?),
        (String::from("store.txt"), stored(node)),
    ];
    let mut part = |name: &str, content: Outcome<Vec<u8>>| {
        let content = content.unwrap_or_else(|failure| format!("{failure}\n").into_bytes());
        documents.push((name.to_owned(), content));
    };
    let agent = node.agent(Access::Look, &Quiet);
    match &agent {
        Ok(agent) => {
            part(
                "status.json",
                report::status(agent, node.settings()).and_then(|s| json(&s)),
            );
            part("why.json", report::why(agent).and_then(|why| json(&why)));
            part(
                "facts.txt",
                Ok(format!("{:#?}\n", agent.facts()).into_bytes()),
            );
            part("records.json", json(agent.records()));
        }
        Err(failure) => part("status.json", Err(failure.clone())),
    }
    part(
        "history.jsonl",
        look::history_lines(node).map(String::into_bytes),
    );
    for (name, path) in [
        ("agent/status.json", "/v1/status"),
        ("agent/health.json", "/v1/health"),
        ("agent/metrics.txt", "/metrics"),
    ] {
        part(name, Client::text(target.machine, path));
    }
    Ok(documents)
}

/// Program, kernel and image.
fn about() -> String {
    let kernel = std::fs::read_to_string("/proc/version").unwrap_or_default();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let image = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    format!("twinroot {version}\n{kernel}uptime {uptime}\n{image}")
}

/// Names and sizes of the records, never their content.
fn stored(node: &Node) -> Vec<u8> {
    let store = node.ports().store;
    let mut text = String::new();
    for name in store.list("").unwrap_or_default() {
        let size = store
            .read(&name)
            .ok()
            .flatten()
            .map_or(0, |bytes| bytes.len());
        text.push_str(&format!("{size:>8} {name}\n"));
    }
    text.into_bytes()
}

/// Every secret that the node holds or was given.
fn secrets(node: &Node) -> Vec<String> {
    let store = node.ports().store;
    let blobs = SECRET_BLOBS
        .iter()
        .filter_map(|name| store.read(name).ok().flatten());
    let repository = &node.settings().repository;
    let files = [&repository.bearer_file, &repository.client_key];
    let files = files
        .into_iter()
        .flatten()
        .filter_map(|path| std::fs::read(path).ok());
    // Bytes that are no text cannot stand in a text; their hex form may.
    blobs
        .chain(files)
        .flat_map(|bytes| [String::from_utf8_lossy(&bytes).into_owned(), hex(&bytes)])
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json<T: Serialize>(value: &T) -> Outcome<Vec<u8>> {
    serde_json::to_vec_pretty(value)
        .map_err(|e| Failure::new(Code::Internal, "a document of the archive", e.to_string()))
}

/// For its owner alone, and never over a file that is there.
fn write(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let failed =
        |e: std::io::Error| Failure::new(Code::FileIo, path.display().to_string(), e.to_string());
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)
}
