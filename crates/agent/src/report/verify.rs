//! `twinroot verify`: proves, in bytes, that what lies in a slot is what was signed. Nothing that
//! the node remembers is believed: signatures are checked again from the image's trust anchor, the
//! slot is hashed past the cache, and the boot image is hashed and its `roothash=` read.

use twinroot_core::bootfmt::pe;
use twinroot_core::slot::{Part, SlotName};
use twinroot_core::update::{Candidate, SavedRelease};
use twinroot_core::wire::{ReleaseRef, Schema};
use twinroot_core::wire::{SlotProof, VerifyReport};
use twinroot_payload::finish;
use twinroot_payload::verity::{TreeShape, root_of};
use twinroot_ports::{Code, Failure, Outcome};
use twinroot_trust::digest::Digest;

use super::candidate as names;
use crate::agent::Agent;
use crate::perform::signed;
use crate::perform::stage::coded;
use crate::perform::uki::digest_of;

/// Proves both slots. A slot that holds nothing and should hold nothing is left out; the running
/// one is always looked at.
///
/// # Errors
/// Never for a slot that is wrong (that is the report); only where the machine cannot be read.
pub fn verify(agent: &Agent<'_>) -> Outcome<VerifyReport> {
    let facts = agent.facts();
    let mut slots = vec![slot(agent, facts.booted().name(), facts.system().root_hash)];
    if let Some(root) = facts.inactive_root() {
        slots.push(slot(agent, facts.inactive().name(), root));
    }
    Ok(VerifyReport {
        schema: Schema,
        all_good: slots.iter().all(|proof| proof.good),
        slots,
    })
}

/// One slot; every failure ends up in the report.
fn slot(agent: &Agent<'_>, name: SlotName, root: Digest) -> SlotProof {
    let mut proof = SlotProof {
        slot: name,
        expected: None,
        computed: None,
        good: false,
        detail: String::new(),
    };
    match prove(agent, name, root, &mut proof) {
        Ok(()) => {
            proof.good = true;
            proof.detail = String::from(
                "signatures, slot data, hash tree and boot image all lead to this root hash",
            );
        }
        Err(failure) => proof.detail = failure.to_string(),
    }
    proof
}

fn prove(agent: &Agent<'_>, name: SlotName, root: Digest, proof: &mut SlotProof) -> Outcome<()> {
    let release = expected(agent, name, root, proof)?;
    proof.expected = Some(names(&release));
    if let Err(failure) = tree(agent, name, &release) {
        // What it holds instead, for whoever has to find out why.
        let computed = data(agent, name, &release)?;
        proof.computed = Some(computed);
        return Err(match computed == release.root_hash() {
            true => failure,
            false => other_data(name, &computed, &release),
        });
    }
    // Computed from the data just now, or `tree` had failed.
    proof.computed = Some(release.root_hash());
    boot_image(agent, &release)
}

fn other_data(name: SlotName, computed: &Digest, release: &Candidate) -> Failure {
    Failure::new(
        Code::RootHashMismatch,
        format!("slot {name}"),
        format!(
            "its data hashes to {computed}, signed is {}",
            release.root_hash()
        ),
    )
    .with_remedy("write it again with `twinroot repair`")
}

/// The release that the slot says it holds, from its signed bytes.
fn expected(
    agent: &Agent<'_>,
    name: SlotName,
    root: Digest,
    proof: &mut SlotProof,
) -> Outcome<Candidate> {
    let known: Option<&SavedRelease> = agent.records().known_by_root(&root);
    let Some(known) = known else {
        proof.expected = Some(ReleaseRef {
            version: String::from("unknown"),
            manifest: None,
            root_hash: Some(root),
        });
        return Err(Failure::new(
            Code::StoredMetadataInvalid,
            format!("slot {name} with root hash {root}"),
            "no signed description of this release is kept here",
        )
        .with_remedy("fetch it with `twinroot check`, then verify again"));
    };
    proof.expected = Some(super::saved(known));
    signed::reverify(agent.ports(), agent.options(), known)
}

/// Root hash of the slot's data, read past the cache.
fn data(agent: &Agent<'_>, name: SlotName, release: &Candidate) -> Outcome<Digest> {
    let subject = format!("slot {name}");
    let shape = shape(&subject, release)?;
    let data = agent.ports().disk.reader(name, Part::Data)?;
    let root = root_of(&*data, &shape, &release.verity().salt).map_err(|e| coded(&subject, &e))?;
    Ok(Digest::from_bytes(root))
}

/// The data leads to the signed root hash, and the stored hash tree is the data's, block for block: it is what
/// the kernel reads.
fn tree(agent: &Agent<'_>, name: SlotName, release: &Candidate) -> Outcome<()> {
    let subject = format!("slot {name} (tree)");
    let goal = finish::Goal {
        shape: shape(&subject, release)?,
        salt: &release.verity().salt,
        root_hash: *release.root_hash().as_bytes(),
    };
    let disk = agent.ports().disk;
    let data = disk.reader(name, Part::Data)?;
    let stored = disk.reader(name, Part::Tree)?;
    finish::verify(&goal, &*data, &*stored).map_err(|e| coded(&subject, &e))
}

fn shape(subject: &str, release: &Candidate) -> Outcome<TreeShape> {
    TreeShape::for_size(release.image().size).map_err(|e| coded(subject, &e))
}

/// A denied release has none by intent, and to apply it again would be wrong.
fn no_image(agent: &Agent<'_>, release: &Candidate, subject: &str) -> Failure {
    let lacking = |cause| Failure::new(Code::EntryMissing, subject, cause);
    let wall = agent.ports().clock.now().wall;
    match agent.records().denies_root(&release.root_hash(), wall) {
        Some(_) => lacking("the release is denied, and its entry was removed")
            .with_remedy("write a good release over it with `twinroot repair`"),
        None => lacking("no entry and no staged image has its digest"),
    }
}

/// The boot image has the signed digest and starts this root.
fn boot_image(agent: &Agent<'_>, release: &Candidate) -> Outcome<()> {
    let uki = release.uki();
    let subject = format!("boot image of {}", release.version());
    let image = agent.ports().bootloader.image(&uki.digest())?;
    let image = image.ok_or_else(|| no_image(agent, release, &subject))?;
    if digest_of(&*image, uki.size)? != Some(uki.digest()) {
        return Err(Failure::new(
            Code::DigestMismatch,
            subject,
            "it does not have the signed length and digest",
        ));
    }
    let info = pe::read_uki_from(&subject, &*image)?;
    if info.root_hash != release.root_hash() {
        return Err(Failure::new(
            Code::UkiRootHashMismatch,
            subject,
            format!("it starts root hash {}", info.root_hash),
        ));
    }
    Ok(())
}
