//! A boot image made out of one that is here already, by a delta: in order, digested on its way.

use twinroot_payload::delta::Kind;
use twinroot_payload::delta::stream::stream;
use twinroot_payload::io::Fault;
use twinroot_ports::{Failure, Outcome, Ports};
use twinroot_trust::manifest::{Artefact, Delta};

use super::delta::{is_of_the_delta, signed};
use super::stage::Source;
use crate::agent::Agent;
use crate::observer::Progress;

/// Writes a boot image out of one that is here already. `false` where no delta fits or the one that
/// does gives something else: then it is fetched plain.
pub(super) fn make(agent: &Agent<'_>, uki: &Artefact) -> Outcome<bool> {
    let Some((delta, base)) = base(agent.ports, uki)? else {
        return Ok(false);
    };
    let path = delta.payload.path.as_str();
    let source = Source::new(agent.ports, path);
    let signed = match signed(uki, delta, Kind::File) {
        Ok(signed) => signed,
        Err(_) => return Ok(false),
    };
    let bootloader = agent.ports.bootloader;
    let mut writer = bootloader.stage_image(&uki.digest(), uki.size)?;
    let mut hasher = <sha2::Sha256 as sha2::Digest>::new();
    let (mut done, mut refused) = (0, None);
    let made = stream(&signed, &*base, &source, &mut |bytes| {
        sha2::Digest::update(&mut hasher, bytes);
        done += bytes.len() as u64;
        agent.observer.progress(&Progress {
            doing: "making the boot image",
            done,
            total: uki.size,
            fetched: agent.counters.totals().fetched,
        });
        writer.write(bytes).map_err(|failure| {
            let fault = Fault::disk(failure.to_string());
            refused = Some(failure);
            fault
        })
    });
    if let Some(failure) = refused {
        return Err(failure);
    }
    match made {
        Ok(()) => agent.counters.fetched(delta.payload.size),
        Err(error) if is_of_the_delta(&error, &source) => return Ok(false),
        Err(error) => return Err(source.explain(path, &error)),
    }
    // A base that rotted where it was copied: nothing of it becomes an entry.
    if sha2::Digest::finalize(hasher).as_slice() != uki.digest().as_bytes() {
        return Ok(false);
    }
    writer.finish().map(|()| true)
}

type BootBase<'a> = (&'a Delta, Box<dyn twinroot_ports::ReadAt>);

/// The smallest delta of a boot image whose base lies among the entries.
pub(crate) fn base<'a>(
    ports: Ports<'_>,
    uki: &'a Artefact,
) -> Result<Option<BootBase<'a>>, Failure> {
    let mut deltas: Vec<&Delta> = uki
        .deltas
        .iter()
        .filter(|d| d.payload.size < uki.size)
        .collect();
    deltas.sort_by_key(|delta| delta.payload.size);
    for delta in deltas {
        if let Some(base) = ports.bootloader.image(&delta.base)? {
            return Ok(Some((delta, base)));
        }
    }
    Ok(None)
}
