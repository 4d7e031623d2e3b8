//! An OCI image of one static program, made without any registry or container tool (OCI image
//! specification 1.1: layout, index, manifest, configuration, one layer).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::host::capture;

/// What the program prints.
pub const SAYS: &str = "a container ran";

/// Makes `image.tar` in `folder`, named `reference`; gives its path.
///
/// # Errors
/// When the compiler or `tar` fails.
pub fn image(folder: &Path, reference: &str) -> Result<PathBuf> {
    let (layer, layout) = (folder.join("layer"), folder.join("layout"));
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&layer)?;
    std::fs::create_dir_all(&blobs)?;
    let source = folder.join("hello.c");
    std::fs::write(
        &source,
        format!("#include <stdio.h>\nint main(void) {{ puts(\"{SAYS}\"); return 0; }}\n"),
    )?;
    let mut compile = Command::new("cc");
    compile
        .args(["-static", "-O2", "-o"])
        .arg(layer.join("hello"));
    capture(compile.arg(&source)).context("a static program needs libc6-dev")?;
    let archive = folder.join("layer.tar");
    tar(&layer, &archive)?;

    let archive = std::fs::read(archive)?;
    let diff = digest(&archive);
    let layer = blob(&blobs, &archive, "application/vnd.oci.image.layer.v1.tar")?;
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Entrypoint": ["/hello"] },
        "rootfs": { "type": "layers", "diff_ids": [diff] },
    });
    let config = document(&blobs, &config, "application/vnd.oci.image.config.v1+json")?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer],
    });
    let mut manifest = document(&blobs, &manifest, kind)?;
    manifest["annotations"] = json!({ "io.containerd.image.name": reference });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(layout.join("index.json"), index.to_string())?;
    std::fs::write(
        layout.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    let image = folder.join("image.tar");
    tar(&layout, &image)?;
    Ok(image)
}

fn tar(folder: &Path, to: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "-cf"]);
    capture(tar.arg(to).arg("-C").arg(folder).arg(".")).map(drop)
}

fn document(blobs: &Path, document: &Value, kind: &str) -> Result<Value> {
    blob(blobs, document.to_string().as_bytes(), kind)
}

/// Stores bytes by their digest; gives the descriptor.
fn blob(blobs: &Path, bytes: &[u8], kind: &str) -> Result<Value> {
    let digest = digest(bytes);
    let name = digest.trim_start_matches("sha256:");
    std::fs::write(blobs.join(name), bytes)?;
    Ok(json!({ "mediaType": kind, "digest": digest, "size": bytes.len() }))
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
