//! The signed bytes of releases that are in a slot or on the way to one. They lie beside the
//! records, so that after a restart a release is proven again from the running image's own trust
//! anchor: no file on the node can claim that something was verified.

use serde::{Deserialize, Serialize};
use twinroot_core::update::{Candidate, SavedRelease};
use twinroot_ports::{Code, Failure, Outcome, Ports};
use twinroot_trust::digest::Digest;
use twinroot_trust::release::{self, Release};
use twinroot_trust::tuf::{Expiry, Verified};
use twinroot_trust::version::Version;

use crate::options::Options;

/// Folder of the bundles.
const FOLDER: &str = "releases";

/// One release's signed documents, as text: they are JSON and TOML, and a person can read them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bundle {
    /// Root versions after the anchor it was verified with.
    pub roots: Vec<String>,
    /// Timestamp.
    pub timestamp: String,
    /// Snapshot.
    pub snapshot: String,
    /// Top-level targets.
    pub targets: String,
    /// The channel's role.
    pub channel: String,
    /// Version, as listed.
    pub version: Version,
    /// Manifest.
    pub manifest: String,
}

fn name(id: &Digest) -> String {
    format!("{FOLDER}/{id}.json")
}

/// Writes a bundle, unless it is there.
///
/// # Errors
/// What the store says.
pub fn keep(ports: Ports<'_>, id: &Digest, bundle: &Bundle) -> Outcome<()> {
    let bytes = serde_json::to_vec(bundle)
        .map_err(|e| Failure::new(Code::Internal, name(id), e.to_string()))?;
    if ports.store.read(&name(id))?.as_deref() == Some(&bytes) {
        return Ok(());
    }
    ports.store.write(&name(id), &bytes)
}

/// Removes bundles of releases that are not in `known`.
pub(super) fn sweep(ports: Ports<'_>, known: &[Digest]) -> Outcome<()> {
    let kept: Vec<String> = known.iter().map(name).collect();
    for blob in ports.store.list(FOLDER)? {
        let full = if blob.contains('/') {
            blob
        } else {
            format!("{FOLDER}/{blob}")
        };
        if !kept.contains(&full) {
            ports.store.remove(&full)?;
        }
    }
    Ok(())
}

/// Proves a saved release again: signatures and digests, from the image's anchor. Expiry was judged
/// when staging began and is judged again at the refresh before the reboot (DESIGN section 14).
///
/// # Errors
/// `stored-metadata-invalid` where the bytes are gone or damaged, else what `trust` refuses.
pub fn reverify(ports: Ports<'_>, options: &Options, saved: &SavedRelease) -> Outcome<Candidate> {
    let subject = format!("stored release {}", saved.version);
    let lost = |why: &str| Failure::new(Code::StoredMetadataInvalid, subject.clone(), why);
    let bytes = ports
        .store
        .read(&name(&saved.id))?
        .ok_or_else(|| lost("its signed bytes are gone"))?;
    let bundle: Bundle =
        serde_json::from_slice(&bytes).map_err(|e| lost(&format!("unreadable: {e}")))?;
    let verified = prove(bundle, options)
        .map_err(|e| Failure::from_code(e.code(), subject.clone(), e.to_string()))?;
    let candidate = Candidate::new(verified);
    if candidate.id() != saved.id {
        return Err(lost("the bytes are those of another release"));
    }
    Ok(candidate)
}

/// The image that runs may carry a later anchor than the one the bundle was made with: then the
/// first roots of the bundle lie before it and are left out. Each try proves the whole chain.
fn prove(bundle: Bundle, options: &Options) -> Result<Verified<Release>, release::ReleaseError> {
    let roots: Vec<Vec<u8>> = bundle.roots.into_iter().map(String::into_bytes).collect();
    let mut saved = release::SavedRelease {
        roots,
        timestamp: bundle.timestamp.into_bytes(),
        snapshot: bundle.snapshot.into_bytes(),
        targets: bundle.targets.into_bytes(),
        channel: bundle.channel.into_bytes(),
        version: bundle.version,
        manifest: bundle.manifest.into_bytes(),
    };
    let identity = &options.policy.identity;
    loop {
        let proof = saved.prove(
            &options.anchor,
            identity,
            Expiry::NotJudged,
            options.key_policy,
        );
        match proof {
            Ok(release) => return Ok(release),
            Err(refusal) if saved.roots.is_empty() => return Err(refusal),
            Err(_) => drop(saved.roots.remove(0)),
        }
    }
}
