//! A web server for a published repository that says what it has sent, so that a measurement need not
//! believe the node's own figures.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use twinroot_publish::serve::Server;

/// What to serve.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The published folder: the repository's `repo`
    root: PathBuf,
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: String,
}

/// Bytes and requests of each payload file that was asked for, so that an image's can be told from a UKI's.
fn files(server: &Server) -> serde_json::Map<String, serde_json::Value> {
    let mut files = BTreeMap::<String, (u64, u64)>::new();
    for served in server.log() {
        if served.path.contains("/payload") {
            let file = files.entry(served.path).or_default();
            *file = (file.0 + served.bytes, file.1 + 1);
        }
    }
    let json = |(bytes, requests)| json!({ "bytes": bytes, "requests": requests });
    files
        .into_iter()
        .map(|(path, sent)| (path, json(sent)))
        .collect()
}

/// Prints the URLs, then answers each line on standard input with the counts since the line before;
/// ends with the end of standard input, so that no server outlives its master.
pub(crate) fn run(args: &Args) -> Result<()> {
    let server = Server::start(&args.root, &args.addr)
        .with_context(|| format!("cannot serve {} at {}", args.root.display(), args.addr))?;
    println!(
        "{}",
        json!({ "metadata": server.metadata_url(), "targets": server.targets_url() })
    );
    for line in std::io::stdin().lock().lines() {
        line.context("cannot read standard input")?;
        let payload: u64 = server
            .log()
            .iter()
            .filter(|served| served.path.contains("/payload"))
            .map(|served| served.bytes)
            .sum();
        println!(
            "{}",
            json!({ "requests": server.requests(), "bytes": server.bytes_sent(), "payload": payload,
                "files": files(&server) })
        );
        server.forget();
    }
    Ok(())
}
