//! Brings the boot image to where entries are kept, under a name that no loader boots: made of one
//! that is here by a delta, else fetched plain. Its signed digest covers every byte before it can
//! become an entry.

use twinroot_core::update::Candidate;
use twinroot_payload::io::Fault;
use twinroot_ports::{Code, Failure, Outcome, ReadAt};
use twinroot_trust::digest::Digest;
use twinroot_trust::manifest::Coding;

use super::boot_delta;
use crate::agent::Agent;
use crate::observer::Progress;

/// Bytes read at once when an image that is there already is hashed: small beside the segments'
/// buffers, large enough that system calls do not count.
const CHUNK: usize = 256 << 10;

/// Stages the UKI, unless it is there and right.
pub(super) fn stage(agent: &Agent<'_>, candidate: &Candidate) -> Outcome<()> {
    let uki = candidate.uki();
    let digest = uki.digest();
    if let Some(image) = agent.ports.bootloader.image(&digest)?
        && digest_of(&*image, uki.size)? == Some(digest)
    {
        return Ok(());
    }
    if boot_delta::make(agent, uki)? {
        return Ok(());
    }
    let path = uki.full.path.as_str();
    if uki.full.coding != Coding::Plain || uki.full.size != uki.size {
        return Err(Failure::new(
            Code::PayloadFormatUnknown,
            path,
            "this version takes boot images sent plain only",
        ));
    }
    let mut writer = agent.ports.bootloader.stage_image(&digest, uki.size)?;
    let mut done = 0_u64;
    let mut refused = None;
    agent
        .ports
        .fetch
        .range(path, 0..uki.size, &mut |bytes| {
            done += bytes.len() as u64;
            agent.counters.fetched(bytes.len() as u64);
            let doing = "fetching the boot image";
            let fetched = agent.counters.totals().fetched;
            agent.observer.progress(&Progress {
                doing,
                done,
                total: uki.size,
                fetched,
            });
            writer.write(bytes).map_err(|failure| {
                let fault = Fault::disk(failure.to_string());
                refused = Some(failure);
                fault
            })
        })
        .map_err(|failure| refused.take().unwrap_or(failure))?;
    writer.finish()
}

/// The digest of the first `size` bytes; nothing where the length differs.
pub(crate) fn digest_of(image: &dyn ReadAt, size: u64) -> Outcome<Option<Digest>> {
    let unreadable = |f: &Fault| Failure::new(Code::FileIo, "boot image", f.to_string());
    if image.len().map_err(|f| unreadable(&f))? != size {
        return Ok(None);
    }
    let mut hasher = <sha2::Sha256 as sha2::Digest>::new();
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    while offset < size {
        let left = usize::try_from(size - offset).unwrap_or(CHUNK).min(CHUNK);
        image
            .read_at(offset, &mut buffer[..left])
            .map_err(|f| unreadable(&f))?;
        sha2::Digest::update(&mut hasher, &buffer[..left]);
        offset += left as u64;
    }
    Ok(Some(Digest::from_bytes(
        sha2::Digest::finalize(hasher).into(),
    )))
}
