//! The same root for containers, Kubernetes pods and WSL: a tar file, or an OCI image layout.
//!
//! What developers run there is what nodes run, byte for byte, taken out of the root image itself; only
//! `/var`, which a node makes on its state partition, is made here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use twinroot_core::error::{Code, Failure};
use twinroot_trust::time::UnixTime;

use crate::Outcome;
use crate::base::is_root;
use crate::build::{Description, names, read_description};
use crate::check::extract;
use crate::files;
use crate::output::Progress;
use crate::tool::Tool;

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tar file of the root: `wsl --import`, `docker import`, `machinectl import-tar`.
    Tar,
    /// A folder in the OCI image layout: `skopeo copy oci:FOLDER …`.
    Oci,
}

/// Rules that make `/var`.
const RULES: &str = "usr/lib/tmpfiles.d/00-image-var.conf";

/// Exports a build.
///
/// # Errors
/// `not-permitted` without root (owners would be lost), `tool-missing`, `file-io` where `out` exists.
pub fn run(image: &Path, kind: Kind, out: &Path, progress: &Progress) -> Outcome<()> {
    let description = read_description(image)?;
    if !is_root() {
        let cause = "only root can keep the owners of files";
        return Err(Failure::new(Code::NotPermitted, "export", cause).with_remedy("run it as root"));
    }
    if out.exists() {
        let cause = "exists already";
        return Err(Failure::new(Code::FileIo, out.display().to_string(), cause)
            .with_remedy("choose another name"));
    }
    let work = tempfile::tempdir_in(image).map_err(|error| files::failed(image, "use", &error))?;
    let root = work.path().join("root");
    progress.step("unpack");
    extract(&image.join(names::ROOT), &root)?;
    complete(&root)?;
    progress.step("pack");
    let tar = work.path().join("root.tar");
    pack(&root, &tar, description.built)?;
    match kind {
        Kind::Tar => files::rename_or_copy(&tar, out)?,
        Kind::Oci => layout(&description, &tar, out)?,
    }
    progress.end();
    Ok(())
}

/// Makes what a node has elsewhere: folders of `/var`, and a file that container engines mount over.
fn complete(root: &Path) -> Outcome<()> {
    Tool::new("systemd-tmpfiles")
        .arg("--create")
        .arg(format!("--root={}", root.display()))
        .arg(root.join(RULES))
        .run()?;
    files::write(&root.join("etc/resolv.conf"), "")
}

fn pack(root: &Path, tar: &Path, built: u64) -> Outcome<()> {
    Tool::new("tar")
        .args([
            "--create",
            "--sort=name",
            "--numeric-owner",
            "--format=posix",
            "--xattrs",
        ])
        .args(["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"])
        .arg(format!("--mtime=@{built}"))
        .arg("--file")
        .arg(tar)
        .arg("--directory")
        .arg(root)
        .arg(".")
        .run()
        .map(drop)
}

/// Writes an OCI image layout (OCI image specification 1.1): one layer, its configuration, a manifest and
/// an index. The layer is not compressed, so that its digest is that of the tar file; what pushes it
/// compresses it.
fn layout(description: &Description, tar: &Path, out: &Path) -> Outcome<()> {
    let blobs = out.join("blobs/sha256");
    files::make_folder(&blobs)?;
    let (layer, size) = digest_of(tar)?;
    files::rename_or_copy(tar, &blobs.join(&layer))?;
    let created = UnixTime(i64::try_from(description.built).unwrap_or(i64::MAX)).to_string();
    let configuration = json!({
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"],
            "Cmd": ["/bin/bash"],
            "Labels": {
                "org.opencontainers.image.title": description.product,
                "org.opencontainers.image.version": description.version,
                "twinroot.root-hash": description.root_hash.to_string(),
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": created, "created_by": "twinroot-image export" }],
    });
    let configuration = blob(
        &blobs,
        "application/vnd.oci.image.config.v1+json",
        &configuration,
    )?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": configuration,
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": format!("sha256:{layer}"),
            "size": size,
        }],
    });
    let mut manifest = blob(
        &blobs,
        "application/vnd.oci.image.manifest.v1+json",
        &manifest,
    )?;
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": description.version });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    files::write(&out.join("index.json"), index.to_string())?;
    files::write(
        &out.join("oci-layout"),
        json!({ "imageLayoutVersion": "1.0.0" }).to_string(),
    )
}

/// Stores a document by its digest; gives what refers to it.
fn blob(blobs: &Path, kind: &str, document: &Value) -> Outcome<Value> {
    let bytes = document.to_string().into_bytes();
    let digest = twinroot_payload::verity::hex(&Sha256::digest(&bytes));
    files::write(&blobs.join(&digest), &bytes)?;
    Ok(json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
}

fn digest_of(path: &Path) -> Outcome<(String, u64)> {
    let mut file = File::open(path).map_err(|error| files::failed(path, "open", &error))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match file
            .read(&mut piece)
            .map_err(|error| files::failed(path, "read", &error))?
        {
            0 => return Ok((twinroot_payload::verity::hex(&hash.finalize()), size)),
            count => {
                hash.update(&piece[..count]);
                size += count as u64;
            }
        }
    }
}
